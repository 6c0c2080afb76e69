/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A NIC's state as it comes to a destination: what warm_load and load of vmm/device.h do. */
#ifndef FERRY_DEVICES_NET_ARRIVE_H
#define FERRY_DEVICES_NET_ARRIVE_H

#include "devices/net/nic.h"

/* On the NIC's thread. 0, or -errno with the reason in the node's error. */
int __must_check net_arrive_warm(struct net *net, struct state_node *node);
int __must_check net_arrive(struct net *net, struct state_node *node);
/* Gives up what the two need: the guest is here, or does not come. On the NIC's thread, or without one. */
void net_arrive_end(struct net *net);

#endif
