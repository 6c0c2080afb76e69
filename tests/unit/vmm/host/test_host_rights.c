/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user, and the folder of control sockets, which is never made. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/host/host_rights.h"

static void look(struct host_rig *rig, const char *dir)
{
	rig->report.n_checks = rig->report.n_fails = 0;
	rig->wish.runtime_dir = dir;
	host_rights_check(&rig->report, &rig->look);
	assert_non_null(host_report_find(&rig->report, "user"));
}

static void a_folder_of_ones_own_is_ok(void **state)
{
	struct host_rig *rig = *state;

	look(rig, rig->dir);
	assert_check(&rig->report, "runtime-dir", HOST_OK, rig->dir);
}

static void a_folder_that_could_be_made_is_ok_and_is_not_made(void **state)
{
	struct host_rig *rig = *state;
	char path[64];

	snprintf(path, sizeof(path), "%s/run", rig->dir);
	look(rig, path);
	assert_check(&rig->report, "runtime-dir", HOST_OK, "is made when a guest is started");
	assert_int_equal(access(path, F_OK), -1);
}

static void a_folder_that_cannot_be_made_fails(void **state)
{
	struct host_rig *rig = *state;
	char path[64];

	snprintf(path, sizeof(path), "%s/no/run", rig->dir);
	look(rig, path);
	assert_check(&rig->report, "runtime-dir", HOST_FAIL, "--runtime-dir");
	assert_int_equal(rig->report.n_fails, 1);
}

static void a_folder_that_others_can_write_fails(void **state)
{
	struct host_rig *rig = *state;

	assert_int_equal(chmod(rig->dir, 0777), 0);
	look(rig, rig->dir);
	assert_check(&rig->report, "runtime-dir", HOST_FAIL, "others can write");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_folder_of_ones_own_is_ok),
		TEST(a_folder_that_could_be_made_is_ok_and_is_not_made),
		TEST(a_folder_that_cannot_be_made_fails),
		TEST(a_folder_that_others_can_write_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
