/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI bus with a device of one BAR, in a VM without KVM; and what the tests do as its
 * guest again and again. */
#ifndef FERRY_TESTS_UNIT_DEVICES_PCI_PCI_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_PCI_PCI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "devices/pci/bus.h"
#include "devices/pci/msix.h"
#include "devices/pci/state.h"
#include "tests/fake/vm.h"
#include "vmm/x86/layout.h"

#define N_VECTORS 10u
#define BAR_BYTES 0x4000u
#define TABLE     0x1000u
#define PBA       0x2000u
#define SLOT      1u

struct fixture {
	struct fake_vm *f;
	struct pci_bus bus;
	struct pci_function dev;
	unsigned int msix;
	uint8_t memory[TABLE + 8]; /* registers of the device: plain memory */
};

/* The device: its IDs, and the handler of its BAR, whose opaque is the fixture. */
extern const struct pci_ids ids;
extern const struct bus_ops dev_ops;

/* A VM with the device, which has @n_vectors vectors; destroy() checks that nothing is left. */
struct fixture *build(unsigned int n_vectors);
void destroy(struct fixture *x);
/* The same for cmocka, with N_VECTORS. */
int setup(void **state);
int teardown(void **state);

/* The guest's accesses to ports. */
uint32_t port_read(struct fixture *x, uint16_t port, unsigned int len);
void port_write(struct fixture *x, uint16_t port, unsigned int len, uint32_t value);

/* Points the window of the struct virtio_pci_cfg_cap at @cap. */
void window_set(struct fixture *x, unsigned int cap, uint8_t bar, uint32_t offset, uint32_t len);

/* MSI-X: where @field of entry @n is, an entry's message and mask, the control word. */
uint64_t entry_addr(unsigned int n, unsigned int field);
void entry_set(struct fixture *x, unsigned int n, uint64_t addr, uint32_t data);
void entry_mask(struct fixture *x, unsigned int n, bool masked);
void msix_control(struct fixture *x, uint16_t flags);
/* Masks all, enables, programs and unmasks, as Linux does. */
void msix_start(struct fixture *x);

/* Returns how many interrupts of vector @n have come since the last call; and the pending bits. */
uint64_t taken(struct fixture *x, unsigned int n);
uint64_t pba(struct fixture *x);

#endif
