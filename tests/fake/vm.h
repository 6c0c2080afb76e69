/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM without KVM: buses, a gate, and those functions of kvm.h, irq.h and vm.h that devices call, so that a
 * unit test needs no /dev/kvm. Linked into a test as an object, where it takes the place of vmm/kvm.c, irq.c
 * and vm.c. With it the guest's way to configuration space.
 */
#ifndef FERRY_TESTS_FAKE_VM_H
#define FERRY_TESTS_FAKE_VM_H

#include "vmm/vm.h"

#define FAKE_MAX_DOORBELLS 512u

struct fake_doorbell {
	uint64_t addr;
	int fd;
};

struct fake_vm {
	struct vm vm;
	unsigned int n_irqs;
	unsigned int n_set_msis;         /* Changes of the table of routes. */
	uint64_t delivered[IRQ_MAX_GSI]; /* Interrupts that reached the guest. */
	struct fake_doorbell doorbells[FAKE_MAX_DOORBELLS];
	unsigned int n_doorbells;
	/* Pages before the guest; @hva is NULL where there is none. */
	struct fake_page {
		uint64_t gpa;
		void *hva;
	} pages[KVM_MAX_PAGES];
	/* Calls that fail with -EINVAL: messages to this address, and making more interrupts or doorbells
	 * than this. */
	uint64_t bad_msi_addr;
	unsigned int max_irqs, max_doorbells;
	/* The log of pages that the guest has written, for a test of migrations: a bit each; NULL until it is
	 * begun. */
	_Atomic uint64_t *written;
	_Atomic bool logging;
};

/* A VM without devices. The caller free()s it. */
struct fake_vm *fake_vm_new(void);

/* Returns how many interrupts have been delivered since the last call: those signalled while connected, and
 * those that were pending then, each time as one. */
uint64_t fake_vm_take(struct fake_vm *f, struct irq *irq);

/* Makes a write of a guest with KVM: an ioeventfd where it fits, else the bus. */
void fake_vm_mmio_write(struct fake_vm *f, uint64_t addr, uint64_t value, unsigned int len);
uint64_t fake_vm_mmio_read(struct fake_vm *f, uint64_t addr, unsigned int len);

/* Access configuration space through the ports. */
uint32_t fake_config_read(struct fake_vm *f, unsigned int slot, unsigned int reg, unsigned int len);
void fake_config_write(struct fake_vm *f, unsigned int slot, unsigned int reg, unsigned int len,
		       uint32_t value);
/* Returns the place of the first capability @id at or behind @from (0: the first), 0 if there is none. */
unsigned int fake_config_capability(struct fake_vm *f, unsigned int slot, uint8_t id, unsigned int from);
/* Returns the gpa of a virtio device's structure @type (VIRTIO_PCI_CAP_*, virtio 1.2, section 4.1.4), 0 if
 * there is none. */
uint64_t fake_virtio_structure(struct fake_vm *f, unsigned int slot, uint8_t type);

#endif
