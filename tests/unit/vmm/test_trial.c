/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A trial of a KVM that is none, or that lacks something: see tests/fake/kvm.c. What hardware's KVM says is
 * the lab's, where "ferry doctor" is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "vmm/trial.h"

static void a_kvm_that_runs_nothing_fails_with_a_reason(void **state)
{
	struct error err = { 0 };

	assert_true(trial_run(&err) < 0);
	assert_true(strlen(err.text) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kvm_that_runs_nothing_fails_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
