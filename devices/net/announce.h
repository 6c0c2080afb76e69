/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the network where the guest is now: RARP frames through the shadow ring of the first send queue. */
#ifndef FERRY_DEVICES_NET_ANNOUNCE_H
#define FERRY_DEVICES_NET_ANNOUNCE_H

#include "devices/net/queue.h"
#include "vmm/loop_timer.h"

struct net_announce {
	struct net_queue *queue; /* the first send queue */
	uint64_t offset;         /* of the frame in the window, a page */
	unsigned int n_left;     /* rounds */
	struct loop_timer timer; /* of the next round */
};

/* Sends the first frame, from @mac, and arms the timer for those that follow. */
void net_announce_start(struct net_announce *a, const uint8_t mac[6]);
/* The timer has fired: the next round. */
void net_announce_tick(struct net_announce *a, const uint8_t mac[6]);
void net_announce_stop(struct net_announce *a);

/* The device has sent a frame: NET_OWNER_ANNOUNCE. */
void net_announce_used(struct net_queue *q, const struct svq_used *used);

#endif
