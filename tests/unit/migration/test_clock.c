/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts' times of day: what is known of their difference when a message takes its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "migration/clock.h"
#include "vmm/util.h"

static void the_least_possible_difference_counts(void **state)
{
	static const struct {
		uint64_t theirs, from, to, ns;
		bool ahead;
	} cases[] = {
		{ 100, 100, 100, 0, false },
		{ 100, 90, 110, 0, false },
		{ 90, 90, 110, 0, false },
		{ 110, 90, 110, 0, false },
		{ 89, 90, 110, 1, false },
		{ 111, 90, 110, 1, true },
		{ 0, 90, 110, 90, false },
		{ UINT64_MAX, 90, 110, UINT64_MAX - 110, true },
		/* Ours was set back meanwhile: what can be said is said. */
		{ 100, 110, 90, 10, false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct clock_skew skew = clock_compare(cases[i].theirs, cases[i].from, cases[i].to);

		if (skew.ns != cases[i].ns || skew.ahead != cases[i].ahead)
			fail_msg("%u: %llu %d", i, (unsigned long long)skew.ns, skew.ahead);
	}
}

static void a_difference_is_said_in_seconds(void **state)
{
	char text[CLOCK_TEXT_MAX];

	assert_string_equal(clock_text(text, (struct clock_skew){ .ns = 3600250000000, .ahead = true }),
			    "3600.250 s ahead of");
	assert_string_equal(clock_text(text, (struct clock_skew){ .ns = 1002003004 }), "1.002 s behind");
	assert_string_equal(clock_text(text, (struct clock_skew){ .ns = UINT64_MAX }),
			    "18446744073.709 s behind");
}

static void the_time_of_day_fits_a_stream(void **state)
{
	uint64_t now = realtime_ns();

	/* Of this century's 20 years before the test was written at least, and not after what is sent. */
	assert_in_range(now, UINT64_C(1600000000) * 1000000000u, INT64_MAX);
	assert_in_range(realtime_ns(), now, INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_possible_difference_counts),
		cmocka_unit_test(a_difference_is_said_in_seconds),
		cmocka_unit_test(the_time_of_day_fits_a_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
