/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of a PCI function that moves with a guest, and its place, which a destination compares first. */
#ifndef FERRY_DEVICES_PCI_STATE_H
#define FERRY_DEVICES_PCI_STATE_H

#include "devices/pci/function.h"
#include "vmm/state.h"

/* Writes the kind and place of the function, slot, IDs and BARs, as properties of the current node.
 * pci_check_place() refuses a difference, with the reason in the node's error. */
void pci_put_place(const struct pci_function *fn, struct state_writer *w);
int __must_check pci_check_place(const struct pci_function *fn, struct state_node *node);

/* State that pci_get() has read, in the tree, which must outlive it. */
struct pci_loaded {
	const uint8_t *config, *table, *pending;
};

/*
 * A node "pci" in the current one: place, config space, MSI-X table, and interrupts pending while masked.
 * pci_get() reads it, refuses a function that is not the same or not at the same place, and changes nothing;
 * pci_set() takes over what it has read, and connects the vectors. vCPUs are stopped.
 */
void pci_save(struct pci_function *fn, struct state_writer *w);
int __must_check pci_get(const struct pci_function *fn, struct state_node *node, struct pci_loaded *loaded);
void pci_set(struct pci_function *fn, const struct pci_loaded *loaded);

/* Makes the function what it was before a guest ran. vCPUs are stopped. */
void pci_reset(struct pci_function *fn);

#endif
