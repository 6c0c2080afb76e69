/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: one bus with configuration mechanism #1 (ports 0xcf8/0xcfc), type 0 functions with memory BARs that
 * Ferry places, and MSI-X. No INTx, no bridges, no hot-plug.
 */
#ifndef FERRY_DEVICES_PCI_H
#define FERRY_DEVICES_PCI_H

#include <pthread.h>

#include "vmm/vm.h"

#define PCI_MAX_DEVICES 32u
#define PCI_CONFIG_SIZE 256u

/* One vector: its table entry as the guest wrote it, and the way to KVM. */
struct pci_msix_vector {
	uint64_t addr;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
	struct vm_irq irq;
};

struct pci_device {
	struct vm *vm;
	pthread_mutex_t
		lock; /* config space and MSI-X table; never held when a handler of the device is called */
	unsigned int slot; /* device number on bus 0 */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest can change */
	uint8_t cap_end;                   /* where the next capability goes */
	uint8_t cap_last;                  /* offset of the newest capability's next pointer, to be patched */

	uint64_t bar_base[6]; /* 0: no such BAR */
	uint64_t bar_len[6];

	uint8_t msix_cap; /* offset in config space */
	unsigned int n_vectors;
	struct pci_msix_vector *vectors;
};

struct pci_bus {
	struct vm *vm;
	pthread_mutex_t lock; /* the address register */
	uint32_t address;
	uint64_t mmio_next; /* where the next BAR is placed */
	struct pci_device *devices[PCI_MAX_DEVICES];
	struct pci_device host_bridge;
};

/* Puts a bus with a host bridge into slot 0 of @vm's ports. */
int __must_check pci_bus_init(struct pci_bus *bus, struct vm *vm, struct error *err);
void pci_bus_exit(struct pci_bus *bus);

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits */
};

/* Adds a function in the next free slot. */
int __must_check pci_add(struct pci_bus *bus, struct pci_device *dev, const struct pci_ids *ids,
			 struct error *err);
void pci_remove(struct pci_device *dev);

/* A 32-bit memory BAR of @len bytes (a power of two, at least a page), handled by @ops on the vCPU's thread.
 */
int __must_check pci_add_bar(struct pci_bus *bus, struct pci_device *dev, unsigned int bar, uint64_t len,
			     const struct bus_ops *ops, void *opaque, struct error *err);

/* Appends a capability of @len bytes (with its two header bytes, which this function fills); returns its
 * offset in config space. */
uint8_t pci_add_capability(struct pci_device *dev, const void *cap, uint8_t len);

/*
 * MSI-X with @n vectors: table at @table_offset and pending bits at @pba_offset of @bar, which the device's
 * BAR handler passes to pci_msix_read() and pci_msix_write() with offsets relative to the table.
 */
int __must_check pci_add_msix(struct pci_device *dev, unsigned int n, unsigned int bar, uint32_t table_offset,
			      uint32_t pba_offset, struct error *err);
uint32_t pci_msix_table_bytes(unsigned int n);
uint32_t pci_msix_pba_bytes(unsigned int n);
void pci_msix_table_read(struct pci_device *dev, uint64_t offset, void *data, unsigned int len);
void pci_msix_table_write(struct pci_device *dev, uint64_t offset, const void *data, unsigned int len);
void pci_msix_pba_read(struct pci_device *dev, uint64_t offset, void *data, unsigned int len);

/* Sends vector @n, or keeps it pending while it is masked. @n out of range (0xffff: none) does nothing. Any
 * thread, takes no lock. */
void pci_msix_notify(struct pci_device *dev, unsigned int n);

/* Config space that the guest can change, and MSI-X table. */
void pci_save(struct pci_device *dev, struct state_writer *w);
int __must_check pci_load(struct pci_device *dev, struct state_node *node);

#endif
