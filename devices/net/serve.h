/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All queues of the NIC at once: served, let go, and given their first buffers. */
#ifndef FERRY_DEVICES_NET_SERVE_H
#define FERRY_DEVICES_NET_SERVE_H

#include "devices/net/nic.h"

/* Serves the guest's rings from now on: data queues only where they have shadow rings. net_detach() ends that
 * and frees the rings. */
void net_attach(struct net *net);
void net_detach(struct net *net);

/* Serves every queue, whether or not it was kicked or called. */
void net_serve_all(struct net *net);

/*
 * Gives a device receive buffers before DRIVER_OK, so that it never meets a ring without any: those that the
 * guest has made available; or scratch buffers, where the guest has not arrived. 0, or -ENOMEM with the
 * reason.
 */
int __must_check net_fill(struct net *net, struct error *err);
int __must_check net_fill_scratch(struct net *net, struct error *err);

#endif
