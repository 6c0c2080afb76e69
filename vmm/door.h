/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door: a process of its own that takes connections in place of the process with the guest. It listens,
 * proves who has come, turns strangers away, and passes the sockets of the others in; it knows nothing of
 * what is said over them. It is forked before anything else is opened and gives up every right that it does
 * not need: capabilities, descriptors, memory, and all system calls but a dozen. So a stranger who gets the
 * better of it has won a socket that others may use just as well, and nothing of the guest's.
 *
 *	door_fork()   before threads, descriptors and devices
 *	door_open()   when connections are wanted
 *	door_close()
 */
#ifndef FERRY_VMM_DOOR_H
#define FERRY_VMM_DOOR_H

#include <sys/types.h>

#include "vmm/guard.h"
#include "vmm/loop.h"
#include "vmm/socket_file.h"

struct door_config {
	/* Path of the unix socket, or fd:N of one that listens (descriptor.h), for users whose id is our own,
	 * 0, or @peer_uid. The caller's, it stays. */
	const char *path;
	uid_t peer_uid; /* our own, where nobody else is allowed */
	/* Removes the socket's file when the process is ended by force. */
	struct guard *guard;

	/* On the door's thread in this process; both return at once. Somebody who may has connected: @fd is
	 * the callee's, a descriptor that is not to be trusted further than its peer. */
	void (*came)(void *opaque, int fd);
	/* Nobody comes any more: the process has ended, which it does not by itself. At most once. */
	void (*ended)(void *opaque, const char *reason);
	void *opaque;
};

struct door {
	pid_t pid; /* 0: there is none */
	int fd;    /* a socket to the process */
	struct door_config config;
	struct socket_file file;
	struct guard_undo undo; /* removes @file */
	bool open;
	struct loop loop; /* its thread reads @fd while the door is open */
	struct loop_source source;
	struct log_limit limit;
};

/* Starts the process, which waits for a listener. By the only thread of this process. On an error there is
 * nothing to close. */
int __must_check door_fork(struct door *door, struct error *err);

/*
 * Listens, and has the process take connections from here on. The socket's file has mode 0600, or 0666 where
 * another user is allowed, because the permission to connect is proved by credentials. Errors of
 * socket_file_bind(), in words. @config is copied. On an error door_close() is still to be called.
 */
int __must_check door_open(struct door *door, const struct door_config *config, struct error *err);

/* Removes the socket's file, ends the process and the thread: no callback is running or comes after it. Not
 * in a callback. Does nothing for a door that is closed, nor for one whose @fd is -1 and all else zero. */
void door_close(struct door *door);

#endif
