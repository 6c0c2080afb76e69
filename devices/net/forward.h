/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains of the data queues from the guest's ring into the shadow ring and back, in batches: at most one kick
 * and one interrupt for each. */
#ifndef FERRY_DEVICES_NET_FORWARD_H
#define FERRY_DEVICES_NET_FORWARD_H

#include "devices/net/queue.h"

/* Gives the device what the guest has made available. Does nothing while data queues are not served. */
void net_queue_forward(struct net_queue *q);

/* Gives the guest what the device has used, and the device what there was no room for before. Does nothing
 * where there is no shadow ring. */
void net_queue_complete(struct net_queue *q);

/*
 * Does the same until the device has sent the packets that it has, or @end_ns (now_ns()): one that is still
 * with the device when its guest goes elsewhere goes out there, too. Does nothing more than the above for a
 * receive queue, whose buffers stay with the device.
 */
void net_queue_flush(struct net_queue *q, uint64_t end_ns);

/* Gives a device that is about to start the receive buffers that the guest has made available. A ring that is
 * broken says so once it is served. */
void net_queue_fill(struct net_queue *q);

/* Takes back, for the device to have again, the buffers of packets that came before the device knew which
 * offloads the guest has turned off. */
void net_queue_take_back(struct net_queue *q);

/* The device has been reset, or has let go of this queue: its shadow ring and what is in it are gone. */
void net_queue_forget(struct net_queue *q);

#endif
