/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NIC: a virtio-net device for the guest in front of a vDPA device. Data queues go through shadow rings,
 * or are served by the device itself (passthrough); the control queue is intercepted and recorded.
 */
#ifndef FERRY_DEVICES_NET_NET_H
#define FERRY_DEVICES_NET_NET_H

#include "devices/pci/bus.h"
#include "devices/vdpa/vdpa.h"
#include "vmm/config.h"

struct net;

/*
 * Adds a NIC in front of @vdpa to @bus and, as "net<index>", to @vm's devices. Takes @vdpa over, also where
 * it fails. At run time the NIC has a thread of its own. Freed by net_destroy() once vCPUs have ended.
 */
int __must_check net_create(struct net **net, struct vm *vm, struct pci_bus *bus, struct vdpa *vdpa,
			    unsigned int index, const struct net_config *config, struct error *err);
void net_destroy(struct net *net);

/* net_destroy() for a NIC whose device was given no memory: returns the device as it was given to
 * net_create(), open still, so that nobody else can take it. */
struct vdpa *__must_check net_dismantle(struct net *net);

/* How many file descriptors net_create() opens in front of @vdpa, at most. */
unsigned int net_descriptors(const struct vdpa *vdpa);

/*
 * Maps guest RAM for the device, once the VM has it, and before anything is asked of the NIC but its part in
 * comparing (describe, accept): on the NIC's thread, for where this pins memory it takes seconds a GiB. What
 * is asked of the NIC from then on waits for it. So does all that changes the process's own mappings, a new
 * thread's stack for one, and behind that every page fault: the kernel holds the address space's lock.
 * net_wait_mapped() waits for its end; -errno with the reason where the device cannot be used. One NIC after
 * the other: the limit of locked memory is the process's.
 */
void net_map_begin(struct net *net);
int __must_check net_wait_mapped(struct net *net, struct error *err);

#endif
