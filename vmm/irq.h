/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts of the guest: those that a device sends by writing to an eventfd (KVM's irqfd and its table of
 * routes), with no thread of Ferry's between, and the lines of the IOAPIC.
 */
#ifndef FERRY_VMM_IRQ_H
#define FERRY_VMM_IRQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/util.h"

struct error;
struct kvm;
struct kvm_irq_routing;

/* Numbers of interrupts (GSIs), those of the lines among them. KVM allows 4096; a NIC with 16 queue pairs
 * takes 34. */
#define IRQ_MAX_GSI 1024u

/* The interrupts of a VM. */
struct irq_table {
	struct kvm *kvm;
	/* Protects the rest. */
	pthread_mutex_t lock;
	bool used[IRQ_MAX_GSI];
	/* The routes as KVM has been told: setting the table replaces all of it. NULL before
	 * irq_table_init(). */
	struct kvm_irq_routing *routing;
};

/* Fills in the routes of the lines. After kvm_open(). -ENOMEM with the reason; irq_table_exit() may follow in
 * any case. */
int __must_check irq_table_init(struct irq_table *table, struct kvm *kvm, struct error *err);
void irq_table_exit(struct irq_table *table);

/*
 * An interrupt of a device, owned by the caller. Its message can be changed at any time. While it is masked,
 * as at first, signals stay in the eventfd and are delivered, as one, at unmasking. Unmasked without a
 * message it drops them. Calls for one interrupt come one at a time, on any thread.
 */
struct irq {
	struct irq_table *table;
	/* An eventfd, signalled by writing 1; -1 after irq_exit(). */
	int fd;
	unsigned int gsi;
	uint64_t msi_addr;
	uint32_t msi_data;
	/* Connected to KVM: not masked. */
	bool attached;
};

/* Makes the eventfd and takes a number. -ENOSPC: no number is free; -errno of eventfd(). Then @irq->fd is -1,
 * and irq_exit() does nothing. */
int __must_check irq_init(struct irq *irq, struct irq_table *table);
void irq_exit(struct irq *irq);

/* Connects the eventfd to the guest, and delivers what is pending. 0 or -errno of KVM. */
int __must_check irq_unmask(struct irq *irq);
void irq_mask(struct irq *irq);

/* An interrupt's message: PCI Local Bus 3.0, 6.8.2. */
struct irq_msi {
	struct irq *irq;
	uint64_t addr;
	uint32_t data;
};

/* Sets the messages of @n interrupts of @table: all of them or, with -errno, none. Any thread. */
int __must_check irq_set_msis(struct irq_table *table, const struct irq_msi *msis, unsigned int n);

/* Sets the level of a line of the IOAPIC (0 to 23). Any thread. */
void irq_set_line(struct irq_table *table, unsigned int gsi, bool high);

#endif
