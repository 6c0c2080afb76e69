/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Folders of certificates, made by the manual's own five commands and by others that they should not be made
 * by; TCP connections over loopback; and ferry-tls at one or both of their ends.
 */
#ifndef FERRY_TESTS_UNIT_VMM_TLS_TLS_FIXTURE_H
#define FERRY_TESTS_UNIT_VMM_TLS_TLS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/types.h>

#include "vmm/tls/result.h"

/* Makes the folders hosta and hostb of one CA, and beside them, each with a fault: "other" (another CA),
 * "expired", "future", "nameless" (only a common name), "readable" (the key), "swapped" (a key of another
 * certificate); and "local", whose names are those of loopback. The working directory becomes the one that
 * they are in. For a program's group. */
int tls_setup(void **state);
int tls_teardown(void **state);

/* Puts the program's folder into $PATH: beside the test it is not. */
void tls_program_to_path(void);

/* A program with a TCP socket. */
struct helper {
	pid_t pid;
	int result_fd;
	/* What it said, once helper_wait() was called, and the descriptor that came with that, or -1. */
	struct tls_result result;
	int fd;
};

/* Two ends of a TCP connection over loopback. */
void tcp_pair(int fd[2]);

/* Starts "ferry-tls ROLE --dir DIR" with the socket @fd, which is closed here, and more options up to NULL.
 */
void helper_start(struct helper *h, const char *role, const char *dir, int fd, ...);
/* Waits for its result. */
void helper_wait(struct helper *h);
/* Closes what it handed back, waits for its end, and returns its exit code; -signal where one ended it. */
int helper_end(struct helper *h);

/* Lets hosta connect to hostb; both have a connection. */
void connect_two(struct helper *a, struct helper *b);

/* Starts "sh -c COMMAND" with a port of loopback as $1, and returns the connection that it makes there. Its
 * output goes into the file "out" of the working directory. */
int stranger_start(pid_t *pid, const char *command);
/* Waits for its end. */
void stranger_end(pid_t pid);
/* Whether the file "out" has @text. */
bool stranger_said(const char *text);

/* Milliseconds since @start_ns. */
unsigned int ms_since(uint64_t start_ns);

#endif
