/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How each event and call of the NIC ends. */
#ifndef FERRY_DEVICES_NET_FAULT_H
#define FERRY_DEVICES_NET_FAULT_H

#include "devices/net/nic.h"

/* Stops a NIC whose path has failed: the driver is asked for a reset, and until then the device has none of
 * its rings. For net_settle(). */
void net_break(struct net *net);

/*
 * Ends every event and call. Where net_path_fail() was called meanwhile the NIC stops before anything else of
 * it runs: so a pause or a save never sees half of a stop. Inline, since every event of a packet ends here.
 */
static inline void net_settle(struct net *net)
{
	if (net_path_failed(&net->path) && net->phase != NET_PHASE_BROKEN)
		net_break(net);
}

/* Runs @fn on the NIC's thread, ends with net_settle(), and returns what @fn did. Any thread. */
int net_call(struct net *net, int (*fn)(struct net *net, void *arg), void *arg);

#endif
