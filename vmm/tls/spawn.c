/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds and starts the helper. */
#define _GNU_SOURCE
#include "vmm/tls/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TLS_PROGRAM "ferry-tls"

/* The longest path there can be. */
#define TLS_PATH_MAX 4096u

extern char **environ;

/* Writes where the program is in the folder @dir of @len bytes. Whether it can be run there. */
static bool tls_program_in(char path[TLS_PATH_MAX], const char *dir, size_t len)
{
	int n = snprintf(path, TLS_PATH_MAX, "%.*s/" TLS_PROGRAM, (int)len, dir);

	return n > 0 && n < (int)TLS_PATH_MAX && access(path, X_OK) == 0;
}

/* Writes where the program is. -ENOENT with the reason. */
static int tls_find_program(char path[TLS_PATH_MAX], struct error *err)
{
	char self[TLS_PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir = getenv("PATH");
	const char *slash;

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash && tls_program_in(path, self, (size_t)(slash - self)))
			return 0;
	}
	while (dir && *dir) {
		const size_t len = strcspn(dir, ":");

		if (dir[0] == '/' && tls_program_in(path, dir, len))
			return 0;
		dir += len + (dir[len] == ':');
	}
	error_add(err, "there is no " TLS_PROGRAM
		       " beside this program or in $PATH; it is built where mbedTLS 3.6 is "
		       "found");
	return -ENOENT;
}

/* How the child begins: the socket in its place, and no signal blocked or ignored. */
static int tls_prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int result_fd)
{
	sigset_t none, all;
	int ret;

	sigemptyset(&none);
	sigfillset(&all);
	ret = posix_spawn_file_actions_adddup2(actions, result_fd, STDOUT_FILENO);
	if (ret == 0)
		ret = posix_spawnattr_setsigmask(attr, &none);
	if (ret == 0)
		ret = posix_spawnattr_setsigdefault(attr, &all);
	if (ret == 0)
		ret = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
							     POSIX_SPAWN_SETSID);
	return -ret;
}

static int tls_spawn_program(struct tls_child *c, const char *path, char *const argv[], int result_fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int ret;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	ret = tls_prepare(&actions, &attr, result_fd);
	if (ret == 0)
		ret = -posix_spawn(&c->pid, path, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return ret;
}

int tls_spawn(struct tls_child *c, const struct tls_options *o, struct error *err)
{
	char path[TLS_PATH_MAX], timeout[16];
	const char *argv[] = { TLS_PROGRAM, tls_role_name(o->role),
			       "--result",  "1",
			       "--timeout", timeout,
			       "--dir",     o->dir,
			       "--place",   o->place,
			       NULL,        NULL,
			       NULL,        NULL,
			       NULL };
	unsigned int n = 10;
	int ends[2], ret;

	ret = tls_find_program(path, err);
	if (ret < 0)
		return ret;
	snprintf(timeout, sizeof(timeout), "%u", o->timeout_ms);
	if (o->host) {
		argv[n++] = "--host";
		argv[n++] = o->host;
	}
	if (o->peer) {
		argv[n++] = "--peer";
		argv[n++] = o->peer;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		ret = -errno;
	} else {
		ret = tls_spawn_program(c, path, (char *const *)argv, ends[1]);
		close(ends[1]);
		c->result_fd = ends[0];
		if (ret < 0)
			close(ends[0]);
	}
	if (ret < 0)
		error_add(err, "cannot run %s: %s", path, strerror(-ret));
	return ret;
}

int tls_spawn_check(struct error *err)
{
	char path[TLS_PATH_MAX];

	return tls_find_program(path, err);
}

void tls_child_end(struct tls_child *c, int timeout_ms)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, c->pid, 0), .events = POLLIN };
	int n;

	close(c->result_fd);
	do {
		n = poll(&p, 1, timeout_ms);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		kill(c->pid, SIGKILL);
	if (p.fd >= 0)
		close(p.fd);
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
	c->result_fd = -1;
}
