/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells the network where the guest is now: RARP frames through the shadow ring of the first send queue, from
 * each unicast address that the guest has (its own, those of its table), without a tag and on each VLAN of
 * its filter.
 *
 * NET_ANNOUNCE_ROUNDS rounds, each of which has a frame for each of them, with gaps between them that grow
 * from 50 ms to 1.6 s: three seconds for most guests. A round goes out in batches of NET_ANNOUNCE_BATCH
 * frames each NET_ANNOUNCE_STEP_MS, so that it neither keeps the NIC's thread from packets nor floods the
 * network, and never has more than a quarter of the ring. What a guest has beyond that, up to 8,193 addresses
 * on 4,094 VLANs, ends with NET_ANNOUNCE_MAX_MS: its own address comes first on all of its VLANs, then its
 * table's in their order.
 *
 * The guest's filters are read as they are at each batch. A guest with VIRTIO_NET_F_GUEST_ANNOUNCE announces
 * itself as well, in its own way: its ANNOUNCE_ACK ends nothing here. While the NIC is paused no frame goes
 * out. A guest that migrates again meanwhile is announced from the beginning where it arrives, and here no
 * longer; if it stays, the rounds go on.
 *
 * The NIC's thread owns it. The device goes over to the guest's own rings when all has been sent; or after
 * NET_ANNOUNCE_OWN_ROUNDS, 0.8 s, where what is left to say the guest says by itself: it has asked for that
 * and has followed, and has its one address and no VLANs. Then it is asked again in the place of each round.
 */
#ifndef FERRY_DEVICES_NET_ANNOUNCE_H
#define FERRY_DEVICES_NET_ANNOUNCE_H

#include "devices/net/config_space.h"
#include "devices/net/cvq/store.h"
#include "devices/net/queue.h"
#include "vmm/loop_timer.h"

#define NET_ANNOUNCE_ROUNDS     7u
#define NET_ANNOUNCE_OWN_ROUNDS 5u
#define NET_ANNOUNCE_BATCH      16u
#define NET_ANNOUNCE_STEP_MS    2u
#define NET_ANNOUNCE_MAX_MS     10000u

struct net_announce {
	/* Set before the NIC's thread begins. */
	struct net_queue *queue;       /* the first send queue */
	struct net_space *space;       /* has the guest's own address */
	const struct cvq_store *store; /* has its table and its VLANs */
	uint64_t offset;               /* of the frames in the window, a page */
	/* Rounds, the one that is being sent included. */
	unsigned int n_left;
	bool by_guest; /* those that are left are the guest's to send */
	/* The next frame: 0 for the guest's own address, n for the table's n-th; 0 for no tag. */
	uint32_t mac;
	uint32_t vid;
	uint64_t end_ns;
	struct loop_timer timer; /* of the next batch */
};

/* Sends the first batch and arms the timer for what follows. Nothing to do for a guest that has shown no
 * address. */
void net_announce_start(struct net_announce *a);
/* The timer has fired: the next batch. Returns whether the guest is to announce itself instead. */
bool net_announce_tick(struct net_announce *a);
/* Leaves the rounds that are left to a guest that announces itself, where that says as much. Returns whether
 * it has: Ferry's frames need the ring no longer than it takes to send those that the device has. */
bool net_announce_leave(struct net_announce *a);
void net_announce_stop(struct net_announce *a);

/* Whether frames are still to come, or are with the device. */
static inline bool net_announce_busy(const struct net_announce *a)
{
	return (a->n_left > 0 && !a->by_guest) || a->queue->announced;
}

/* The device has sent a frame: NET_OWNER_ANNOUNCE. */
void net_announce_used(struct net_queue *q, const struct svq_used *used);

#endif
