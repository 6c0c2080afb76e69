/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a destination would take the guest: asked and answered, with nothing moved at either end. */
#ifndef FERRY_MIGRATION_CHECK_H
#define FERRY_MIGRATION_CHECK_H

#include "vmm/vm.h"

/* Reasons against a migration that are told apart; more than an error's text can hold. */
#define CHECK_MAX_OBSTACLES 64u

struct check {
	/* The reasons, NUL-terminated texts in @err; none: the guest can move. */
	unsigned int n_obstacles;
	const char *obstacles[CHECK_MAX_OBSTACLES];
	/* The version that both ends have agreed on; 0 where the destination refused. */
	unsigned int stream_version;
	struct error err;
};

/*
 * Asks the destination behind the connected socket @fd, which the function closes. Returns 0 where it has
 * answered, with what it has said in @check; else -errno with the reason in @check->err: -EBUSY while the
 * guest is being moved. Readable @cancel_fd (-1: none) calls the wait off. Any thread.
 */
int __must_check check_run(struct vm *vm, int fd, int cancel_fd, struct check *check);

#endif
