/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue of the NIC: the guest's ring on one side, the shadow ring on the other. The NIC's thread owns it.
 */
#ifndef FERRY_DEVICES_NET_QUEUE_H
#define FERRY_DEVICES_NET_QUEUE_H

#include "devices/net/path.h"
#include "devices/virtio/svq.h"
#include "devices/virtio/vring.h"
#include "vmm/loop.h"

/* Events of a data queue's eventfds. Edge-triggered: each signal is an event, so that nobody has to empty the
 * counter in a packet's way. */
#define NET_QUEUE_EVENTS (EPOLLIN | EPOLLET)

/* Whose element completes in a data queue's shadow ring: the token's upper half. The lower half is the
 * guest's head or the number of a buffer. */
enum net_owner { NET_OWNER_GUEST, NET_OWNER_SCRATCH, NET_OWNER_ANNOUNCE };

static inline uint64_t net_token(enum net_owner owner, uint32_t n)
{
	return (uint64_t)owner << 32 | n;
}

/* Buffers of Ferry's own in a receive queue of a destination: scratch.h. */
struct net_scratch {
	uint64_t offset;   /* in the window */
	uint32_t n;        /* that the device has; as many chains are held for what they catch */
	uint8_t *gather;   /* a packet that comes in several buffers: NET_MAX_PACKET bytes */
	uint32_t gathered; /* bytes of it so far */
	uint32_t left;     /* buffers of it still to come */
	uint32_t to_drop;  /* the guest's own buffers that hold the rest of a packet that was dropped */
};

struct net_queue {
	struct net_path *path;
	struct net_queue *siblings; /* all data queues: [path->n_data] */
	unsigned int guest_index;
	unsigned int device_index;
	uint16_t device_size;    /* of the ring at the device's queue with this slot's number */
	struct loop_source kick; /* from the guest; fd is the transport's */
	struct loop_source call; /* from the device */
	int device_kick;         /* to the device */
	void *doorbell;          /* the device's, while it is in the guest's reach */
	uint64_t ring_offset;    /* of the shadow ring in the window */
	uint64_t table_offset;   /* and of its tables, if the device takes some */

	struct svq svq; /* zeroed while the device has none */
	struct vring vring;
	bool attached; /* the guest's ring is served */
	bool full;     /* a chain waits in the guest's ring for room in the shadow ring */
	/* Chains taken from the guest's ring, first come first, that the device does not have: [ring size].
	 * NULL while the guest's driver has no ring here. */
	uint16_t *held;
	uint32_t n_held;
	struct net_scratch scratch;
};

static inline bool net_is_rx(const struct net_queue *q)
{
	return q->guest_index % 2 == 0;
}

/* Kicks the device. Does nothing before the device is at DRIVER_OK. */
static inline void net_queue_kick_device(struct net_queue *q)
{
	if (q->path->live)
		loop_signal(q->device_kick);
}

#endif
