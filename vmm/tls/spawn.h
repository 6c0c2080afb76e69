/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts ferry-tls, which is beside the program that runs, or else in $PATH. */
#ifndef FERRY_VMM_TLS_SPAWN_H
#define FERRY_VMM_TLS_SPAWN_H

#include <sys/types.h>

#include "vmm/tls/options.h"

/* A ferry-tls that runs. Caller-owned. */
struct tls_child {
	pid_t pid;
	/* For tls_result_recv(). */
	int result_fd;
};

/*
 * Starts one for o->place, with the role, folder, names and time of @o. The
 * child has a session of its own: Ctrl-C at a terminal is for its starter, and a pump may outlive that. 0,
 * with a child to wait for and a descriptor to close, or -errno with the reason.
 */
int __must_check tls_spawn(struct tls_child *c, const struct tls_options *o, struct error *err);

/* Waits for the child's end, kills it where that does not come within @timeout_ms, and forgets it. The
 * result's descriptor is closed. */
void tls_child_end(struct tls_child *c, int timeout_ms);

/* Checks at the start of a wait that there will be a ferry-tls for what comes. -ENOENT with the reason. */
int __must_check tls_spawn_check(struct error *err);

#endif
