/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts: KVM's irqfd, the table of routes, and lines. */
#include "vmm/irq.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/kvm.h"

/* Pins of the two kinds of interrupt controllers that KVM makes with KVM_CREATE_IRQCHIP. */
#define IRQ_IOAPIC_PINS 24u
#define IRQ_PIC_PINS    16u
#define IRQ_MAX_ROUTES  (IRQ_IOAPIC_PINS + IRQ_PIC_PINS + IRQ_MAX_GSI)

static void irq_add_route(struct irq_table *table, unsigned int gsi, unsigned int chip, unsigned int pin)
{
	table->routing->entries[table->routing->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* The first routes are those of the lines as KVM makes them itself: setting the table replaces these, too. */
int irq_table_init(struct irq_table *table, struct kvm *kvm, struct error *err)
{
	*table = (struct irq_table){ .kvm = kvm };
	pthread_mutex_init(&table->lock, NULL);
	table->routing =
		calloc(1, sizeof(*table->routing) + IRQ_MAX_ROUTES * sizeof(table->routing->entries[0]));
	if (!table->routing) {
		error_add(err, "out of memory for interrupt routes");
		return -ENOMEM;
	}
	for (unsigned int gsi = 0; gsi < IRQ_IOAPIC_PINS; gsi++) {
		irq_add_route(table, gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (gsi < IRQ_PIC_PINS)
			irq_add_route(table, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				      gsi % 8);
		table->used[gsi] = true;
	}
	return 0;
}

void irq_table_exit(struct irq_table *table)
{
	if (!table->routing)
		return;
	free(table->routing);
	table->routing = NULL;
	pthread_mutex_destroy(&table->lock);
}

int irq_init(struct irq *irq, struct irq_table *table)
{
	unsigned int gsi = IRQ_IOAPIC_PINS;

	*irq = (struct irq){ .table = table, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	if (irq->fd < 0)
		return -errno;
	pthread_mutex_lock(&table->lock);
	while (gsi < IRQ_MAX_GSI && table->used[gsi])
		gsi++;
	if (gsi < IRQ_MAX_GSI)
		table->used[gsi] = true;
	pthread_mutex_unlock(&table->lock);
	irq->gsi = gsi;
	if (gsi < IRQ_MAX_GSI)
		return 0;
	close(irq->fd);
	irq->fd = -1;
	return -ENOSPC;
}

/* Returns the route of an MSI's @gsi, or where it would be added. Under the lock. */
static struct kvm_irq_routing_entry *irq_find_msi(struct irq_table *table, unsigned int gsi)
{
	uint32_t i = IRQ_IOAPIC_PINS + IRQ_PIC_PINS;

	while (i < table->routing->nr && table->routing->entries[i].gsi != gsi)
		i++;
	return &table->routing->entries[i];
}

static int irq_set_routing(struct irq_table *table)
{
	return ioctl(table->kvm->vm_fd, KVM_SET_GSI_ROUTING, table->routing) < 0 ? -errno : 0;
}

void irq_exit(struct irq *irq)
{
	struct irq_table *table = irq->table;
	struct kvm_irq_routing_entry *entry, *end;

	if (irq->fd < 0)
		return;
	irq_mask(irq);
	pthread_mutex_lock(&table->lock);
	entry = irq_find_msi(table, irq->gsi);
	end = &table->routing->entries[table->routing->nr];
	if (entry != end) {
		*entry = end[-1];
		table->routing->nr--;
		if (irq_set_routing(table) < 0)
			log_limited(&table->kvm->log_limit, LOG_ERROR,
				    "cannot take back the route of an interrupt: %s", strerror(errno));
	}
	table->used[irq->gsi] = false;
	pthread_mutex_unlock(&table->lock);
	close(irq->fd);
	irq->fd = -1;
}

static void irq_put_msi(struct kvm_irq_routing_entry *entry, const struct irq_msi *msi)
{
	*entry = (struct kvm_irq_routing_entry){
		.gsi = msi->irq->gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)msi->addr,
			   .address_hi = (uint32_t)(msi->addr >> 32),
			   .data = msi->data },
	};
}

int irq_set_msis(struct irq_table *table, const struct irq_msi *msis, unsigned int n)
{
	struct kvm_irq_routing_entry *old = malloc(n * sizeof(*old));
	uint32_t old_nr;
	int ret;

	if (!old)
		return -ENOMEM;
	pthread_mutex_lock(&table->lock);
	old_nr = table->routing->nr;
	for (unsigned int i = 0; i < n; i++) {
		struct kvm_irq_routing_entry *entry = irq_find_msi(table, msis[i].irq->gsi);

		old[i] = *entry;
		if (entry == &table->routing->entries[table->routing->nr])
			table->routing->nr++;
		irq_put_msi(entry, &msis[i]);
	}
	/* A single call serves all: KVM waits for every vCPU's view of the table to end. */
	ret = irq_set_routing(table);
	for (unsigned int i = 0; i < n; i++) {
		if (ret == 0) {
			msis[i].irq->msi_addr = msis[i].addr;
			msis[i].irq->msi_data = msis[i].data;
		} else {
			*irq_find_msi(table, msis[i].irq->gsi) = old[i];
		}
	}
	if (ret < 0)
		table->routing->nr = old_nr;
	pthread_mutex_unlock(&table->lock);
	free(old);
	return ret;
}

static int irq_set_irqfd(const struct irq *irq, uint32_t flags)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)irq->fd, .gsi = irq->gsi, .flags = flags };

	return ioctl(irq->table->kvm->vm_fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int irq_unmask(struct irq *irq)
{
	int ret = 0;

	/* KVM polls the eventfd when it takes it, so what is pending is delivered. */
	if (!irq->attached)
		ret = irq_set_irqfd(irq, 0);
	if (ret == 0)
		irq->attached = true;
	return ret;
}

void irq_mask(struct irq *irq)
{
	int ret = 0;

	/* KVM empties the eventfd when it lets go of it, so what it has delivered is not delivered again. */
	if (irq->attached)
		ret = irq_set_irqfd(irq, KVM_IRQFD_FLAG_DEASSIGN);
	if (ret < 0)
		log_limited(&irq->table->kvm->log_limit, LOG_ERROR, "cannot mask an interrupt: %s",
			    strerror(-ret));
	irq->attached = false;
}

void irq_set_line(struct irq_table *table, unsigned int gsi, bool high)
{
	struct kvm_irq_level level = { .irq = gsi, .level = high };

	if (ioctl(table->kvm->vm_fd, KVM_IRQ_LINE, &level) < 0)
		log_limited(&table->kvm->log_limit, LOG_ERROR, "cannot set interrupt line %u: %s", gsi,
			    strerror(errno));
}
