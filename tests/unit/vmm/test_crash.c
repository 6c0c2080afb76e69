/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmm/crash.c: an assertion that fails ends the process, whoever reads that, and says so to whoever does. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/log.h"

/* Runs a process with @fd as stderr, whose fault comes after @n_before messages, and returns the signal that
 * ended it. */
static int crash(int fd, unsigned int n_before)
{
	const struct rlimit none = { 0, 0 };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(120);
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		dup2(fd, STDERR_FILENO);
		if (log_start() < 0)
			_exit(2);
		for (unsigned int i = 0; i < n_before; i++)
			log_error("message %u, one of many", i);
		assert(n_before > 1000000);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void a_failed_assertion_is_said_after_what_was_said_before(void **state)
{
	char text[4096] = { 0 };
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(crash(fds[1], 1), SIGABRT);
	close(fds[1]);
	for (size_t len = 0; len < sizeof(text) - 1;) {
		ssize_t n = read(fds[0], text + len, sizeof(text) - 1 - len);

		assert_true(n >= 0);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	assert_ptr_equal(strstr(text,
				"ferry: message 0, one of many\n"
				"ferry: a fault of Ferry's: n_before > 1000000 does not hold in crash(), "),
			 text);
	close(fds[0]);
}

static void a_failed_assertion_does_not_wait_for_who_reads_it(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(crash(fds[1], 20000), SIGABRT);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_assertion_is_said_after_what_was_said_before),
		cmocka_unit_test(a_failed_assertion_does_not_wait_for_who_reads_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
