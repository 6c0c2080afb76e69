/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NIC's thread looks at the rings instead of sleeping, while packets come: the guest is not asked for
 * kicks meanwhile, nor the device for calls. vmm/look.h says how long.
 */
#ifndef FERRY_DEVICES_NET_TURN_H
#define FERRY_DEVICES_NET_TURN_H

#include "devices/net/nic.h"

/* Has the NIC's thread look, as @us says (look.h), where @n_threads may be busy at a time, itself among them.
 * Before its loop runs. */
void net_turn_init(struct net *net, uint32_t us, unsigned int n_threads);

/* Looks at all data queues once, and moves what is there. Whether there was something. */
bool net_turn(struct net *net);

/* Asks for neither kicks nor calls from here on; and for both again, with a look at what came meanwhile. On
 * the NIC's thread. */
void net_turn_begin(struct net *net);
void net_turn_end(struct net *net);

#endif
