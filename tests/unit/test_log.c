/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmm/log.c: where messages go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/log.h"

/* In a process without some of them: the first file that is opened then must not be a place for messages. */
static int first_file_without(unsigned int closed)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (closed >> fd & 1)
			close(fd);
	}
	if (log_keep_stdio() < 0)
		return 1;
	return open("/", O_RDONLY) > STDERR_FILENO ? 0 : 2;
}

static void test_keep_stdio(void **state)
{
	for (unsigned int closed = 0; closed < 8; closed++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(first_file_without(closed));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep_stdio),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
