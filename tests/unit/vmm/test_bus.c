/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Register ranges: who answers, what nobody answers, and ranges that do not fit together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "vmm/bus.h"

struct recorder {
	unsigned int n_reads, n_writes;
	uint64_t offset, data;
	unsigned int len;
};

static void recorder_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct recorder *r = opaque;

	r->n_reads++;
	r->offset = offset;
	r->len = len;
	memset(data, 0x5a, len);
}

static void recorder_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct recorder *r = opaque;

	r->n_writes++;
	r->offset = offset;
	r->len = len;
	r->data = 0;
	memcpy(&r->data, data, len);
}

static const struct bus_ops recorder_ops = { .read = recorder_read, .write = recorder_write };

static void an_access_reaches_the_range_that_it_lies_in(void **state)
{
	struct recorder a = { 0 }, b = { 0 };
	struct bus bus = { 0 };
	uint64_t v = 0;

	/* Ranges are added out of the order of addresses. */
	assert_int_equal(bus_add(&bus, 0x100, 0x10, &recorder_ops, &b), 0);
	assert_int_equal(bus_add(&bus, 0x80, 8, &recorder_ops, &a), 0);
	bus_read(&bus, 0x84, &v, 4);
	assert_int_equal(v, 0x5a5a5a5a);
	assert_int_equal(a.n_reads, 1);
	assert_int_equal(a.offset, 4);
	assert_int_equal(a.len, 4);
	v = 0x1122334455667788;
	bus_write(&bus, 0x108, &v, 8);
	assert_int_equal(b.n_writes, 1);
	assert_int_equal(b.offset, 8);
	assert_int_equal(b.data, v);
	assert_int_equal(a.n_writes, 0);
}

static void where_nobody_answers_reads_are_ones_and_writes_are_lost(void **state)
{
	static const struct {
		uint64_t addr;
		unsigned int len;
	} misses[] = {
		{ 0, 1 },          { 0x7f, 1 },       { 0x7f, 2 },  /* begins before the range */
		{ 0x87, 2 },       { 0x85, 4 },       { 0x81, 8 },  /* leaves it */
		{ 0x88, 1 },       { 0xff, 1 },       { 0x110, 1 }, /* behind it */
		{ UINT64_MAX, 1 }, { UINT64_MAX, 8 }, { UINT64_MAX - 3, 8 },
	};
	struct recorder a = { 0 }, b = { 0 };
	struct bus bus = { 0 };

	assert_int_equal(bus_add(&bus, 0x80, 8, &recorder_ops, &a), 0);
	assert_int_equal(bus_add(&bus, 0x100, 0x10, &recorder_ops, &b), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(misses); i++) {
		uint64_t v = 0;

		bus_read(&bus, misses[i].addr, &v, misses[i].len);
		assert_int_equal(v, misses[i].len == 8 ? UINT64_MAX : (1ull << 8 * misses[i].len) - 1);
		bus_write(&bus, misses[i].addr, &v, misses[i].len);
	}
	assert_int_equal(a.n_reads + a.n_writes + b.n_reads + b.n_writes, 0);
}

/* An access that crosses from one range into its neighbour belongs to neither. */
static void an_access_across_two_ranges_belongs_to_neither(void **state)
{
	struct recorder a = { 0 }, b = { 0 };
	struct bus bus = { 0 };
	uint32_t v = 0;

	assert_int_equal(bus_add(&bus, 0, 8, &recorder_ops, &a), 0);
	assert_int_equal(bus_add(&bus, 8, 8, &recorder_ops, &b), 0);
	bus_read(&bus, 6, &v, 4);
	assert_int_equal(v, UINT32_MAX);
	bus_read(&bus, 8, &v, 4);
	assert_int_equal(a.n_reads, 0);
	assert_int_equal(b.n_reads, 1);
}

static void a_range_may_end_where_the_address_space_does(void **state)
{
	struct recorder a = { 0 };
	struct bus bus = { 0 };
	uint32_t v = 7;

	assert_int_equal(bus_add(&bus, UINT64_MAX - 7, 8, &recorder_ops, &a), 0);
	bus_write(&bus, UINT64_MAX - 3, &v, 4);
	assert_int_equal(a.offset, 4);
	assert_int_equal(a.n_writes, 1);
}

static void ranges_do_not_overlap_and_are_bounded_in_number(void **state)
{
	struct bus bus = { 0 };

	assert_int_equal(bus_add(&bus, 0x100, 0x10, &recorder_ops, NULL), 0);
	assert_int_equal(bus_add(&bus, 0x100, 0x10, &recorder_ops, NULL), -EEXIST);
	assert_int_equal(bus_add(&bus, 0x10f, 1, &recorder_ops, NULL), -EEXIST);
	assert_int_equal(bus_add(&bus, 0xf1, 0x10, &recorder_ops, NULL), -EEXIST);
	assert_int_equal(bus_add(&bus, 0x104, 2, &recorder_ops, NULL), -EEXIST);
	assert_int_equal(bus_add(&bus, 0, 0x1000, &recorder_ops, NULL), -EEXIST);
	assert_int_equal(bus_add(&bus, 0xf0, 0x10, &recorder_ops, NULL), 0);
	assert_int_equal(bus_add(&bus, 0x110, 0x10, &recorder_ops, NULL), 0);
	for (unsigned int i = 3; i < BUS_MAX_RANGES; i++)
		assert_int_equal(bus_add(&bus, 0x1000 + i, 1, &recorder_ops, NULL), 0);
	assert_int_equal(bus_add(&bus, 0, 1, &recorder_ops, NULL), -ENOSPC);
	assert_int_equal(bus.n_ranges, BUS_MAX_RANGES);
	for (unsigned int i = 1; i < bus.n_ranges; i++)
		assert_true(bus.ranges[i - 1].base < bus.ranges[i].base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_access_reaches_the_range_that_it_lies_in),
		cmocka_unit_test(where_nobody_answers_reads_are_ones_and_writes_are_lost),
		cmocka_unit_test(an_access_across_two_ranges_belongs_to_neither),
		cmocka_unit_test(a_range_may_end_where_the_address_space_does),
		cmocka_unit_test(ranges_do_not_overlap_and_are_bounded_in_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
