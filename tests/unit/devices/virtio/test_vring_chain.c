/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes of a chain: copied across segments, from any offset, and never beyond the part or the memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "devices/virtio/vring_chain.h"
#include "tests/fake/log.h"

#define RAM    (2 * PAGE_SIZE)
#define N_READ 3u
/* Bytes of both parts; the segments' lengths add up to them. */
#define READ_LEN  12u
#define WRITE_LEN 10u

struct fixture {
	struct memory mem;
	struct virtio_seg segs[6];
	struct vring_chain chain;
};

/* Three segments to read, the second of one byte, and three to write, the last of which crosses a page. */
static int setup(void **state)
{
	static const struct virtio_seg segs[] = {
		{ 0x100, 4 }, { 0x80, 1 }, { 0x200, 7 }, { 0x300, 2 }, { 0x400, 5 }, { PAGE_SIZE - 1, 3 },
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };
	uint8_t value = 0;

	assert_non_null(f);
	assert_int_equal(memory_init(&f->mem, RAM, &err), 0);
	memcpy(f->segs, segs, sizeof(segs));
	f->chain = (struct vring_chain){
		.n_read = N_READ, .n_write = 3, .read_len = READ_LEN, .write_len = WRITE_LEN, .segs = f->segs
	};
	for (unsigned int i = 0; i < N_READ; i++) {
		for (uint32_t k = 0; k < segs[i].len; k++)
			*(uint8_t *)memory_at(&f->mem, segs[i].addr + k, 1) = ++value;
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	memory_exit(&f->mem);
	free(f);
	return 0;
}

/* Byte @at of the writable part, as it is in memory. */
static uint8_t *writable(struct fixture *f, uint32_t at)
{
	const struct virtio_seg *seg = &f->segs[N_READ];

	while (at >= seg->len)
		at -= seg++->len;
	return memory_at(&f->mem, seg->addr + at, 1);
}

static void any_stretch_is_read_and_nothing_beyond_it(void **state)
{
	struct fixture *f = *state;

	for (uint32_t offset = 0; offset <= READ_LEN + 1; offset++) {
		for (uint32_t len = 0; len <= READ_LEN + 2; len++) {
			uint32_t there = offset < READ_LEN ? READ_LEN - offset : 0;
			uint32_t want = len < there ? len : there;
			uint8_t data[READ_LEN + 3] = { 0 };

			assert_int_equal(vring_chain_read(&f->mem, &f->chain, offset, data, len), want);
			for (uint32_t i = 0; i < sizeof(data); i++)
				assert_int_equal(data[i], i < want ? offset + i + 1 : 0);
		}
	}
}

static void any_stretch_is_written_and_nothing_beyond_it(void **state)
{
	static const uint8_t zeros[WRITE_LEN];
	struct fixture *f = *state;
	uint8_t data[WRITE_LEN + 3];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(0x80 + i);
	for (uint32_t offset = 0; offset <= WRITE_LEN + 1; offset++) {
		for (uint32_t len = 0; len <= sizeof(data); len++) {
			uint32_t there = offset < WRITE_LEN ? WRITE_LEN - offset : 0;
			uint32_t want = len < there ? len : there;

			assert_int_equal(vring_chain_write(&f->mem, &f->chain, 0, zeros, WRITE_LEN),
					 WRITE_LEN);
			assert_int_equal(vring_chain_write(&f->mem, &f->chain, offset, data, len), want);
			for (uint32_t i = 0; i < WRITE_LEN; i++)
				assert_int_equal(*writable(f, i),
						 i >= offset && i - offset < want ? data[i - offset] : 0);
		}
	}
	/* The part to read is as it was. */
	assert_int_equal(vring_chain_read(&f->mem, &f->chain, 0, data, READ_LEN), READ_LEN);
	for (unsigned int i = 0; i < READ_LEN; i++)
		assert_int_equal(data[i], i + 1);
}

static void only_a_write_marks_pages_and_only_its_own(void **state)
{
	struct fixture *f = *state;
	uint8_t data[READ_LEN] = { 0 };
	uint64_t bitmap = 0;

	assert_int_equal(memory_log_start(&f->mem), 0);
	assert_int_equal(vring_chain_read(&f->mem, &f->chain, 0, data, READ_LEN), READ_LEN);
	fake_log_take(&f->mem, &bitmap);
	assert_int_equal(bitmap, 0);
	assert_int_equal(vring_chain_write(&f->mem, &f->chain, 0, data, WRITE_LEN - 2), WRITE_LEN - 2);
	fake_log_take(&f->mem, &bitmap);
	assert_int_equal(bitmap, 1);
	bitmap = 0;
	assert_int_equal(vring_chain_write(&f->mem, &f->chain, WRITE_LEN - 2, data, 2), 2);
	fake_log_take(&f->mem, &bitmap);
	assert_int_equal(bitmap, 2);
	memory_log_stop(&f->mem);
}

/* What a device in software reaches can be unmapped behind a chain's back. */
static void a_copy_ends_at_a_segment_that_is_gone(void **state)
{
	struct fixture *f = *state;
	uint8_t data[READ_LEN] = { 0 };

	f->segs[2].addr = RAM - 3;
	assert_int_equal(vring_chain_read(&f->mem, &f->chain, 0, data, READ_LEN), 5);
	assert_int_equal(vring_chain_read(&f->mem, &f->chain, 5, data, 4), 0);
	f->segs[4].addr = UINT64_MAX - 1;
	assert_int_equal(vring_chain_write(&f->mem, &f->chain, 0, data, WRITE_LEN), 2);
	assert_int_equal(vring_chain_write(&f->mem, &f->chain, 3, data, 1), 0);
}

static void a_chain_without_segments_has_no_bytes(void **state)
{
	struct fixture *f = *state;
	const struct vring_chain none = { .segs = f->segs };
	uint8_t byte = 0x5a;

	assert_int_equal(vring_chain_read(&f->mem, &none, 0, &byte, 1), 0);
	assert_int_equal(vring_chain_write(&f->mem, &none, 0, &byte, 1), 0);
	assert_int_equal(byte, 0x5a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(any_stretch_is_read_and_nothing_beyond_it, setup, teardown),
		cmocka_unit_test_setup_teardown(any_stretch_is_written_and_nothing_beyond_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(only_a_write_marks_pages_and_only_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_ends_at_a_segment_that_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_without_segments_has_no_bytes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
