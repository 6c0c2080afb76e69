/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A descriptor at the host's end of the serial port, of any kind, and watching it. */
#ifndef FERRY_DEVICES_SERIAL_END_H
#define FERRY_DEVICES_SERIAL_END_H

#include <stdbool.h>

#include "vmm/loop.h"

/* Owned by the caller. All functions on the loop's thread, or before it runs. */
struct serial_end {
	struct loop *loop;
	struct loop_source src; /* fd -1: nobody is there */
	bool is_fifo;
	bool is_socket;
	/* epoll refuses regular files and /dev/null, which never keep a reader waiting. */
	bool always_ready;
	bool watched;
	uint32_t events;
};

/* Begins with nobody there; @fn is called for the events of whoever comes. */
void serial_end_init(struct serial_end *e, struct loop *loop,
		     void (*fn)(struct loop_source *src, uint32_t events));
/* Takes @fd over, -1 for nobody. Nothing is watched before serial_end_watch(). */
void serial_end_open(struct serial_end *e, int fd);
/* A second call does nothing. */
void serial_end_close(struct serial_end *e);

/* Has @fn called for @events and nothing else, 0 for none at all; EPOLLHUP alone is a way to wait for the
 * end. -errno: descriptors or memory are short, and the call is to be made again. */
int __must_check serial_end_watch(struct serial_end *e, uint32_t events);

#endif
