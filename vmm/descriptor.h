/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that Ferry was started with, in the place of files that it would open itself: "fd:N", or
 * "fd:NAME" where a service manager gave it that name (sd_listen_fds(3)). So whoever has rights to a file
 * opens it, and Ferry needs none. Plain functions, main thread.
 *
 * The command line is read before Ferry opens anything, so a number that is open then was passed.
 */
#ifndef FERRY_VMM_DESCRIPTOR_H
#define FERRY_VMM_DESCRIPTOR_H

#include <stdbool.h>

struct error;

/* As many as a command line names for NICs of several queues, disks and files, with room. */
#define DESCRIPTORS_MAX 160u

/* The most that a service manager may pass, and the most characters that their names have together. */
#define DESCRIPTORS_MAX_PASSED 256u
#define DESCRIPTORS_MAX_NAMES  8192u

/* A use that a descriptor must be open for. */
enum descriptor_use {
	DESCRIPTOR_READ,
	DESCRIPTOR_READ_WRITE,
	DESCRIPTOR_LISTEN, /* a unix stream socket that listens */
};

struct descriptors {
	/* Passed ones have numbers from 3 on, and their names are in @names, ':' between. Allocated. */
	unsigned int n_passed;
	char *names;
	/* The command line has named these so far. */
	unsigned int n_claimed;
	struct {
		int fd;
		char text[16]; /* "fd:N" */
	} claimed[DESCRIPTORS_MAX];
};

/* Whether @text names a descriptor; a file whose name begins like that can be given as "./fd:...". */
bool descriptor_is(const char *text);

/*
 * Takes what a service manager says in LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, if it says so to this
 * process, and removes these from the environment. The descriptors are closed in programs that this one
 * starts. -EINVAL, with the reason, for what cannot be; descriptors_release() is to be called in every case.
 */
int descriptors_init(struct descriptors *d, struct error *err);
void descriptors_release(struct descriptors *d);

/*
 * Returns the number of the descriptor that @name, what follows "fd:", stands for, as a part of the value of
 * @option. The descriptor is open, serves @use, was not claimed before, and is closed in programs that this
 * one starts. -EINVAL, with the reason, otherwise.
 */
int descriptors_claim(struct descriptors *d, const char *option, const char *name, enum descriptor_use use,
		      struct error *err);

/* The same for a whole value of one descriptor, *@text, which becomes "fd:N": a string that is as old as @d.
 * A value that names no descriptor is left alone. 0 or -EINVAL. */
int descriptors_claim_text(struct descriptors *d, const char *option, const char **text,
			   enum descriptor_use use, struct error *err);

/*
 * Stand for open(@path, @flags), with the same result: a descriptor that is the caller's to close, or -1 with
 * errno. Of "fd:N", which was claimed, descriptor_take() returns N itself, once; descriptor_open() returns
 * another one for the same open file, as often as it is called, which then has the position, the locks and
 * the flags in common.
 */
int descriptor_open(const char *path, int flags);
int descriptor_take(const char *path, int flags);

#endif
