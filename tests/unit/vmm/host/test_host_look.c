/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the kernel's, read within bounds; and the list of checks. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static void a_file_is_read_without_its_last_end_of_line_and_cleaned(void **state)
{
	struct host_rig *rig = *state;
	char text[16];

	host_write(rig, "proc/a", "one\ttwo\n\033[2J\n");
	assert_int_equal(host_read(text, sizeof(text), "%s/a", rig->proc), 0);
	assert_string_equal(text, "one\ttwo\n?[2J");
}

static void a_long_file_is_cut_and_an_absent_one_is_empty(void **state)
{
	struct host_rig *rig = *state;
	char text[8], path[HOST_PATH_MAX + 1];

	host_write(rig, "proc/a", "0123456789");
	assert_int_equal(host_read(text, sizeof(text), "%s/a", rig->proc), 0);
	assert_string_equal(text, "0123456");
	assert_int_equal(host_read(text, sizeof(text), "%s/b", rig->proc), -ENOENT);
	assert_string_equal(text, "");
	assert_int_equal(host_read(text, sizeof(text), "%s", rig->proc), -EISDIR);
	memset(path, 'x', HOST_PATH_MAX);
	path[HOST_PATH_MAX] = '\0';
	assert_int_equal(host_read(text, sizeof(text), "%s", path), -ENAMETOOLONG);
	assert_false(host_exists("%s", path));
}

static void a_fifo_keeps_nobody_waiting(void **state)
{
	struct host_rig *rig = *state;
	char path[64], text[8];

	snprintf(path, sizeof(path), "%s/fifo", rig->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(host_read(text, sizeof(text), "%s", path), 0);
	assert_string_equal(text, "");
}

static void a_word_is_found_whole(void **state)
{
	assert_true(host_has_word("a,bc d\ne", "bc"));
	assert_true(host_has_word("a,bc d\ne", "e"));
	assert_false(host_has_word("a,bc d\ne", "b"));
	assert_false(host_has_word("", "b"));
}

static void a_link_is_known_by_the_last_part_of_its_path(void **state)
{
	struct host_rig *rig = *state;
	char name[HOST_LABEL_MAX];

	host_link(rig, "sys/a", "../x/vhost_vdpa");
	host_link(rig, "sys/b", "plain\033");
	host_link_name(name, "%s/a", rig->sys);
	assert_string_equal(name, "vhost_vdpa");
	host_link_name(name, "%s/b", rig->sys);
	assert_string_equal(name, "plain?");
	host_link_name(name, "%s/c", rig->sys);
	assert_string_equal(name, "");
}

static void checks_are_cleaned_cut_and_counted_beyond_the_last(void **state)
{
	struct host_rig *rig = *state;
	char longer[2 * HOST_FOUND_MAX];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	host_report_add(&rig->report, HOST_WARN, "a\n", "b\033", "%s", "c\nd");
	assert_string_equal(rig->report.checks[0].name, "a?");
	assert_string_equal(rig->report.checks[0].advice, "b?");
	assert_string_equal(rig->report.checks[0].found, "c?d");
	for (unsigned int i = 0; i < 2 * HOST_MAX_CHECKS; i++)
		host_report_add(&rig->report, HOST_FAIL, longer, longer, "%s", longer);
	assert_int_equal(rig->report.n_checks, HOST_MAX_CHECKS);
	assert_int_equal(rig->report.n_fails, 2 * HOST_MAX_CHECKS);
	assert_int_equal(strlen(rig->report.checks[1].found), HOST_FOUND_MAX - 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_read_without_its_last_end_of_line_and_cleaned),
		TEST(a_long_file_is_cut_and_an_absent_one_is_empty),
		TEST(a_fifo_keeps_nobody_waiting),
		TEST(a_word_is_found_whole),
		TEST(a_link_is_known_by_the_last_part_of_its_path),
		TEST(checks_are_cleaned_cut_and_counted_beyond_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
