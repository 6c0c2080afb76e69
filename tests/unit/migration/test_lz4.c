/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/lz4.c: blocks there and back, and between it and liblz4, which is the format's own; and blocks
 * that a stranger makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>

#include "migration/lz4.h"

#define ROOM (2 * LZ4_BLOCK)

static struct lz4_table table;
static uint64_t random_state = 88172645463325252u;

static uint32_t draw(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % n;
}

/* Kinds of memory: one byte, random, what repeats after some bytes, pieces of what was before among others.
 */
static void fill(uint8_t *bytes, uint32_t len, unsigned int kind)
{
	for (uint32_t i = 0; i < len;) {
		uint32_t n = 1 + draw(kind < 40 ? 1 : 300), from = i > 0 ? draw(i) : 0;

		if (kind == 0)
			bytes[i++] = 7;
		else if (kind == 1)
			bytes[i++] = (uint8_t)draw(256);
		else if (kind < 40 && i >= kind - 1)
			bytes[i] = bytes[i - (kind - 1)], i++;
		else if (kind < 40 || i == 0 || draw(kind) < 20)
			bytes[i++] = (uint8_t)draw(256);
		else
			for (; n > 0 && i < len; n--)
				bytes[i++] = bytes[from++];
	}
}

/* Blocks have their own allocations, so that the sanitizer sees a byte too far. */
static void assert_there_and_back(const uint8_t *bytes, uint32_t len)
{
	uint8_t *packed = malloc(ROOM), *exact, *back = malloc(len ? len : 1);
	uint32_t n = lz4_compress(&table, packed, ROOM, bytes, len);
	int theirs;

	assert_true(n > 0);
	exact = malloc(n);
	memcpy(exact, packed, n);
	assert_int_equal(lz4_decompress(back, len, exact, n), 0);
	assert_memory_equal(back, bytes, len);
	/* Room that is just enough, and not. */
	assert_int_equal(lz4_compress(&table, exact, n - 1, bytes, len), 0);
	memset(back, 0xee, len);
	assert_int_equal(LZ4_decompress_safe((char *)packed, (char *)back, (int)n, (int)len), (int)len);
	assert_memory_equal(back, bytes, len);
	free(exact);

	theirs = LZ4_compress_default((const char *)bytes, (char *)packed, (int)len, (int)ROOM);
	assert_true(theirs > 0);
	exact = malloc((size_t)theirs);
	memcpy(exact, packed, (size_t)theirs);
	memset(back, 0xee, len);
	assert_int_equal(lz4_decompress(back, len, exact, (uint32_t)theirs), 0);
	assert_memory_equal(back, bytes, len);
	free(exact);
	free(packed);
	free(back);
}

static void what_goes_in_comes_back_as_with_liblz4(void **state)
{
	static const uint32_t lens[] = {
		0, 1, 4, 5, 11, 12, 13, 14, 20, 300, 4096, 4097, LZ4_BLOCK - 1, LZ4_BLOCK
	};
	static const unsigned int kinds[] = { 0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17, 18, 39, 40, 60, 200 };

	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
			uint8_t *bytes = malloc(lens[i] ? lens[i] : 1);

			fill(bytes, lens[i], kinds[k]);
			assert_there_and_back(bytes, lens[i]);
			free(bytes);
		}
	}
}

static void memory_becomes_smaller(void **state)
{
	static uint8_t bytes[LZ4_BLOCK], packed[ROOM];

	fill(bytes, LZ4_BLOCK, 0);
	assert_in_range(lz4_compress(&table, packed, ROOM, bytes, LZ4_BLOCK), 1, 300);
	fill(bytes, LZ4_BLOCK, 200);
	assert_in_range(lz4_compress(&table, packed, ROOM, bytes, LZ4_BLOCK), 1, LZ4_BLOCK / 4);
}

/* Whatever it is, it stays within both ends. */
static int take(const uint8_t *block, uint32_t n, uint32_t len)
{
	uint8_t *exact = malloc(n ? n : 1), *out = malloc(len ? len : 1);
	int ret;

	memcpy(exact, block, n);
	ret = lz4_decompress(out, len, exact, n);
	free(exact);
	free(out);
	return ret;
}

