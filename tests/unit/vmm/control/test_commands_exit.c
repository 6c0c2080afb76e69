/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands as programs: whatever becomes of what they print, their exit codes are true. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/guard.h"

static char dir[] = "/tmp/ferry-client-XXXXXX";

#define PROGRESS                                                                                             \
	"{\"parameters\":{\"report\":{\"stage\":\"ram\",\"round\":1,\"sentBytes\":4096}},\"continues\":"     \
	"true}"
#define MOVED   "{\"parameters\":{\"report\":{\"stage\":\"done\",\"downtimeNs\":1000000}}}"
#define FAILED  "{\"error\":\"alt.ferry.MigrationFailed\",\"parameters\":{\"reason\":\"no\"}}"
#define UNKNOWN "{\"error\":\"" CLIENT_ERROR_UNKNOWN "\",\"parameters\":{\"reason\":\"who knows\"}}"

static int listen_as_vm(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/vm/control", dir);
	unlink(addr.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* A VM that reports more often than a pipe or a buffer holds, and then answers @last. */
static void answer(int listener, const char *last)
{
	int fd = accept(listener, NULL, NULL);
	char call[4096];

	/* Whether there is a VM. */
	assert_true(fd >= 0);
	assert_int_equal(recv(fd, call, sizeof(call), 0), 0);
	close(fd);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_true(recv(fd, call, sizeof(call), 0) > 0);
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(send(fd, PROGRESS, sizeof(PROGRESS), MSG_NOSIGNAL), sizeof(PROGRESS));
	assert_int_equal(send(fd, last, strlen(last) + 1, MSG_NOSIGNAL), strlen(last) + 1);
	close(fd);
}

static int open_full(void)
{
	return open("/dev/full", O_WRONLY);
}

static int open_closed_pipe(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		return -1;
	close(fds[0]);
	return fds[1];
}

static int open_limited_file(void)
{
	const struct rlimit limit = { 100, 100 };
	char path[] = "/tmp/ferry-client-out-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	return setrlimit(RLIMIT_FSIZE, &limit) < 0 ? -1 : fd;
}

static int open_null(void)
{
	return open("/dev/null", O_WRONLY);
}

/* "ferry migrate" of a VM that answers @last, with what @open_stdout gives as stdout: how it ends. */
static int migrate(int (*open_stdout)(void), const char *last)
{
	char *argv[] = { "migrate", "vm", "--to", "exec:cat", "--runtime-dir", dir, NULL };
	int listener = listen_as_vm(), status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		guard_failed_calls();
		if (dup2(open_stdout(), STDOUT_FILENO) < 0)
			_exit(99);
		optind = 1;
		status = client_migrate(6, argv);
		fflush(stdout);
		_exit(status);
	}
	answer(listener, last);
	close(listener);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void a_migrations_exit_code_does_not_hang_on_stdout(void **state)
{
	static int (*const stdouts[])(void) = { open_null, open_full, open_closed_pipe, open_limited_file };

	for (unsigned int i = 0; i < ARRAY_SIZE(stdouts); i++) {
		assert_int_equal(migrate(stdouts[i], MOVED), 0);
		assert_int_equal(migrate(stdouts[i], FAILED), 1);
		assert_int_equal(migrate(stdouts[i], UNKNOWN), CLIENT_EXIT_UNKNOWN);
	}
}

static int setup(void **state)
{
	char path[64];

	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/vm", dir);
	return mkdir(path, 0700);
}

static int teardown(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/vm/control", dir);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_migrations_exit_code_does_not_hang_on_stdout),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
