/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One PCI function of type 0: configuration space with capabilities, and memory BARs at fixed places. No
 * INTx.
 *
 * A BAR stays where Ferry has placed it: a guest that writes another address reads that address back, but the
 * BAR does not follow. Bus mastering is not enforced, but a function may let go of guest memory when the
 * guest takes it away.
 */
#ifndef FERRY_DEVICES_PCI_FUNCTION_H
#define FERRY_DEVICES_PCI_FUNCTION_H

#include <pthread.h>

#include "vmm/vm.h"

#define PCI_CONFIG_SIZE 256u
#define PCI_N_BARS      6u

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code; /* 24 bits */
};

/* One MSI-X vector: its table entry as the guest wrote it, and the way to KVM. */
struct pci_msix_vector {
	uint64_t addr;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
	struct irq irq;
};

struct pci_function {
	struct vm *vm;
	/* Guards config, and the MSI-X table; never held when a handler of the device is called. */
	pthread_mutex_t lock;
	unsigned int slot; /* device number on bus 0 */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest can change */
	uint8_t cap_end;                   /* where the next capability goes */
	uint8_t cap_last;                  /* offset of the newest one's next pointer */

	uint64_t bar_base[PCI_N_BARS]; /* 0: no such BAR */
	uint64_t bar_len[PCI_N_BARS];

	/* Offset of the capability that is a window to the BARs, 0: none. */
	uint8_t window;
	uint8_t msix_cap; /* offset in config space, 0: none */
	unsigned int n_vectors;
	struct pci_msix_vector *vectors; /* [n_vectors], of pci_msix_init() */
	struct log_limit log_limit;      /* for what the guest does wrong */
	/* The guest has cleared Bus Master. On a vCPU's thread, without the lock; NULL: the function does not
	 * care. */
	void (*master_lost)(struct pci_function *fn);
};

/* Makes a function of @ids without BARs and capabilities. pci_function_exit() destroys the lock, once no vCPU
 * can reach the function any more. */
void pci_function_init(struct pci_function *fn, struct vm *vm, unsigned int slot, const struct pci_ids *ids);
void pci_function_exit(struct pci_function *fn);

/* Shows a 32-bit memory BAR of @len bytes, a power of two, at @base. Before vCPUs run. */
void pci_function_show_bar(struct pci_function *fn, unsigned int bar, uint64_t base, uint64_t len);

/*
 * Appends a capability of @len bytes, the first its ID, the second for the link to the next; returns its
 * offset in config space. Before vCPUs run.
 */
uint8_t pci_function_add_capability(struct pci_function *fn, const void *cap, uint8_t len);

/*
 * Makes the struct virtio_pci_cfg_cap at @cap work (virtio 1.4, "PCI configuration access capability"): the
 * guest reaches registers in the BARs without mapping them. Before vCPUs run.
 */
void pci_function_add_window(struct pci_function *fn, uint8_t cap);

/* The guest's accesses, @reg + @len within a dword. The caller holds the lock. */
void pci_function_read(const struct pci_function *fn, uint8_t reg, void *data, unsigned int len);
void pci_function_write(struct pci_function *fn, uint8_t reg, const uint8_t *data, unsigned int len);

/* Makes all that the guest can change what it was before it ran. The caller holds the lock. */
void pci_function_reset(struct pci_function *fn);

/* Whether Bus Master is set. The caller holds the lock. */
bool pci_function_is_master(const struct pci_function *fn);

/*
 * Whether @reg is the window's data register: before it is read and after it was written the bus has it
 * follow the BAR, or the BAR follow it. Both call the BAR's handler, so without the lock.
 */
bool pci_function_in_window(const struct pci_function *fn, uint8_t reg);
void pci_function_read_window(struct pci_function *fn);
void pci_function_write_window(struct pci_function *fn);

#endif
