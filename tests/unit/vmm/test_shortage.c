/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of descriptors and threads: what may be raised is, and of the rest is said what can be done. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/shortage.h"

static void the_limit_is_raised_to_what_is_allowed(void **state)
{
	struct rlimit before, now;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = (struct rlimit){ .rlim_cur = 64, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	shortage_raise_descriptors();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
	assert_true(now.rlim_cur == before.rlim_max && now.rlim_max == before.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void too_many_descriptors_are_counted_with_what_is_open(void **state)
{
	struct rlimit before, now;
	struct error err = { 0 };
	char needed[64];
	int next = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = (struct rlimit){ .rlim_cur = 100, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(shortage_check_descriptors(100 - (unsigned int)next, &err), 0);
	assert_string_equal(err.text, "");
	assert_int_equal(shortage_check_descriptors(101 - (unsigned int)next, &err), -EMFILE);
	snprintf(needed, sizeof(needed), "need %u file descriptors, the limit is 100", 101);
	assert_non_null(strstr(err.text, needed));
	assert_non_null(strstr(err.text, "ulimit -n 101"));
	assert_non_null(strstr(err.text, "LimitNOFILE=101"));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void each_shortage_has_its_own_advice(void **state)
{
	assert_non_null(strstr(shortage_advice(-EMFILE), "ulimit -n"));
	assert_non_null(strstr(shortage_advice(-ENFILE), "fs.file-max"));
	assert_non_null(strstr(shortage_advice(-EAGAIN), "ulimit -u"));
	assert_non_null(strstr(shortage_advice(-EFBIG), "ulimit -f"));
	assert_string_equal(shortage_advice(-ENOENT), "");
}

/* Runs in a child, because a sanitizer needs more addresses than are left. */
static void a_limit_of_addresses_is_named_where_there_is_one(void **state)
{
	struct rlimit limit;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (getrlimit(RLIMIT_AS, &limit) < 0)
			_exit(1);
		if (limit.rlim_cur == RLIM_INFINITY && shortage_advice(-ENOMEM)[0])
			_exit(2);
		limit.rlim_cur = min_u64(limit.rlim_max, GIB(1));
		if (setrlimit(RLIMIT_AS, &limit) < 0)
			_exit(3);
		_exit(strstr(shortage_advice(-ENOMEM), "ulimit -v") ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_is_raised_to_what_is_allowed),
		cmocka_unit_test(too_many_descriptors_are_counted_with_what_is_open),
		cmocka_unit_test(each_shortage_has_its_own_advice),
		cmocka_unit_test(a_limit_of_addresses_is_named_where_there_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
