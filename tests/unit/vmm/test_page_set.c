/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmm/page_set.c: what is in the set, against a byte a page. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "vmm/page_set.h"

/* Three words of the summary, the last of them not full, nor the last word of it. */
#define N_PAGES (2 * 64 * 64 + 64 * 3 + 5)

struct fixture {
	struct page_set set;
	uint8_t model[N_PAGES];
	uint64_t random;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->random = 88172645463325252ull;
	return page_set_init(&f->set, N_PAGES);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	page_set_exit(&f->set);
	free(f);
	return 0;
}

static uint64_t below(struct fixture *f, uint64_t n)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random % n;
}

static uint64_t model_next(const struct fixture *f, uint64_t page, uint64_t end, uint8_t is)
{
	while (page < end && f->model[page] != is)
		page++;
	return page < end ? page : end;
}

static void check(struct fixture *f)
{
	uint64_t n = 0;

	for (uint64_t page = 0; page < N_PAGES; page++)
		n += f->model[page];
	assert_int_equal(f->set.n_pages, n);
	for (unsigned int i = 0; i < 50; i++) {
		uint64_t end = below(f, N_PAGES + 1), page = below(f, end + 1);

		assert_int_equal(page_set_next(&f->set, page, end), model_next(f, page, end, 1));
		assert_int_equal(page_set_next_gap(&f->set, page, end), model_next(f, page, end, 0));
	}
}

static void what_was_added_and_not_removed_is_in_the_set(void **state)
{
	struct fixture *f = *state;

	for (unsigned int round = 0; round < 400; round++) {
		uint64_t first = below(f, N_PAGES), most = round % 3 ? 3 : N_PAGES;
		uint64_t end = first + below(f, min_u64(most, N_PAGES - first) + 1);
		bool add = below(f, 2);

		memset(&f->model[first], add, end - first);
		if (add)
			page_set_add(&f->set, first, end);
		else
			page_set_remove(&f->set, first, end);
		check(f);
	}
}

static void bits_are_added_from_any_page_on(void **state)
{
	struct fixture *f = *state;

	for (unsigned int round = 0; round < 200; round++) {
		uint64_t bits[40] = { 0 }, n_words = 1 + below(f, ARRAY_SIZE(bits));
		uint64_t first = below(f, N_PAGES - n_words * 64);

		for (unsigned int i = 0; i < below(f, 6); i++) {
			uint64_t bit = below(f, n_words * 64);

			bits[bit / 64] |= (uint64_t)1 << bit % 64;
			f->model[first + bit] = 1;
		}
		page_set_add_bits(&f->set, first, bits, n_words);
		check(f);
	}
}

static void an_empty_set_has_only_a_gap(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(page_set_next(&f->set, 0, N_PAGES), N_PAGES);
	assert_int_equal(page_set_next(&f->set, N_PAGES, N_PAGES), N_PAGES);
	assert_int_equal(page_set_next_gap(&f->set, 77, N_PAGES), 77);
	page_set_add(&f->set, 0, N_PAGES);
	assert_int_equal(f->set.n_pages, N_PAGES);
	assert_int_equal(page_set_next_gap(&f->set, 0, N_PAGES), N_PAGES);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_added_and_not_removed_is_in_the_set, setup,
						teardown),
		cmocka_unit_test_setup_teardown(bits_are_added_from_any_page_on, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_set_has_only_a_gap, setup, teardown),
	};

	return cmocka_run_group_tests_name("page_set", tests, NULL, NULL);
}
