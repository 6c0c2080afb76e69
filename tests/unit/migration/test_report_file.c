/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A report's file, and storage that does not answer: nobody waits for it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migration/report_file.h"

static char dir[] = "/tmp/ferry-report-XXXXXX", path[64];

static void assert_holds(int fd, const char *words)
{
	char text[4096] = "";

	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, words));
	close(fd);
}

static void reports_are_written_one_after_another(void **state)
{
	static const enum report_state states[] = { REPORT_FAILED, REPORT_MOVED };
	struct report_file f = { .path = path };

	for (unsigned int i = 0; i < ARRAY_SIZE(states); i++) {
		struct report r = { .state = states[i], .side = REPORT_DESTINATION };

		report_file_write(&f, &r);
		report_file_close(&f);
		assert_holds(open(path, O_RDONLY | O_CLOEXEC), report_state_names[states[i]]);
	}
	unlink(path);
}

static void without_a_path_there_is_no_file(void **state)
{
	struct report_file f = { 0 };
	struct report r = { .state = REPORT_FAILED };

	report_file_write(&f, &r);
	report_file_close(&f);
	assert_false(f.writing);
}

/* A pipe that nobody reads holds up whoever opens it, as storage may. */
static void storage_that_does_not_answer_is_not_waited_for(void **state)
{
	struct report_file f = { .path = path };
	struct report r = { .state = REPORT_FAILED };
	int fd;

	assert_int_equal(mkfifo(path, 0600), 0);
	report_file_write(&f, &r);
	r.state = REPORT_MOVED;
	report_file_write(&f, &r);
	assert_true(f.writing);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	report_file_close(&f);
	assert_holds(fd, "\"state\":\"failed\"");
	unlink(path);
}

static int setup(void **state)
{
	log_level = LOG_ERROR;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/report", dir);
	return 0;
}

static int teardown(void **state)
{
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_are_written_one_after_another),
		cmocka_unit_test(without_a_path_there_is_no_file),
		cmocka_unit_test(storage_that_does_not_answer_is_not_waited_for),
	};

	alarm(60);
	return cmocka_run_group_tests_name("report_file", tests, setup, teardown);
}
