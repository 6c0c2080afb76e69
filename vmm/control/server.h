/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's server: it listens on RUNTIME_DIR/NAME.sock, mode 0600, for clients of our own user
 * and root, and has a table of methods, which come from main.c. Clients are served by a thread of the
 * server's own, and a call has one of its own once it is whole; a client that says nothing, or little, is in
 * nobody's way.
 */
#ifndef FERRY_VMM_CONTROL_SERVER_H
#define FERRY_VMM_CONTROL_SERVER_H

#include "vmm/control/call.h"
#include "vmm/guard.h"

/* Calls that run at a time: each has a thread and a stack of 1 MiB. */
#define CONTROL_MAX_CALLS 8u
/* Clients at a time, with those whose call is not whole yet. */
#define CONTROL_MAX_CLIENTS 32u
_Static_assert(CONTROL_MAX_CALLS < CONTROL_MAX_CLIENTS, "there is always one that can give way");

struct control;

struct control_config {
	const char *runtime_dir;
	const char *name;
	const struct control_method *methods;
	unsigned int n_methods;
	void *opaque; /* the methods' */
	/* Removes the socket's file when the process is ended by force, and ends waits. */
	struct guard *guard;
};

/* Makes a server, and starts its thread: methods may be called before this returns. Fails with a clear
 * message if a living process has the name already; a socket that a dead one left is replaced. @config is
 * copied, what it points to must stay until control_destroy(). */
int __must_check control_create(struct control **control, const struct control_config *config,
				struct error *err);
/* Has all calls end, as if their clients had hung up, waits for their last replies, removes the socket. Not
 * in a method: its call would wait for itself. */
void control_destroy(struct control *control);

#endif
