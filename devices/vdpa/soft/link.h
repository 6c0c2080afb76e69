/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network interfaces of the host, asked and set through rtnetlink by their index: a name can go to another
 * interface at any time. Everything is about the network namespace in which the socket was made. For start-up
 * and the end: requests wait for the kernel's lock on all interfaces. Functions return 0 or -errno.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_LINK_H
#define FERRY_DEVICES_VDPA_SOFT_LINK_H

#include <net/if.h>
#include <stdint.h>

#include "vmm/util.h"

struct soft_link {
	unsigned int index;
	unsigned int master; /* index of the bridge or bond it is a port of; 0: none */
	char name[IFNAMSIZ];
	char kind[16]; /* "bridge", "tun" ...; empty for hardware */
	bool up;
	uint32_t mtu;
	uint64_t address;    /* first byte highest, as of soft_mac_key() */
	uint32_t tap_queues; /* of a TAP of several queues: how many are open, in whichever process */
};

/* A socket for the functions below, the caller's to close(); or -errno. */
int __must_check soft_link_socket(void);

/* -ENODEV: there is none. A name may be one of the alternative names. */
int __must_check soft_link_find(int fd, const char *name, struct soft_link *link);
int __must_check soft_link_get(int fd, unsigned int index, struct soft_link *link);

/* The lowest address of the ports of @bridge; -ENOENT: it has none. */
int __must_check soft_link_lowest_port(int fd, unsigned int bridge, uint64_t *address);

int __must_check soft_link_set_address(int fd, unsigned int index, uint64_t address);
int __must_check soft_link_set_mtu(int fd, unsigned int index, uint32_t mtu);
/* @master 0: no port of anything. */
int __must_check soft_link_set_master(int fd, unsigned int index, unsigned int master);
int __must_check soft_link_raise(int fd, unsigned int index);
int __must_check soft_link_lower(int fd, unsigned int index);

#endif
