/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The unix socket of the serial port: one client at a time, the next one waits in the backlog. */
#ifndef FERRY_DEVICES_SERIAL_LISTENER_H
#define FERRY_DEVICES_SERIAL_LISTENER_H

#include "vmm/guard.h"
#include "vmm/log.h"
#include "vmm/loop.h"
#include "vmm/socket_file.h"

/* Owned by the caller. All functions on the loop's thread, or before it runs. */
struct serial_listener {
	struct loop *loop;
	struct loop_source src; /* fd -1: there is no socket */
	const char *path;
	struct socket_file file;
	struct guard_undo undo; /* removes the file */
	struct log_limit log_limit;
};

/* @fn is called when a client has come, and is to take it. */
void serial_listener_init(struct serial_listener *l, struct loop *loop,
			  void (*fn)(struct loop_source *src, uint32_t events));
/* Makes the socket at @path, which must outlive it, and listens. 0 or -errno, with the reason. */
int __must_check serial_listener_open(struct serial_listener *l, const char *path, struct error *err);
void serial_listener_close(struct serial_listener *l);

/* Calls @fn for a client from now on, also for one that has come before. -errno: descriptors or memory are
 * short. Done twice it does no harm. */
int __must_check serial_listener_watch(struct serial_listener *l);

/*
 * Takes a client, and leaves the next one in the backlog: 0, with a descriptor for each direction in @fds,
 * because epoll knows each but once. -EAGAIN: there is none. Else -errno, logged: descriptors are short, and
 * the call is to be made again.
 */
int __must_check serial_listener_take(struct serial_listener *l, int fds[2]);

#endif
