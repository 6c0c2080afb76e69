/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How each event and call of the NIC ends. */
#ifndef FERRY_DEVICES_NET_FAULT_H
#define FERRY_DEVICES_NET_FAULT_H

#include "devices/net/nic.h"

/*
 * Ends every event and call. Where net_path_fail() was called meanwhile the NIC stops until the driver's
 * reset, before anything else of it runs: so a pause or a save never sees half of a stop.
 */
void net_settle(struct net *net);

/* Runs @fn on the NIC's thread, ends with net_settle(), and returns what @fn did. Any thread. */
int net_call(struct net *net, int (*fn)(struct net *net, void *arg), void *arg);

#endif
