/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door's own side of TLS: takes connections from a listener, each into a process of its own, which has
 * the key and nothing else. So many at a time, and when others wait, the oldest that has proved nothing gives
 * way.
 */
#ifndef FERRY_VMM_TLS_LISTEN_H
#define FERRY_VMM_TLS_LISTEN_H

#include "vmm/log.h"

/* Where the child has its connection, and a word to say to the door. All else beyond stderr is closed. */
enum { TLS_CONNECTION_FD = 0, TLS_DOOR_FD = 3 };

struct tls_listener {
	/* The listener's, and one whose end means that nobody takes connections any more. */
	int fd;
	int result_fd;
	/* In the child: shakes hands on TLS_CONNECTION_FD, and returns the process's exit code. The process
	 * ends with the door until tls_listen_proved() is called. */
	int (*serve)(void *opaque);
	void *opaque;
};

/* Returns when nobody takes connections any more. */
void tls_listen_run(const struct tls_listener *l);

/* In the child: the other end has proved who it is. The process is nobody's from here on. */
void tls_listen_proved(void);

#endif
