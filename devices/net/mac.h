/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MAC address that a NIC shows its guest: the device's, or one of Ferry's choice. */
#ifndef FERRY_DEVICES_NET_MAC_H
#define FERRY_DEVICES_NET_MAC_H

#include "devices/net/config_space.h"
#include "devices/vdpa/vdpa.h"
#include "vmm/log.h"

/*
 * Decides on the address that the guest is shown, which the device's configuration in @space may have: one of
 * Ferry's choice where the device has none that an interface can have. @nic is the NIC's name, for messages.
 */
int __must_check net_mac_choose(struct net_space *space, struct vdpa *vdpa, const char *nic,
				struct error *err);

/* Checks an address that a peer's guest was shown as its own; without VIRTIO_NET_F_MAC in @offered, zero
 * stands for none. @what is a word for the message: "MAC address" or "provisioned MAC address". */
int __must_check net_mac_check(const char *nic, const char *what, const uint8_t mac[6], uint64_t offered,
			       struct error *err);

#endif
