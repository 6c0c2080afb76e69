/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NIC: a virtio-net device for the guest in front of a vDPA device, every queue through shadow rings, the
 * control queue intercepted and recorded, and its part in a migration.
 */
#ifndef FERRY_DEVICES_NET_H
#define FERRY_DEVICES_NET_H

#include "devices/pci.h"
#include "devices/vdpa.h"
#include "vmm/config.h"

struct net;

/*
 * Maps guest RAM for @vdpa and adds a NIC in front of it to @bus and, as "net<index>", to @vm's devices.
 * Takes @vdpa over, also where it fails. At run time the NIC has a thread of its own. Freed by net_destroy()
 * once vCPUs have ended.
 */
int __must_check net_create(struct net **net, struct vm *vm, struct pci_bus *bus, struct vdpa *vdpa,
			    unsigned int index, const struct net_config *config, struct error *err);
void net_destroy(struct net *net);

#endif
