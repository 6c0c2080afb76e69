/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device brought to DRIVER_OK for what the guest's driver has negotiated, ended, and started again in the
 * middle of the driver's life. */
#ifndef FERRY_DEVICES_NET_START_H
#define FERRY_DEVICES_NET_START_H

#include "devices/net/nic.h"

/* The rings that the device has for its data queues: Ferry's, or the guest's own. */
enum net_rings { NET_RINGS_SHADOW, NET_RINGS_GUEST };

/*
 * Device from reset to DRIVER_OK with the features that net_plan() was given; net->ctrl.store is what such a
 * device has by itself then. @fill gives it receive buffers before that: net_fill() or net_fill_scratch(), or
 * NULL for the guest's own rings. -errno with the reason; the device is reset then.
 */
int __must_check net_start(struct net *net, enum net_rings rings,
			   int (*fill)(struct net *net, struct error *err), struct error *err);

/* Resets the device, and takes down what was made for it. */
void net_stop(struct net *net);

/* Gives the device a queue's ring, a new shadow ring or the guest's own, and enables it. */
int __must_check net_set_queue(struct net *net, struct net_queue *q, enum net_rings rings, struct error *err);

/* Whether the device could have the guest's data queues as they are now. */
bool net_can_rewind(const struct net *net);

/*
 * Takes everything that the device has back from it, by a start from the beginning that brings it to the
 * state it had; its counters go on, if they were read before. What is in flight in the guest's rings is given
 * to it again. With NET_RINGS_GUEST it then serves the guest's rings, if they allow that: net->phase says
 * which. net_start_again() is what follows its reset.
 */
int __must_check net_restart(struct net *net, enum net_rings rings, struct error *err);
int __must_check net_start_again(struct net *net, enum net_rings rings, struct error *err);

/* Brings the device to net->ctrl.target: net_replay(), and what data queues make of it. */
int __must_check net_apply(struct net *net, struct error *err);

/* The step that these rings are: NET_STEP_SHADOW or NET_STEP_PASS. */
enum net_step net_rings_step(enum net_rings rings);

#endif
