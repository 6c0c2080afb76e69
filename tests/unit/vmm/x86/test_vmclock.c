/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMClock's page as a guest reads it, at its start and after moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "tests/fake/log.h"
#include "tests/unit/devices/device_tree.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/vmclock.h"

struct guest {
	struct memory memory;
	struct vmclock v;
};

static int setup(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct error err = { 0 };

	vmclock_init(&g->v, &g->memory);
	assert_int_equal(memory_init(&g->memory, MIB(16), &err), 0);
	assert_int_equal(vmclock_power_on(&g->memory, &err), 0);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	memory_exit(&g->memory);
	free(g);
	return 0;
}

static const uint8_t *page(struct guest *g)
{
	return memory_at(&g->memory, LAYOUT_VMCLOCK, PAGE_SIZE);
}

/* Offsets and values as linux/vmclock-abi.h has them. */
static uint64_t marker(struct guest *g)
{
	return get_le64(page(g) + 16);
}

static uint32_t sequence(struct guest *g)
{
	return get_le32(page(g) + 12);
}

static void the_page_is_one_that_linux_takes(void **state)
{
	static const uint8_t zeroes[PAGE_SIZE];
	struct guest *g = *state;

	assert_memory_equal(page(g), "VCLK\x00\x10\x00\x00\x01\x00\xff\x00", 12);
	assert_int_equal(sequence(g), 0);
	/* No flags, and nothing is said of the clock. */
	assert_memory_equal(page(g) + 24, zeroes, PAGE_SIZE - 24);
}

static void each_boot_has_a_number_of_its_own(void **state)
{
	struct guest *g = *state;
	struct error err = { 0 };
	uint64_t before = marker(g);

	assert_int_equal(vmclock_power_on(&g->memory, &err), 0);
	assert_true(marker(g) != before);
	assert_int_equal(sequence(g), 0);
}

static void a_guest_that_has_arrived_finds_another_number(void **state)
{
	struct guest *g = *state;
	uint64_t before = marker(g);
	uint8_t rest[PAGE_SIZE];

	memcpy(rest, page(g), PAGE_SIZE);
	for (unsigned int n = 1; n <= 3; n++) {
		g->v.device.ops->resume(&g->v.device, DEVICE_ARRIVED);
		assert_true(marker(g) == before + n);
		/* Even: nobody is writing. */
		assert_int_equal(sequence(g), 2 * n);
	}
	assert_memory_equal(page(g), rest, 12);
	assert_memory_equal(page(g) + 24, rest + 24, PAGE_SIZE - 24);
}

static void a_guest_that_stays_finds_nothing_new(void **state)
{
	struct guest *g = *state;
	uint64_t before = marker(g);

	g->v.device.ops->resume(&g->v.device, DEVICE_STAYED);
	assert_true(marker(g) == before);
	assert_int_equal(sequence(g), 0);
}

static void a_guest_that_spoils_its_page_is_served_all_the_same(void **state)
{
	struct guest *g = *state;

	memset(memory_at(&g->memory, LAYOUT_VMCLOCK, PAGE_SIZE), 0xff, PAGE_SIZE);
	g->v.device.ops->resume(&g->v.device, DEVICE_ARRIVED);
	assert_true(marker(g) == 0);
	assert_int_equal(sequence(g) & 1, 0);
}

static void what_an_arrival_writes_is_marked_for_the_next_move(void **state)
{
	uint64_t bitmap[MIB(16) / PAGE_SIZE / 64] = { 0 };
	struct guest *g = *state;

	assert_int_equal(memory_log_start(&g->memory), 0);
	g->v.device.ops->resume(&g->v.device, DEVICE_ARRIVED);
	fake_log_take(&g->memory, bitmap);
	memory_log_stop(&g->memory);
	assert_true(bitmap[LAYOUT_VMCLOCK / PAGE_SIZE / 64] >> (LAYOUT_VMCLOCK / PAGE_SIZE % 64) & 1);
}

static void a_page_at_another_place_is_refused(void **state)
{
	struct guest *g = *state;
	const struct device_ops *ops = g->v.device.ops;
	struct state_writer w;
	struct tree t;

	assert_tree_taken(&g->v.device, ops->accept, tree_write(&g->v.device, ops->describe));
	assert_int_equal(state_open_writer(&w), 0);
	state_put_u64(&w, "address", LAYOUT_VMCLOCK + PAGE_SIZE);
	assert_int_equal(state_close(&w, &t.fdt, &t.len), 0);
	assert_tree_refused(&g->v.device, ops->accept, t, "has its page at 0xe0000");
	assert_int_equal(state_open_writer(&w), 0);
	assert_int_equal(state_close(&w, &t.fdt, &t.len), 0);
	assert_tree_refused(&g->v.device, ops->accept, t, "address");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_page_is_one_that_linux_takes),
		TEST(each_boot_has_a_number_of_its_own),
		TEST(a_guest_that_has_arrived_finds_another_number),
		TEST(a_guest_that_stays_finds_nothing_new),
		TEST(a_guest_that_spoils_its_page_is_served_all_the_same),
		TEST(what_an_arrival_writes_is_marked_for_the_next_move),
		TEST(a_page_at_another_place_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
