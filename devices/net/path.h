/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of a NIC that all its queues share on the way of a packet or a command: the guest's memory, the
 * window, the format of packets, and whether anything may move. The NIC holds one; its queues and its control
 * plane point to it. The NIC's thread owns it.
 */
#ifndef FERRY_DEVICES_NET_PATH_H
#define FERRY_DEVICES_NET_PATH_H

#include "devices/net/window.h"
#include "devices/virtio/virtio.h"
#include "vmm/memory.h"

struct virtio_pci;

/* The most pairs of data queues. */
#define NET_MAX_PAIRS 64u

struct net_path {
	struct memory *memory;
	struct virtio_pci *virtio; /* to interrupt the guest, for nothing else */
	struct net_window window;
	uint64_t features;   /* negotiated with the guest's driver */
	unsigned int n_data; /* data queues with these features, two a pair */
	uint32_t header_len; /* of the vnet header, in bytes */
	/* The guest's rings may be touched: its driver is at DRIVER_OK, and not paused for a migration. */
	bool open;
	/* The device is at DRIVER_OK: it must not be kicked before ("Driver Requirements: Device
	 * Initialization"). */
	bool live;
	/* The NIC's thread looks at the rings again and again (turn.h): neither kicks nor calls are asked
	 * for, and one pass over a ring is enough. */
	bool looking;
	/* The reason for which the NIC stops, by net_path_fail(); empty while all is well. */
	char fault[256];
};

/*
 * The device or the guest's driver broke the rules. From here on no data queue moves; the first reason is
 * kept. Whoever finds the fault returns; the owner of the event or call ends with net_settle(), which resets
 * the device and asks the driver for a reset.
 */
void net_path_fail(struct net_path *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool net_path_failed(const struct net_path *path)
{
	return path->fault[0] != '\0';
}

/* Whether data queues are served. */
static inline bool net_path_runs(const struct net_path *path)
{
	return path->open && !net_path_failed(path);
}

#endif
