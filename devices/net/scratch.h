/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receive buffers of Ferry's own, for a destination whose guest has not arrived. They are recycled, so that
 * nothing stale queues up before the device, and what the last of them catch is copied into the guest's
 * buffers.
 */
#ifndef FERRY_DEVICES_NET_SCRATCH_H
#define FERRY_DEVICES_NET_SCRATCH_H

#include "devices/net/queue.h"

/* Longest packet with its header that a device writes, in whole pages: 64 KiB of GSO, VLAN tags and the
 * largest vnet header. */
#define NET_MAX_PACKET (17u * 4096u)

/* Bytes in the window that a receive queue's buffers take. */
uint64_t net_scratch_bytes(void);

/* Gives the device buffers for the receive queue @q, not yet to be seen by it. 0, or -ENOMEM with the reason.
 * net_scratch_stop() forgets them: the device has let go of its ring. */
int __must_check net_scratch_post(struct net_queue *q, struct error *err);
void net_scratch_stop(struct net_queue *q);

/* The device has used one of them: NET_OWNER_SCRATCH. */
void net_scratch_used(struct net_queue *q, const struct svq_used *used);

/* Whether a guest's own buffer that the device has used belongs to the guest now; else it holds the rest of a
 * packet that the guest has no room for, and the device is to have it again. */
bool net_scratch_passes(struct net_queue *q);

#endif
