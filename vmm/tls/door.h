/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door of a destination for sources that come over TLS: ferry-tls listens, as a program that has nothing
 * of this process, and passes in those that have proved who they are. A thread here takes them.
 */
#ifndef FERRY_VMM_TLS_DOOR_H
#define FERRY_VMM_TLS_DOOR_H

#include "vmm/loop.h"
#include "vmm/tls/spawn.h"

struct tls_door_config {
	/* HOST:PORT to listen at; the folder of certificates and key; a name that a source must have, or
	 * NULL. The caller's, they stay. */
	const char *place;
	const char *dir;
	const char *peer;

	/* On the door's thread; both return at once. @fd is the callee's, a stream socket to a source called
	 * @peer. */
	void (*came)(void *opaque, int fd, const char *peer);
	/* Nobody comes any more: ferry-tls has ended, which it does not by itself. At most once. */
	void (*ended)(void *opaque, const char *reason);
	void *opaque;
};

struct tls_door {
	struct tls_child child;
	struct tls_door_config config;
	bool open;
	struct loop loop; /* its thread reads what the child says */
	struct loop_source source;
	struct log_limit limit;
};

/* Listens, and takes sources from here on. @config is copied. On an error, which has the reason, there is
 * nothing to close. May block for as long as the resolver takes. */
int __must_check tls_door_open(struct tls_door *door, const struct tls_door_config *config,
			       struct error *err);

/* Stops listening. No callback is running or comes after it; connections that have come stay. Not in a
 * callback. Does nothing for a door that is closed, or all zero. */
void tls_door_close(struct tls_door *door);

#endif
