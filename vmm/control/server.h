/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's server: it listens on RUNTIME_DIR/NAME/control, mode 0600, for clients of our own user
 * and root, and offers interfaces with methods, which come from above. Clients are served by a thread of the
 * server's own, and a call has one of its own once it is whole; a client that says nothing, or little, is in
 * nobody's way.
 */
#ifndef FERRY_VMM_CONTROL_SERVER_H
#define FERRY_VMM_CONTROL_SERVER_H

#include "vmm/control/place.h"
#include "vmm/guard.h"

struct control;

struct control_config {
	const char *runtime_dir;
	const char *name;
	/* What there is beside Varlink's own interface. */
	const struct control_offer *offers;
	unsigned int n_offers; /* at most CONTROL_MAX_OFFERS */
	/* Removes the socket's file and the VM's folder when the process is ended by force, and ends waits.
	 */
	struct guard *guard;
};

/* Makes a server, and starts its thread: methods may be called before this returns. Fails with a clear
 * message if a living process has the name already; a socket that a dead one left is replaced, in its folder.
 * @config is copied, what it points to must stay until control_destroy(). */
int __must_check control_create(struct control **control, const struct control_config *config,
				struct error *err);
/* Has all calls end, as if their clients had hung up, waits for their last replies, removes the socket and
 * the folder. Not in a method: its call would wait for itself. */
void control_destroy(struct control *control);

#endif
