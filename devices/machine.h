/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The devices of a VM, as a configuration names them. Functions run on the main thread, but for those that
 * say otherwise.
 *
 *	machine_open -> [machine_check] -> machine_build -> machine_map -> machine_wait_mapped
 *	    ^                                   |
 *	    +------- machine_dismantle <--------+             ... -> machine_destroy
 */
#ifndef FERRY_DEVICES_MACHINE_H
#define FERRY_DEVICES_MACHINE_H

#include "devices/pci/bus.h"
#include "vmm/config.h"
#include "vmm/x86/rtc.h"
#include "vmm/x86/vmclock.h"

struct blk;
struct guard;
struct net;
struct rng;
struct serial;
struct vdpa;

/* Starts zeroed but for the first two, which outlive it. */
struct machine {
	const struct vm_config *config;
	struct guard *guard;
	/* Backends that no NIC has taken over yet. */
	struct vdpa *backends[CONFIG_MAX_NETS];
	struct serial *serial;
	bool has_pci;
	struct pci_bus pci;
	unsigned int n_nets;
	struct net *nets[CONFIG_MAX_NETS];
	unsigned int n_disks;
	struct blk *disks[CONFIG_MAX_DISKS];
	struct rng *rng; /* NULL: the guest has none */
	bool has_rtc;
	struct rtc rtc;
	struct vmclock vmclock;
	bool stuck; /* the storage of a disk that is no more in the list keeps it */
};

/* Opens the NICs' backends first of all: so what cannot be had is said at once, and nobody else can
 * take one. Those that are open already stay so. */
int __must_check machine_open(struct machine *m, struct error *err);

/* Whether the disks can be had, for a machine that is built only when a guest comes. */
int __must_check machine_check(const struct machine *m, struct error *err);

/* How many file descriptors machine_build() opens at most. After machine_open(). */
unsigned int machine_descriptors(const struct machine *m);

/* Adds all devices to @vm, which need not have memory yet, those of the set @devices (enum config_device)
 * among them: in the order of the guest's PCI slots, and of saving and loading. */
int __must_check machine_build(struct machine *m, struct vm *vm, unsigned int devices, struct error *err);

/*
 * Gives guest memory to the devices of all NICs, once all threads are there (net.h). The last of them is
 * still at it afterwards, while the guest's kernel is loaded and begins to run: machine_wait_mapped() waits
 * for it. Any thread.
 */
int __must_check machine_map(struct machine *m, struct error *err);
int __must_check machine_wait_mapped(struct machine *m, struct error *err);

/*
 * Frees the devices of a machine that machine_build() has put together, all or some of it, before anything
 * else was done: the guest does not come. The backends stay open for the next one, but for one whose NIC
 * could not be built, which machine_open() opens again. False as of machine_destroy(), which is still to be
 * called.
 */
bool __must_check machine_dismantle(struct machine *m);

/*
 * Frees the devices, once vCPUs have ended. False: a disk's storage does not answer, and a thread in the
 * kernel uses the disk, its bus and guest memory still, so that the VM must not be freed.
 */
bool machine_destroy(struct machine *m);

#endif
