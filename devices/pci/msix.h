/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X of a PCI function (PCI 3.0, "MSI-X Capability and Table Structures"): the table and the pending bits
 * as the guest sees them, each vector an irqfd.
 *
 * The guest reaches both on any vCPU's thread; the function's lock guards the table.
 */
#ifndef FERRY_DEVICES_PCI_MSIX_H
#define FERRY_DEVICES_PCI_MSIX_H

#include "devices/pci/function.h"
#include "vmm/state.h"

/*
 * Gives @fn @n vectors, masked: the table at @table_offset and the pending bits at @pba_offset of @bar, whose
 * handler passes accesses on with offsets relative to the table or the pending bits. On error nothing is left
 * behind but the capability. pci_msix_exit() frees, also where there are none.
 */
int __must_check pci_msix_init(struct pci_function *fn, unsigned int n, unsigned int bar,
			       uint32_t table_offset, uint32_t pba_offset, struct error *err);
void pci_msix_exit(struct pci_function *fn);
/* Lowers the number of vectors that the guest will see to @n. Before the guest runs. */
void pci_msix_limit(struct pci_function *fn, unsigned int n);

/* Bytes that the table and the pending bits of @n vectors take. */
uint32_t pci_msix_table_bytes(unsigned int n);
uint32_t pci_msix_pba_bytes(unsigned int n);

/*
 * The guest's accesses. @data of a read that is not answered (another width than 4 or 8, not aligned, no such
 * vector) stays as it is.
 */
void pci_msix_table_read(struct pci_function *fn, uint64_t offset, void *data, unsigned int len);
void pci_msix_table_write(struct pci_function *fn, uint64_t offset, const void *data, unsigned int len);
void pci_msix_pba_read(struct pci_function *fn, uint64_t offset, void *data, unsigned int len);

/* The guest has written @reg of configuration space: makes the ways to KVM what the control word says, if
 * this was its dword. The caller holds the lock. */
void pci_msix_config_written(struct pci_function *fn, uint8_t reg);

/* Disconnects all vectors, and makes them masked, empty and not pending. The function's configuration space
 * has been reset, and the caller holds the lock. */
void pci_msix_reset(struct pci_function *fn);

/* Sends vector @n, or keeps it pending while it is masked. @n out of range (0xffff: none) does nothing. Any
 * thread, takes no lock. */
void pci_msix_notify(struct pci_function *fn, unsigned int n);
/* The eventfd that pci_msix_notify() signals for vector @n, which stays MSI-X's; -1 where @n is out of range.
 * Any thread. */
int pci_msix_fd(const struct pci_function *fn, unsigned int n);

/*
 * State: table and pending bits as properties of the current node. pci_msix_get() reads and checks what
 * pci_msix_save() wrote, into the tree, which must outlive @table and @pending; pci_msix_set() takes both
 * over, and connects the vectors. The caller of pci_msix_set() holds the lock.
 */
void pci_msix_save(struct pci_function *fn, struct state_writer *w);
int __must_check pci_msix_get(const struct pci_function *fn, struct state_node *node, const uint8_t **table,
			      const uint8_t **pending);
void pci_msix_set(struct pci_function *fn, const uint8_t *table, const uint8_t *pending);

/*
 * The table of a guest that is still elsewhere, likewise. pci_msix_set_ahead() gives KVM its messages: those
 * that have not changed when the guest comes cost it nothing then. It takes the lock.
 */
void pci_msix_save_table(struct pci_function *fn, struct state_writer *w);
int __must_check pci_msix_get_table(const struct pci_function *fn, struct state_node *node,
				    const uint8_t **table);
void pci_msix_set_ahead(struct pci_function *fn, const uint8_t *table);

#endif
