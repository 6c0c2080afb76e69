/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host without KVM for a guest whose NICs have whatever a measurement wants: the product's NICs and its
 * migration, and behind each NIC Ferry's device in software, or one of the tests' where there are more queue
 * pairs than that has.
 */
#ifndef FERRY_TESTS_BENCH_GROWTH_HOST_H
#define FERRY_TESTS_BENCH_GROWTH_HOST_H

#include "devices/net/net.h"
#include "migration/report.h"
#include "tests/fake/driver.h"
#include "tests/fake/soft.h"
#include "tests/fake/vdpa.h"
#include "tests/fake/vm.h"

#define GROWTH_MAX_NICS 8u

/* The size of a guest, of which each migration has another. */
struct growth_size {
	unsigned int n_nics, n_pairs; /* pairs of each NIC */
	unsigned int n_vlans, n_macs; /* of the first NIC */
};

struct growth_nic {
	struct net *net;
	struct fake_vdpa *fake; /* NULL: a device in software */
	unsigned int n_queues;
	struct fake_driver queues[FAKE_VDPA_MAX_VQS];
	uint64_t common, notify, config;
	uint32_t notify_multiplier;
	uint64_t command; /* where its commands are in guest memory */
};

struct growth_host {
	struct fake_vm *fake;
	struct vm *vm; /* of it */
	struct pci_bus bus;
	struct growth_size size;
	struct growth_nic nics[GROWTH_MAX_NICS];
	uint64_t next; /* guest memory that nobody has yet */
};

/* Builds a host on @network, which stands still. */
void growth_host_init(struct growth_host *h, struct soft_net *network, const struct growth_size *size);
void growth_host_exit(struct growth_host *h);

/* Has a guest bring up its NICs and set what the size says. */
void growth_host_boot(struct growth_host *h);

/* Moves the guest of @from to @to; the report of the source. */
void growth_host_move(struct growth_host *from, struct growth_host *to, struct report *report);

#endif
