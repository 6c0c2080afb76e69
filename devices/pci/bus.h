/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One PCI bus with configuration mechanism #1 (ports 0xcf8 and 0xcfc), and functions in its slots. No
 * bridges, no hot-plug. The board's reset control register (0xcf9) lies among the ports.
 */
#ifndef FERRY_DEVICES_PCI_BUS_H
#define FERRY_DEVICES_PCI_BUS_H

#include "devices/pci/function.h"

#define PCI_MAX_SLOTS 32u

struct pci_bus {
	/* "pci" in the VM's list: address register, host bridge, and which function is where. */
	struct device device;
	struct vm *vm;
	pthread_mutex_t lock; /* the address register */
	uint32_t address;
	uint64_t mmio_next; /* where the next BAR is placed */
	struct pci_function *functions[PCI_MAX_SLOTS];
	struct pci_function host_bridge;
};

/* Puts a bus with a host bridge in slot 0 on @vm's ports, and adds it to @vm's devices. */
int __must_check pci_bus_init(struct pci_bus *bus, struct vm *vm, struct error *err);
/* Once vCPUs have ended, after the last pci_bus_remove(). */
void pci_bus_exit(struct pci_bus *bus);

/* Makes a function of @ids in the next free slot. */
int __must_check pci_bus_add(struct pci_bus *bus, struct pci_function *fn, const struct pci_ids *ids,
			     struct error *err);
/*
 * Places a memory BAR of @len bytes (a power of two, at least a page) of a function on @bus; @ops handles it
 * on the vCPU's thread.
 */
int __must_check pci_bus_add_bar(struct pci_bus *bus, struct pci_function *fn, unsigned int bar, uint64_t len,
				 const struct bus_ops *ops, void *opaque, struct error *err);
/* Frees what belongs to @fn, with its MSI-X. Once vCPUs have ended, or before they run: slot and BARs stay
 * taken. */
void pci_bus_remove(struct pci_function *fn);

#endif
