/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that wakes the NIC's thread but calls of other threads: net_call(). */
#ifndef FERRY_DEVICES_NET_EVENTS_H
#define FERRY_DEVICES_NET_EVENTS_H

#include "devices/net/nic.h"

/* Makes the eventfds and timers, and watches those that are not a queue's: queues are watched while they are
 * served. 0, or -errno with the reason. net_events_exit() may follow either way. */
void net_events_clear(struct net *net);
int __must_check net_events_init(struct net *net, struct error *err);
void net_events_exit(struct net *net);

#endif
