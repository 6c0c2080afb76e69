/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all queues of a NIC share on the way of a packet or a command: the guest's memory, the window, the
 * format of packets, and whether anything may move. The NIC holds one, and its queues and control plane point
 * to it. Used on the NIC's thread only.
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
	unsigned int
		n_data; /* data queues that the negotiated features make: pairs of receive and send queue */
	uint64_t features;   /* negotiated with the guest's driver */
	uint32_t header_len; /* of the vnet header, in bytes */
	bool open;           /* the guest's rings may be touched: its driver is here, and not paused */
	bool live; /* the device is at DRIVER_OK and may be kicked, not before ("Device Initialization") */
	char fault[256]; /* why the NIC stops: net_path_fail(); empty while all is well */
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