static void a_block_of_another_length_is_refused(void **state)
{
	static uint8_t bytes[3000], packed[ROOM];
	uint32_t n;

	fill(bytes, sizeof(bytes), 60);
	n = lz4_compress(&table, packed, ROOM, bytes, sizeof(bytes));
	for (uint32_t cut = 0; cut < n; cut++)
		assert_int_equal(take(packed, cut, sizeof(bytes)), -EINVAL);
	packed[n] = 0;
	assert_int_equal(take(packed, n + 1, sizeof(bytes)), -EINVAL);
	for (uint32_t len = 0; len < sizeof(bytes) + 30; len++)
		assert_int_equal(take(packed, n, len), len == sizeof(bytes) ? 0 : -EINVAL);
}

static void a_block_that_was_changed_does_not_reach_beyond_its_ends(void **state)
{
	static uint8_t bytes[700], packed[ROOM];
	uint32_t n;

	fill(bytes, sizeof(bytes), 60);
	n = lz4_compress(&table, packed, ROOM, bytes, sizeof(bytes));
	for (uint32_t at = 0; at < n; at++) {
		uint8_t was = packed[at];

		for (unsigned int v = 0; v < 256; v++) {
			int theirs, ours;
			char out[sizeof(bytes)];

			packed[at] = (uint8_t)v;
			ours = take(packed, n, sizeof(bytes));
			theirs = LZ4_decompress_safe((char *)packed, out, (int)n, sizeof(out));
			/* Offsets of 0 are undefined in the format, and liblz4 takes them. */
			assert_true(ours == -EINVAL || theirs == (int)sizeof(out));
		}
		packed[at] = was;
	}
}

static void a_block_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *what;
		uint32_t n, len;
		int ret;
		uint8_t bytes[24];
	} cases[] = {
		{ "nothing", 0, 0, -EINVAL, { 0 } },
		{ "nothing in a block", 1, 0, 0, { 0 } },
		{ "nothing for something", 1, 4096, -EINVAL, { 0 } },
		{ "literals", 4, 3, 0, { 0x30, 1, 2, 3 } },
		{ "more literals than come", 4, 4, -EINVAL, { 0x40, 1, 2, 3 } },
		{ "a match with itself", 8, 8, 0, { 0x10, 7, 1, 0, 0x30, 1, 2, 3 } },
		{ "an offset of 0", 8, 8, -EINVAL, { 0x10, 7, 0, 0, 0x30, 1, 2, 3 } },
		{ "an offset before the begin", 8, 8, -EINVAL, { 0x10, 7, 2, 0, 0x30, 1, 2, 3 } },
		{ "an offset before any byte", 7, 7, -EINVAL, { 0x00, 1, 0, 0x30, 1, 2, 3 } },
		{ "a match to the end", 4, 5, -EINVAL, { 0x10, 7, 1, 0 } },
		{ "half an offset", 3, 5, -EINVAL, { 0x10, 7, 1 } },
		{ "a match beyond the end", 8, 7, -EINVAL, { 0x10, 7, 1, 0, 0x30, 1, 2, 3 } },
		{ "a length that does not end", 4, 4096, -EINVAL, { 0xf0, 255, 255, 255 } },
		{ "a match's length that does not end", 6, 4096, -EINVAL, { 0x1f, 7, 1, 0, 255, 255 } },
		{ "a long match of few bytes", 6, 70000, -EINVAL, { 0x1f, 7, 1, 0, 255, 1 } },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		if (take(cases[i].bytes, cases[i].n, cases[i].len) != cases[i].ret)
			fail_msg("%s", cases[i].what);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_back_as_with_liblz4),
		cmocka_unit_test(memory_becomes_smaller),
		cmocka_unit_test(a_block_of_another_length_is_refused),
		cmocka_unit_test(a_block_that_was_changed_does_not_reach_beyond_its_ends),
		cmocka_unit_test(a_block_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests_name("lz4", tests, NULL, NULL);
}
