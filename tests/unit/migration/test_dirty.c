/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/dirty.c: what is marked at the start, the two logs, and runs against a slow model. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "migration/dirty.h"
#include "tests/fake/vm_migration.h"

/* Pages of the memfd that exist. */
static uint64_t existing(const struct memory *m)
{
	struct stat st;

	fstat(m->fd, &st);
	return (uint64_t)st.st_blocks * 512 / PAGE_SIZE;
}

static bool marked(const struct dirty *d, uint64_t page)
{
	return d->pages.words[page / 64] >> page % 64 & 1;
}

static void every_page_that_exists_is_marked_at_the_start(void **state)
{
	static const uint64_t touched[] = { 0, 1, 2, 62, 63, 64, 65, 127, 128, 300, 4090, 4095 };
	struct error err = { 0 };
	struct fake_guest g;
	struct dirty d;

	fake_guest_init(&g, MIB(16), 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(touched); i++)
		fake_guest_write(&g, touched[i], 1);
	assert_int_equal(existing(&g.vm.memory), ARRAY_SIZE(touched));
	assert_int_equal(dirty_start(&d, &g.vm, &err), 0);
	assert_int_equal(dirty_bytes(&d), ARRAY_SIZE(touched) * PAGE_SIZE);
	for (unsigned int i = 0; i < ARRAY_SIZE(touched); i++)
		assert_true(marked(&d, touched[i]));
	/* Looking has not filled the holes. */
	assert_int_equal(existing(&g.vm.memory), ARRAY_SIZE(touched));
	dirty_stop(&d);
	fake_guest_exit(&g);
}

static void of_memory_that_is_holes_nothing_is_marked(void **state)
{
	struct error err = { 0 };
	struct fake_guest g;
	struct dirty d;

	fake_guest_init(&g, MIB(16) + PAGE_SIZE, 1);
	assert_int_equal(dirty_start(&d, &g.vm, &err), 0);
	assert_int_equal(dirty_bytes(&d), 0);
	dirty_stop(&d);
	assert_false(g.kvm_logging);
	assert_false(g.vm.memory.logging);
	dirty_stop(&d);
	fake_guest_exit(&g);
}

static void what_kvm_and_ferry_write_is_marked(void **state)
{
	struct error err = { 0 };
	struct fake_guest g;
	struct dirty d;

	fake_guest_init(&g, MIB(16), 1);
	assert_int_equal(dirty_start(&d, &g.vm, &err), 0);
	assert_true(g.kvm_logging);
	fake_guest_write(&g, 70, 1);
	assert_int_equal(memory_write(&g.vm.memory, 80 * PAGE_SIZE - 1, "ab", 2), 0);
	assert_int_equal(dirty_bytes(&d), 0);
	assert_int_equal(dirty_sync(&d, &err), 0);
	assert_int_equal(dirty_bytes(&d), 3 * PAGE_SIZE);
	assert_true(marked(&d, 70) && marked(&d, 79) && marked(&d, 80));
	/* Marks stay, and new ones are added. */
	fake_guest_write(&g, 4095, 1);
	assert_int_equal(dirty_sync(&d, &err), 0);
	assert_int_equal(dirty_bytes(&d), 4 * PAGE_SIZE);
	dirty_stop(&d);
	fake_guest_exit(&g);
}

static void check_runs(struct dirty *d, const uint8_t *model, uint64_t n, uint64_t max)
{
	uint64_t page = 0, n_pages, want = 0;

	for (;;) {
		uint64_t end;

		while (want < n && !model[want])
			want++;
		if (want == n)
			break;
		for (end = want; end < n && model[end] && end - want < max; end++)
			;
		assert_true(dirty_next_run(d, &page, &n_pages, max));
		assert_int_equal(page, want);
		assert_int_equal(n_pages, end - want);
		assert_false(marked(d, page));
		want = page = end;
	}
	assert_false(dirty_next_run(d, &page, &n_pages, max));
	assert_int_equal(dirty_bytes(d), 0);
}

static void runs_cover_what_is_marked_once(void **state)
{
	static const uint64_t maxima[] = { 1, 2, 63, 64, 65, 256, 1 << 20 };
	uint64_t n = MIB(4) / PAGE_SIZE + 3, v = 88172645463325252ull;
	uint8_t *model = calloc(n, 1);
	struct error err = { 0 };
	struct fake_guest g;
	struct dirty d;

	fake_guest_init(&g, n * PAGE_SIZE, 1);
	assert_int_equal(dirty_start(&d, &g.vm, &err), 0);
	for (unsigned int round = 0; round < 100; round++) {
		for (uint64_t i = 0; i < n; i++) {
			v ^= v << 13;
			v ^= v >> 7;
			v ^= v << 17;
			/* From a few pages to almost all, in stretches of some length. */
			model[i] = i > 0 && v % 16 > round % 16 ? model[i - 1] : v >> 32 & 1;
			if (model[i])
				page_set_add(&d.pages, i, i + 1);
		}
		check_runs(&d, model, n, maxima[round % ARRAY_SIZE(maxima)]);
	}
	dirty_stop(&d);
	fake_guest_exit(&g);
	free(model);
}

/* RAM on both sides of the PCI hole is one piece in the memfd and two for the guest. */
static void a_run_ends_with_its_region(void **state)
{
	uint64_t edge = MEMORY_LOW_MAX / PAGE_SIZE, page = 0, n_pages;
	struct error err = { 0 };
	struct fake_guest g;
	struct dirty d;

	fake_guest_init(&g, MEMORY_LOW_MAX + MIB(1), 1);
	for (uint64_t i = edge - 3; i < edge + 2; i++)
		fake_guest_write(&g, i, 1);
	assert_int_equal(dirty_start(&d, &g.vm, &err), 0);
	assert_true(dirty_next_run(&d, &page, &n_pages, 256));
	assert_int_equal(page, edge - 3);
	assert_int_equal(n_pages, 3);
	assert_int_equal(dirty_region(&d, page)->gpa, 0);
	assert_true(dirty_next_run(&d, &page, &n_pages, 256));
	assert_int_equal(page, edge);
	assert_int_equal(n_pages, 2);
	assert_int_equal(dirty_region(&d, page)->gpa, MEMORY_HIGH_BASE);
	assert_false(dirty_next_run(&d, &page, &n_pages, 256));
	dirty_stop(&d);
	fake_guest_exit(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_that_exists_is_marked_at_the_start),
		cmocka_unit_test(of_memory_that_is_holes_nothing_is_marked),
		cmocka_unit_test(what_kvm_and_ferry_write_is_marked),
		cmocka_unit_test(runs_cover_what_is_marked_once),
		cmocka_unit_test(a_run_ends_with_its_region),
	};

	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
