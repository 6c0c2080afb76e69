/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM as the doctor finds it. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>

#include "vmm/host/host_kvm.h"

static void a_host_with_kvm_is_told_its_module_paging_and_cpu(void **state)
{
	struct host_rig *rig = *state;

	host_write(rig, "sys/module/kvm_amd/parameters/npt", "Y\n");
	host_kvm_check(&rig->report, &rig->look);
	assert_check(&rig->report, "kvm", HOST_OK, "kvm_amd");
	assert_check(&rig->report, "paging", HOST_OK, "npt");
	assert_check(&rig->report, "cpu", HOST_INFO, "AuthenticAMD, 48 bits");
	assert_true(rig->report.facts.has_cpu);
	assert_int_equal(rig->report.n_fails, 0);
}

static void a_module_without_paging_in_hardware_is_warned_of(void **state)
{
	struct host_rig *rig = *state;

	host_write(rig, "sys/module/kvm_intel/parameters/ept", "N\n");
	host_kvm_check(&rig->report, &rig->look);
	assert_check(&rig->report, "paging", HOST_WARN, "kvm_intel.ept is off");
}

static void a_host_without_kvm_fails_and_is_told_of_its_firmware(void **state)
{
	struct host_rig *rig = *state;

	host_answers.machine = -ENOENT;
	host_write(rig, "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse svmish\n");
	host_kvm_check(&rig->report, &rig->look);
	assert_check(&rig->report, "kvm", HOST_FAIL, "no KVM for this test");
	assert_check(&rig->report, "kvm", HOST_FAIL, "firmware");
	assert_null(host_report_find(&rig->report, "cpu"));
	assert_false(rig->report.facts.has_cpu);
}

static void a_cpu_that_has_it_is_not_sent_to_the_firmware(void **state)
{
	struct host_rig *rig = *state;

	host_answers.machine = -ENOENT;
	host_write(rig, "proc/cpuinfo", "flags\t\t: fpu vmx sse\n");
	host_kvm_check(&rig->report, &rig->look);
	assert_string_equal(host_report_find(&rig->report, "kvm")->advice, "");
}

static void a_user_without_rights_is_not_sent_to_the_firmware(void **state)
{
	struct host_rig *rig = *state;

	host_answers.machine = -EACCES;
	host_write(rig, "proc/cpuinfo", "flags\t\t: fpu\n");
	host_kvm_check(&rig->report, &rig->look);
	assert_check(&rig->report, "kvm", HOST_FAIL, "no KVM for this test");
	assert_string_equal(host_report_find(&rig->report, "kvm")->advice, "");
	assert_int_equal(rig->report.n_fails, 1);
}

static void a_kvm_that_runs_no_guest_fails(void **state)
{
	struct host_rig *rig = *state;

	host_answers.trial = -ENOTSUP;
	host_kvm_check(&rig->report, &rig->look);
	assert_check(&rig->report, "kvm", HOST_FAIL, "no instructions for this test");
	assert_check(&rig->report, "kvm", HOST_FAIL, "whose CPU runs guests itself");
	assert_int_equal(rig->report.n_fails, 1);
}

static void a_trial_that_could_not_be_made_is_no_word_on_the_host(void **state)
{
	struct host_rig *rig = *state;

	host_answers.trial = -ENOMEM;
	host_kvm_check(&rig->report, &rig->look);
	assert_check(&rig->report, "kvm", HOST_FAIL, "no instructions for this test");
	assert_string_equal(host_report_find(&rig->report, "kvm")->advice, "");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_host_with_kvm_is_told_its_module_paging_and_cpu),
		TEST(a_module_without_paging_in_hardware_is_warned_of),
		TEST(a_host_without_kvm_fails_and_is_told_of_its_firmware),
		TEST(a_cpu_that_has_it_is_not_sent_to_the_firmware),
		TEST(a_user_without_rights_is_not_sent_to_the_firmware),
		TEST(a_kvm_that_runs_no_guest_fails),
		TEST(a_trial_that_could_not_be_made_is_no_word_on_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
