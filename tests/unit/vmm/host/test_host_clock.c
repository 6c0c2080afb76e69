/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks as the kernel describes them. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>

#include "vmm/host/host_clock.h"

static const char source[] = "sys/devices/system/clocksource/clocksource0/current_clocksource";

static void a_clock_that_is_kept_is_ok_and_another_is_warned_of(void **state)
{
	static const struct {
		int ret, status;
		enum host_state state;
		const char *part;
	} cases[] = {
		{ TIME_OK, 0, HOST_OK, "within 3 ms" },       { TIME_INS, STA_PLL, HOST_OK, "in step" },
		{ TIME_OK, STA_UNSYNC, HOST_WARN, "chrony" }, { TIME_ERROR, 0, HOST_WARN, "chrony" },
		{ -EPERM, 0, HOST_WARN, "does not say" },
	};
	struct host_rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct timex t = { .status = cases[i].status, .esterror = 3500 };

		rig->report.n_checks = 0;
		host_clock_judge(&rig->report, cases[i].ret, &t);
		assert_check(&rig->report, "clock", cases[i].state, cases[i].part);
	}
	assert_int_equal(rig->report.n_fails, 0);
}

static void a_kernel_that_does_not_trust_the_tsc_is_warned_of(void **state)
{
	struct host_rig *rig = *state;

	host_write(rig, source, "hpet\n");
	host_clock_check(&rig->report, &rig->look);
	assert_check(&rig->report, "clocksource", HOST_WARN, "by hpet");
	assert_non_null(host_report_find(&rig->report, "clock"));
	/* 2020 is over. */
	assert_true(rig->report.facts.clock_us > UINT64_C(1600000000000000));
}

static void the_tsc_is_ok(void **state)
{
	struct host_rig *rig = *state;

	host_write(rig, source, "tsc\n");
	host_clock_check(&rig->report, &rig->look);
	assert_check(&rig->report, "clocksource", HOST_OK, "TSC");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_clock_that_is_kept_is_ok_and_another_is_warned_of),
		TEST(a_kernel_that_does_not_trust_the_tsc_is_warned_of),
		TEST(the_tsc_is_ok),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
