/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: one bus with configuration mechanism #1 (ports 0xcf8/0xcfc), type 0 functions with memory BARs that
 * Ferry places, and MSI-X. No INTx, no bridges, no hot-plug. The board's reset control register (0xcf9) lies
 * among the ports.
 *
 * A BAR stays where Ferry has placed it: a guest that writes another address reads it back, but is not
 * followed. Bus mastering is not enforced, but a function may let go of its memory when the guest takes it
 * away.
 */
#ifndef FERRY_DEVICES_PCI_PCI_H
#define FERRY_DEVICES_PCI_PCI_H

#include <pthread.h>

#include "vmm/vm.h"

#define PCI_MAX_DEVICES 32u
#define PCI_CONFIG_SIZE 256u
#define PCI_N_BARS      6u

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

	uint64_t bar_base[PCI_N_BARS]; /* 0: no such BAR */
	uint64_t bar_len[PCI_N_BARS];

	uint8_t window;   /* offset of the capability that is a window to the BARs, 0: none */
	uint8_t msix_cap; /* offset in config space, 0: none */
	unsigned int n_vectors;
	struct pci_msix_vector *vectors;
	struct log_limit log_limit; /* for what the guest does wrong */
	/* The guest has cleared Bus Master. On the vCPU's thread, without the lock; NULL: it does not matter.
	 */
	void (*master_lost)(struct pci_device *dev);
};

struct pci_bus {
	struct device device; /* "pci" in the VM's list: address register, host bridge, and which function is
				 where */
	struct vm *vm;
	pthread_mutex_t lock; /* the address register */
	uint32_t address;
	uint64_t mmio_next; /* where the next BAR is placed */
	struct pci_device *devices[PCI_MAX_DEVICES];
	struct pci_device host_bridge;
};

/* Puts a bus with a host bridge in slot 0 on @vm's ports, and adds it to @vm's devices. */
int __must_check pci_bus_init(struct pci_bus *bus, struct vm *vm, struct error *err);
/* Once vCPUs have ended, after the last pci_remove(). */
void pci_bus_exit(struct pci_bus *bus);

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits */
};

/* Adds a function in the next free slot. */
int __must_check pci_add(struct pci_bus *bus, struct pci_device *dev, const struct pci_ids *ids,
			 struct error *err);
/* Frees what belongs to @dev. Once vCPUs have ended, or before they run: the slot and the BARs stay taken. */
void pci_remove(struct pci_device *dev);

/* A 32-bit memory BAR of @len bytes (a power of two, at least a page), handled by @ops on the vCPU's thread.
 */
int __must_check pci_add_bar(struct pci_bus *bus, struct pci_device *dev, unsigned int bar, uint64_t len,
			     const struct bus_ops *ops, void *opaque, struct error *err);

/* Appends a capability of @len bytes, the first its ID, the second for the link to the next; returns its
 * offset in config space. */
uint8_t pci_add_capability(struct pci_device *dev, const void *cap, uint8_t len);

/*
 * Makes the struct virtio_pci_cfg_cap at @cap work (virtio 1.4, "PCI configuration access capability"): the
 * guest reaches registers in the BARs without mapping them.
 */
void pci_add_window(struct pci_device *dev, uint8_t cap);

/*
 * MSI-X with @n vectors: table at @table_offset and pending bits at @pba_offset of @bar, which the device's
 * BAR handler passes to pci_msix_table_read() and pci_msix_table_write() with offsets relative to the table.
 */
int __must_check pci_add_msix(struct pci_device *dev, unsigned int n, unsigned int bar, uint32_t table_offset,
			      uint32_t pba_offset, struct error *err);
/* Lowers the number of vectors that the guest will see to @n. Before the guest runs. */
void pci_msix_limit(struct pci_device *dev, unsigned int n);
uint32_t pci_msix_table_bytes(unsigned int n);
uint32_t pci_msix_pba_bytes(unsigned int n);
/* @data of a read that is not answered (another width than 4 or 8, not aligned, no such vector) stays as it
 * is. */
void pci_msix_table_read(struct pci_device *dev, uint64_t offset, void *data, unsigned int len);
void pci_msix_table_write(struct pci_device *dev, uint64_t offset, const void *data, unsigned int len);
void pci_msix_pba_read(struct pci_device *dev, uint64_t offset, void *data, unsigned int len);

/* Sends vector @n, or keeps it pending while it is masked. @n out of range (0xffff: none) does nothing. Any
 * thread, takes no lock. */
void pci_msix_notify(struct pci_device *dev, unsigned int n);

/*
 * A node "pci" in the current one: config space, MSI-X table, and interrupts pending while masked. pci_get()
 * reads it, refuses a function that is not the same or not at the same place, and changes nothing; pci_set()
 * takes over what it has read, and connects the vectors.
 */
struct pci_loaded {
	const uint8_t *config, *table, *pending; /* in the tree, which must outlive them */
};

void pci_save(struct pci_device *dev, struct state_writer *w);
int __must_check pci_get(const struct pci_device *dev, struct state_node *node, struct pci_loaded *loaded);
void pci_set(struct pci_device *dev, const struct pci_loaded *loaded);

/*
 * Between bus.c and msix.c; the lock is held where @dev changes. pci_msix_update() makes the ways to KVM
 * what control word and table say. pci_msix_get() reads and checks what pci_msix_save() wrote, pci_msix_set()
 * takes it over. pci_msix_get_table() reads and checks what pci_msix_save_table() of a guest that is still
 * elsewhere wrote, pci_msix_set_ahead() gives KVM its messages: those that have not changed when the guest
 * comes cost it nothing then.
 */
void pci_msix_update(struct pci_device *dev);
void pci_msix_exit(struct pci_device *dev);
void pci_msix_save_table(struct pci_device *dev, struct state_writer *w);
int __must_check pci_msix_get_table(const struct pci_device *dev, struct state_node *node,
				    const uint8_t **table);
void pci_msix_set_ahead(struct pci_device *dev, const uint8_t *table);
void pci_msix_save(struct pci_device *dev, struct state_writer *w);
int __must_check pci_msix_get(const struct pci_device *dev, struct state_node *node, const uint8_t **table,
			      const uint8_t **pending);
void pci_msix_set(struct pci_device *dev, const uint8_t *table, const uint8_t *pending);

#endif
