/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver of a hostile guest, at a NIC that is built on the vDPA device in software: its rings, commands
 * and accesses, each of them as the fuzzer's input has it. What it writes into guest memory it notes in the
 * rig.
 */
#ifndef FERRY_TESTS_FUZZ_DRIVER_H
#define FERRY_TESTS_FUZZ_DRIVER_H

#include "devices/net/fault.h"
#include "devices/net/net.h"
#include "devices/net/nic.h"
#include "tests/fake/vm.h"
#include "tests/fuzz/fuzz.h"

#define MEM      KIB(256)
#define N_PAGES  (MEM / PAGE_SIZE)
#define N_PAIRS  2u
#define N_QUEUES (2 * N_PAIRS + 1)
#define SLOT     1u

/* The driver's end of a queue. */
struct queue {
	uint16_t size;
	bool packed;
	uint16_t next;
	bool wrap;
};

struct host {
	struct fake_vm *fake;
	struct pci_bus bus;
	struct vdpa *vdpa;
	struct vdpa_ops ops; /* its own, but for one */
	struct net *net;
};

struct rig {
	struct host *host;
	uint64_t bar;
	struct queue queues[N_QUEUES];
	unsigned int ctrl;
	bool tampered; /* the driver has done what can make a load refuse what was saved */
	/* Guest memory without what the NIC has written since the log was last taken. */
	uint8_t shadow[MEM];
};

uint8_t *driver_memory(const struct rig *r);

/* A driver's life: from reset to DRIVER_OK, with the features and ring sizes of the input. */
void driver_bring_up(struct rig *r, struct input *in);
void driver_reset_queue(struct rig *r, struct input *in);

/* A chain of any form in any ring. */
void driver_add_chain(struct rig *r, struct input *in);
/* A command as a driver sends it, with any bytes. */
void driver_add_command(struct rig *r, struct input *in);
void driver_kick(struct rig *r, unsigned int index);

/* Any register of the common configuration, in its natural width or another. */
void driver_write_common(struct rig *r, struct input *in);
/* Anywhere, in any width. */
void driver_access_bar(struct rig *r, struct input *in);
void driver_access_config(struct rig *r, struct input *in);
void driver_write_memory(struct rig *r, struct input *in);

/* The pages in which the NIC still has a buffer, so that they may have been written in part. */
void driver_find_in_flight(const struct host *h, bool pages[N_PAGES]);

#endif
