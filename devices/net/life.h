/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the guest's driver, as the transport tells it: DRIVER_OK, reset, rings reset and enabled one by
 * one. */
#ifndef FERRY_DEVICES_NET_LIFE_H
#define FERRY_DEVICES_NET_LIFE_H

#include "devices/net/nic.h"

extern const struct virtio_ops net_virtio_ops;

/*
 * The driver, or the guest, is gone: queues and device are let go, whatever their state, and the NIC is off.
 */
void net_end(struct net *net);

#endif
