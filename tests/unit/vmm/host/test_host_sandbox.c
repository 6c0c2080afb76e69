/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kernel can confine, as its files say. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>

#include "vmm/host/host_sandbox.h"

static void look(struct host_rig *rig)
{
	rig->report.n_checks = 0;
	host_sandbox_check(&rig->report, &rig->look);
}

static void landlock_is_told_by_its_version_or_by_what_it_lacks(void **state)
{
	struct host_rig *rig = *state;

	host_sandbox_judge_landlock(&rig->report, 6);
	assert_check(&rig->report, "landlock", HOST_OK, "version 6");
	rig->report.n_checks = 0;
	host_sandbox_judge_landlock(&rig->report, -EOPNOTSUPP);
	assert_check(&rig->report, "landlock", HOST_WARN, "lsm=");
	rig->report.n_checks = 0;
	host_sandbox_judge_landlock(&rig->report, -ENOSYS);
	assert_check(&rig->report, "landlock", HOST_WARN, "Linux 5.13");
}

static void a_kernel_with_everything_is_ok(void **state)
{
	struct host_rig *rig = *state;

	host_write(rig, "proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno\n");
	host_write(rig, "proc/sys/user/max_user_namespaces", "95000\n");
	host_write(rig, "proc/sys/net/ipv4/tcp_available_ulp", "espintcp mptcp tls\n");
	look(rig);
	assert_check(&rig->report, "seccomp", HOST_OK, "filtered");
	assert_check(&rig->report, "user-namespaces", HOST_OK, "every user");
	assert_check(&rig->report, "kernel-tls", HOST_OK, "encrypt");
	assert_non_null(host_report_find(&rig->report, "landlock"));
}

static void a_kernel_with_nothing_is_told_what_it_lacks(void **state)
{
	struct host_rig *rig = *state;

	look(rig);
	assert_check(&rig->report, "seccomp", HOST_WARN, "CONFIG_SECCOMP_FILTER");
	assert_check(&rig->report, "user-namespaces", HOST_INFO, "user.max_user_namespaces");
	assert_check(&rig->report, "kernel-tls", HOST_INFO, "modprobe tls");
	host_write(rig, "proc/sys/net/ipv4/tcp_available_ulp", "espintcp tlsx\n");
	look(rig);
	assert_check(&rig->report, "kernel-tls", HOST_INFO, "modprobe tls");
	assert_int_equal(rig->report.n_fails, 0);
}

static void user_namespaces_for_root_alone_are_told_with_the_switch(void **state)
{
	struct host_rig *rig = *state;

	host_write(rig, "proc/sys/user/max_user_namespaces", "95000\n");
	host_write(rig, "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
	look(rig);
	assert_check(&rig->report, "user-namespaces", HOST_INFO, "AppArmor");
	host_write(rig, "proc/sys/kernel/unprivileged_userns_clone", "0\n");
	look(rig);
	assert_check(&rig->report, "user-namespaces", HOST_INFO, "unprivileged_userns_clone");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(landlock_is_told_by_its_version_or_by_what_it_lacks),
		TEST(a_kernel_with_everything_is_ok),
		TEST(a_kernel_with_nothing_is_told_what_it_lacks),
		TEST(user_namespaces_for_root_alone_are_told_with_the_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
