/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/compress.c: when memory is compressed, by connections of several speeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "migration/compress.h"
#include "migration/stream.h"

/* A batch of a connection that carries @rate bytes of memory a second, or @packed once they are compressed.
 */
static void send(struct compress *c, uint64_t rate, uint64_t packed)
{
	uint64_t bytes = MIB(4);

	compress_sent(c, bytes, (uint64_t)((double)bytes / (double)(c->on ? packed : rate) * 1e9));
}

static unsigned int batches_on(struct compress *c, unsigned int n, uint64_t rate, uint64_t packed)
{
	unsigned int on = 0;

	for (unsigned int i = 0; i < n; i++) {
		on += c->on;
		send(c, rate, packed);
	}
	return on;
}

static void a_slow_connection_gets_it_after_a_look(void **state)
{
	struct compress c;

	compress_init(&c, SOURCE_COMPRESS_AUTO, true);
	assert_false(c.on);
	assert_int_equal(batches_on(&c, 100, MIB(100), MIB(190)), 98);
	compress_exit(&c);
}

static void a_fast_connection_is_left_alone(void **state)
{
	struct compress c;

	compress_init(&c, SOURCE_COMPRESS_AUTO, true);
	/* Batches of 4 MiB are too short for a look each. */
	assert_int_equal(batches_on(&c, 1000, MIB(3000), MIB(400)), 0);
	compress_exit(&c);
}

/* Where something else is slow, such as the destination's memory, it is tried, and ever less often. */
static void what_does_not_help_is_given_up(void **state)
{
	struct compress c;

	compress_init(&c, SOURCE_COMPRESS_AUTO, true);
	assert_in_range(batches_on(&c, 1000, MIB(150), MIB(150)), 1, 20);
	assert_in_range(batches_on(&c, 1000, MIB(150), MIB(150)), 1, 10);
	/* Until it helps. */
	assert_in_range(batches_on(&c, 1000, MIB(50), MIB(90)), 500, 1000);
	compress_exit(&c);
}

/* As fast as it is compressed: how fast the connection is by itself has to be found out again. */
static void a_connection_that_becomes_fast_has_it_no_more(void **state)
{
	struct compress c;
	unsigned int n = 0;

	compress_init(&c, SOURCE_COMPRESS_AUTO, true);
	batches_on(&c, 10, MIB(100), MIB(190));
	assert_true(c.on);
	for (; c.on; n++) {
		c.spent_ns = 60000000;
		compress_sent(&c, MIB(20), 61000000);
		assert_in_range(n, 0, 20);
	}
	assert_in_range(n, 2, 20);
	assert_int_equal(batches_on(&c, 1000, MIB(3000), MIB(330)), 0);
	compress_exit(&c);
}

static void the_operator_and_the_destination_decide(void **state)
{
	static const struct {
		enum source_compress mode;
		bool takes, on;
	} cases[] = {
		{ SOURCE_COMPRESS_ON, true, true },
		{ SOURCE_COMPRESS_ON, false, false },
		{ SOURCE_COMPRESS_OFF, true, false },
		{ SOURCE_COMPRESS_AUTO, false, false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct compress c;

		compress_init(&c, cases[i].mode, cases[i].takes);
		assert_int_equal(c.on, cases[i].on);
		assert_int_equal(batches_on(&c, 100, MIB(10), cases[i].on ? MIB(1) : MIB(20)),
				 cases[i].on ? 100 : 0);
		compress_exit(&c);
	}
}

static void what_is_not_made_smaller_goes_as_it_is(void **state)
{
	static uint8_t memory[LZ4_BLOCK + PAGE_SIZE], back[LZ4_BLOCK];
	uint64_t v = 1;
	struct compress c;
	uint8_t *block;
	uint32_t n;

	compress_init(&c, SOURCE_COMPRESS_ON, true);
	for (unsigned int i = 0; i < sizeof(memory); i += 8) {
		v ^= v << 13;
		v ^= v >> 7;
		v ^= v << 17;
		put_le64(memory + i, v);
	}
	assert_int_equal(compress_block(&c, memory, LZ4_BLOCK, &block), 0);
	assert_int_equal(compress_block(&c, memory, PAGE_SIZE, &block), 0);
	memset(memory, 5, sizeof(memory));
	assert_int_equal(compress_block(&c, memory, sizeof(memory), &block), 0);
	n = compress_block(&c, memory, LZ4_BLOCK, &block);
	assert_in_range(n, STREAM_LZ4_HEAD + 1, 400);
	assert_int_equal(get_le32(block), LZ4_BLOCK);
	assert_int_equal(lz4_decompress(back, LZ4_BLOCK, block + STREAM_LZ4_HEAD, n - STREAM_LZ4_HEAD), 0);
	assert_memory_equal(back, memory, LZ4_BLOCK);
	assert_int_equal(c.bytes, LZ4_BLOCK);
	compress_exit(&c);
}

/* Blocks stay where they are until they are sent, as many as there is room for. */
static void blocks_are_kept_until_they_are_sent(void **state)
{
	static uint8_t memory[PAGE_SIZE];
	uint8_t *first, *block = NULL;
	struct compress c;
	unsigned int n = 0;

	compress_init(&c, SOURCE_COMPRESS_ON, true);
	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		memory[i] = (uint8_t)(i * i / 7);
	assert_true(compress_block(&c, memory, PAGE_SIZE, &first) > 0);
	while (compress_block(&c, memory, PAGE_SIZE, &block) > 0) {
		assert_int_equal(get_le32(first), PAGE_SIZE);
		n++;
	}
	assert_in_range(n, COMPRESS_BATCH / PAGE_SIZE, 1000000);
	compress_sent(&c, MIB(1), 1000000);
	assert_true(compress_block(&c, memory, PAGE_SIZE, &block) > 0);
	assert_ptr_equal(block, first);
	compress_exit(&c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_connection_gets_it_after_a_look),
		cmocka_unit_test(a_fast_connection_is_left_alone),
		cmocka_unit_test(what_does_not_help_is_given_up),
		cmocka_unit_test(a_connection_that_becomes_fast_has_it_no_more),
		cmocka_unit_test(the_operator_and_the_destination_decide),
		cmocka_unit_test(what_is_not_made_smaller_goes_as_it_is),
		cmocka_unit_test(blocks_are_kept_until_they_are_sent),
	};

	return cmocka_run_group_tests_name("compress", tests, NULL, NULL);
}
