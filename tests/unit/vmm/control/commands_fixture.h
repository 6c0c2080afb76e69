/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM that answers a call with anything, and the subcommands as functions, with all that they print. */
#ifndef FERRY_TESTS_UNIT_VMM_CONTROL_COMMANDS_FIXTURE_H
#define FERRY_TESTS_UNIT_VMM_CONTROL_COMMANDS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

struct server {
	char dir[32], folder[48], path[64];
	int fd;
	const char *answer;
	size_t len;
	pthread_t thread;
	char call[4096]; /* what was asked, once stop() has returned */
};

/* Has a VM "web1" in s->dir answer one call with @len bytes. stop() waits until it has. */
void start(struct server *s, const char *answer, size_t len);
void stop(struct server *s);

/* Runs a subcommand. Keeps in @said what it prints, to stdout and stderr, all of which must be plain text.
 * Returns its exit code. */
int run(int (*command)(int argc, char **argv), char **argv, char *said, size_t size);

#endif
