/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the guest's own rings to shadow rings and back, under a running guest. */
#ifndef FERRY_DEVICES_NET_MODE_H
#define FERRY_DEVICES_NET_MODE_H

#include "devices/net/nic.h"

/* Whether the device is to have the rings that the guest's driver has set up. */
bool net_can_pass(const struct net *net);

/* The device has the guest's rings: its doorbells, where it has some, come into the guest's reach, and it
 * looks at all rings. */
void net_pass_go(struct net *net);

/*
 * Takes the data queues from the device, if it has them: shadow rings serve them then. -errno with the
 * reason: the device goes on with them, or the path has failed. @still_ns, if not NULL: how long no packet
 * moved.
 */
int __must_check net_leave(struct net *net, uint64_t *still_ns, struct error *err);

/* Brings them back once that can be done, beginning soon; and now, or later again: the timer has fired. */
void net_return_later(struct net *net);
void net_return_now(struct net *net);

/* A migration has been given up: brings them back now, or soon. */
void net_return_at_once(struct net *net);

#endif
