/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network interfaces of the host, asked and set through rtnetlink by their index, because a name can go to
 * another interface at any time. Everything is about the network namespace in which the socket was made. The
 * functions are for start-up and the end, because requests wait for the kernel's lock on all interfaces. They
 * return 0 or -errno. Any thread.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_LINK_H
#define FERRY_DEVICES_VDPA_SOFT_LINK_H

#include <net/if.h>
#include <stdint.h>

#include "vmm/util.h"

struct soft_link {
	unsigned int index;
	unsigned int master; /* index of its bridge or bond; 0: none */
	char name[IFNAMSIZ];
	char kind[16]; /* "bridge", "tun" ...; "": hardware */
	bool up;
	uint32_t mtu;
	uint64_t address; /* a number, as of soft_mac_key() */
	/* How many queues of a TAP of several queues are open, in whichever process. */
	uint32_t tap_queues;
	bool tap_pi; /* its packets have a struct tun_pi in front */
};

/* Opens a socket for the functions below, which the caller closes with close(). Returns it, or -errno. */
int __must_check soft_link_socket(void);

/* Find an interface by its name, which may be one of its alternative names, or by its index. -ENODEV: there
 * is none. */
int __must_check soft_link_find(int fd, const char *name, struct soft_link *link);
int __must_check soft_link_get(int fd, unsigned int index, struct soft_link *link);

/* Finds the lowest address of the ports of @bridge. -ENOENT: it has none. */
int __must_check soft_link_lowest_port(int fd, unsigned int bridge, uint64_t *address);

int __must_check soft_link_set_address(int fd, unsigned int index, uint64_t address);
int __must_check soft_link_set_mtu(int fd, unsigned int index, uint32_t mtu);
/* @master 0 makes the interface no port of anything. */
int __must_check soft_link_set_master(int fd, unsigned int index, unsigned int master);
int __must_check soft_link_raise(int fd, unsigned int index);
int __must_check soft_link_lower(int fd, unsigned int index);

#endif
