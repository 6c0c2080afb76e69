/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passthrough: data queues that are the device's own. It reads the guest's rings, the guest's kicks go to it
 * and its interrupts to the guest, eventfd to eventfd. */
#ifndef FERRY_DEVICES_NET_PASSTHROUGH_H
#define FERRY_DEVICES_NET_PASSTHROUGH_H

#include "devices/net/queue.h"
#include "devices/vdpa/vdpa.h"
#include "vmm/config.h"

/* Returns why Ferry has to serve the data queues of a guest that is offered @possible, or NULL. */
const char *net_pass_obstacle(const struct vdpa *vdpa, uint64_t possible, const struct net_config *config);

/* Returns those of @possible that a guest is offered whose rings the device may serve. */
uint64_t net_pass_offer(const struct vdpa *vdpa, uint64_t possible);

/* Returns why a guest with @features has shadow rings on a device that could serve its rings, or NULL. */
const char *net_pass_misfit(const struct vdpa *vdpa, uint64_t features);

/* The guest's ring as the device is told of it. */
struct vdpa_vring net_pass_vring(struct net_queue *q);

/* The guest has given the queue another vector: the device interrupts there. -errno with the reason. */
int __must_check net_pass_set_vector(struct vdpa *vdpa, struct net_queue *q, struct error *err);

/* Brings the device's doorbell into the guest's reach: 0, also where it has one there already; -ENOTSUP where
 * the device has none; else -errno with the reason. It is closed before the device loses the ring. */
int __must_check net_pass_open_doorbell(struct vdpa *vdpa, struct net_queue *q, struct error *err);
void net_pass_close_doorbell(struct net_queue *q);

#endif
