/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue of the NIC: the guest's ring on one side, the shadow ring on the other. The NIC's thread owns it.
 */
#ifndef FERRY_DEVICES_NET_QUEUE_H
#define FERRY_DEVICES_NET_QUEUE_H

#include "devices/net/path.h"
#include "devices/vdpa/vdpa.h"
#include "devices/virtio/svq.h"
#include "devices/virtio/transport.h"
#include "devices/virtio/vring.h"
#include "vmm/loop.h"

/* Events of a data queue's eventfds. Edge-triggered: each signal is an event, so that nobody has to empty the
 * counter in a packet's way. */
#define NET_QUEUE_EVENTS (EPOLLIN | EPOLLET)

/* The owner of an element in a data queue's shadow ring is its token's upper half. The lower half is the
 * guest's head, or the number of a scratch buffer. */
enum net_owner { NET_OWNER_GUEST, NET_OWNER_SCRATCH, NET_OWNER_ANNOUNCE };

static inline uint64_t net_token(enum net_owner owner, uint32_t n)
{
	return (uint64_t)owner << 32 | n;
}

/* Buffers of Ferry's own in a receive queue of a destination: scratch.h. */
struct net_scratch {
	uint64_t offset; /* in the window */
	/* Buffers that the device has. As many chains of the guest's are held for the packets in them. */
	uint32_t n;
	/* A packet that comes in several buffers is put together here: NET_MAX_PACKET bytes. */
	uint8_t *gather;
	uint32_t gathered; /* bytes of it so far */
	uint32_t left;     /* buffers of it still to come */
	/* The guest's own buffers still to come with the rest of a packet that was dropped. */
	uint32_t to_drop;
};

/* What has passed a queue while Ferry serves it, since the NIC was made: 0 for what it did in passthrough. */
struct net_counts {
	uint64_t buffers;    /* of the guest's that the device has used */
	uint64_t bytes;      /* in them, with their headers */
	uint64_t kicks;      /* from the guest, those that came together as one */
	uint64_t interrupts; /* to the guest */
	/* The same two at the shadow ring. */
	uint64_t device_kicks, device_calls;
};

struct net_queue {
	struct net_path *path;
	struct net_queue *siblings; /* all data queues: [path->n_data] */
	unsigned int guest_index;
	unsigned int device_index;
	/* The largest ring at the device's queue with this slot's number. */
	uint16_t device_size;
	struct loop_source kick; /* from the guest; the eventfd is the transport's */
	struct loop_source call; /* from the device */
	int device_kick;         /* to the device, an eventfd */
	void *doorbell;          /* the device's page, while the guest reaches it */
	uint64_t ring_offset;    /* of the shadow ring in the window */
	uint64_t table_offset;   /* of its tables, if the device takes some */

	struct svq svq; /* zeroed while there is no shadow ring */
	struct vring vring;
	bool attached; /* the guest's ring is served */
	bool full;     /* a chain waits for room in the shadow ring */
	bool logged;   /* what the device has written by its index as last read is to be marked dirty */
	/* Chains taken from the guest's ring, first come first, that the device does not have: [ring size].
	 * NULL while the guest's driver has no ring here. */
	uint16_t *held;
	uint32_t n_held;
	struct net_scratch scratch;
	struct net_counts counts;
	uint32_t announced; /* frames of announce.h's that the device has, a bit for each of their places */
};

static inline bool net_is_rx(const struct net_queue *q)
{
	return q->guest_index % 2 == 0;
}

/* Kicks the device. Does nothing before the device is at DRIVER_OK. */
static inline void net_queue_kick_device(struct net_queue *q)
{
	if (!q->path->live)
		return;
	q->counts.device_kicks++;
	loop_signal(q->device_kick);
}

/*
 * Kicks the receive queues among @queues. A NIC may hold back a packet of one queue that it steers into the
 * ring of another without buffers for it, and look at it again at the first one's kick only, as QEMU's does:
 * until then it takes nothing more from that queue of its TAP.
 */
void net_queue_kick_receivers(struct net_queue *queues);

/* Shows the device what was added to the shadow ring, with a kick if it wants one and may have it. */
void net_queue_publish(struct net_queue *q);
/* Shows the guest what was given back to its ring, with an interrupt if it wants one. */
static inline void net_queue_publish_used(struct net_queue *q)
{
	if (!vring_publish(&q->vring))
		return;
	q->counts.interrupts++;
	virtio_pci_notify_queue(q->path->virtio, q->guest_index);
}

/* A ring of the guest's that nothing serves yet; @held is NULL where the driver has not enabled it. */
struct net_ring {
	struct vring vring;
	uint16_t *held;
};

/* Finds the ring that the guest's driver with @features has put at @place, at index 0. -errno with the
 * reason. net_ring_drop() frees it, net_queue_take_ring() makes it the queue's. */
int __must_check net_ring_find(const struct net_path *path, uint64_t features, unsigned int guest_index,
			       const struct virtio_pci_place *place, struct net_ring *ring,
			       struct error *err);
void net_ring_drop(struct net_ring *ring);
void net_queue_take_ring(struct net_queue *q, struct net_ring *ring);

/* Serves the guest's ring from now on, if there is one; where @loop cannot watch it the path has failed.
 * net_queue_unwatch() ends that and leaves the ring; net_queue_detach() ends that and frees the ring. */
void net_queue_attach(struct net_queue *q, struct loop *loop);
void net_queue_unwatch(struct net_queue *q, struct loop *loop);
void net_queue_detach(struct net_queue *q, struct loop *loop);

/* Holds every chain that is in flight in the guest's ring, to be given to a device that has none of them. */
void net_queue_hold_in_flight(struct net_queue *q);

/* Makes an empty shadow ring of @size in the window for a device with @features; *@vring is what the device
 * is to be told of it. -ENOMEM with the reason. */
int __must_check net_queue_shadow(struct net_queue *q, uint16_t size, uint64_t features,
				  struct vdpa_vring *vring, struct error *err);

/* Whether the device itself could go on with the guest's ring: nothing but the guest's own is in flight, in
 * order. net_queue_rewind() makes it so that it begins at what was used. */
bool net_queue_can_rewind(const struct net_queue *q);
void net_queue_rewind(struct net_queue *q);

#endif
