/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doorbells and interrupts as eventfds: KVM's ioeventfd, irqfd and the table of interrupt routes. */
#include "vmm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define VM_IOAPIC_PINS 24u
#define VM_PIC_PINS    16u
#define VM_MAX_ROUTES  (VM_IOAPIC_PINS + VM_PIC_PINS + VM_MAX_GSI)

static void vm_add_route(struct vm *vm, unsigned int gsi, unsigned int chip, unsigned int pin)
{
	vm->routing->entries[vm->routing->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* The routes of the lines as KVM makes them itself: setting the table replaces all of it. */
int vm_init_irqs(struct vm *vm, struct error *err)
{
	vm->routing = calloc(1, sizeof(*vm->routing) + VM_MAX_ROUTES * sizeof(vm->routing->entries[0]));
	if (!vm->routing)
		return error_add(err, -ENOMEM, "cannot allocate interrupt routes");
	for (unsigned int gsi = 0; gsi < VM_IOAPIC_PINS; gsi++) {
		vm_add_route(vm, gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (gsi < VM_PIC_PINS)
			vm_add_route(vm, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				     gsi % 8);
		vm->gsi_used[gsi] = true;
	}
	return 0;
}

static int vm_set_ioeventfd(struct vm *vm, uint64_t addr, int fd, uint32_t flags)
{
	struct kvm_ioeventfd io = { .addr = addr, .len = 2, .fd = fd, .flags = flags };

	return ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

int vm_add_ioeventfd(struct vm *vm, uint64_t addr, int fd)
{
	return vm_set_ioeventfd(vm, addr, fd, 0);
}

void vm_del_ioeventfd(struct vm *vm, uint64_t addr, int fd)
{
	int ret = vm_set_ioeventfd(vm, addr, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);

	if (ret < 0)
		log_limited(&vm->log_limit, LOG_ERROR, "cannot take back the doorbell at 0x%llx: %s",
			    (unsigned long long)addr, strerror(-ret));
}

int vm_irq_init(struct vm *vm, struct vm_irq *irq)
{
	unsigned int gsi = VM_IOAPIC_PINS;

	*irq = (struct vm_irq){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	if (irq->fd < 0)
		return -errno;
	pthread_mutex_lock(&vm->lock);
	while (gsi < VM_MAX_GSI && vm->gsi_used[gsi])
		gsi++;
	if (gsi < VM_MAX_GSI)
		vm->gsi_used[gsi] = true;
	pthread_mutex_unlock(&vm->lock);
	irq->gsi = gsi;
	if (gsi < VM_MAX_GSI)
		return 0;
	close(irq->fd);
	irq->fd = -1;
	return -ENOSPC;
}

/* The route of an MSI's @gsi, or where it would be added. Under the lock. */
static struct kvm_irq_routing_entry *vm_find_msi(struct vm *vm, unsigned int gsi)
{
	uint32_t i = VM_IOAPIC_PINS + VM_PIC_PINS;

	while (i < vm->routing->nr && vm->routing->entries[i].gsi != gsi)
		i++;
	return &vm->routing->entries[i];
}

static int vm_set_routing(struct vm *vm)
{
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, vm->routing) < 0 ? -errno : 0;
}

void vm_irq_exit(struct vm *vm, struct vm_irq *irq)
{
	struct kvm_irq_routing_entry *entry, *end;

	if (irq->fd < 0)
		return;
	vm_irq_mask(vm, irq);
	pthread_mutex_lock(&vm->lock);
	entry = vm_find_msi(vm, irq->gsi);
	end = &vm->routing->entries[vm->routing->nr];
	if (entry != end) {
		*entry = end[-1];
		vm->routing->nr--;
		if (vm_set_routing(vm) < 0)
			log_limited(&vm->log_limit, LOG_ERROR,
				    "cannot take back the route of an interrupt: %s", strerror(errno));
	}
	vm->gsi_used[irq->gsi] = false;
	pthread_mutex_unlock(&vm->lock);
	close(irq->fd);
	irq->fd = -1;
}

static void vm_put_msi(struct kvm_irq_routing_entry *entry, const struct vm_msi *msi)
{
	*entry = (struct kvm_irq_routing_entry){
		.gsi = msi->irq->gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)msi->addr,
			   .address_hi = (uint32_t)(msi->addr >> 32),
			   .data = msi->data },
	};
}

int vm_irq_set_msis(struct vm *vm, const struct vm_msi *msis, unsigned int n)
{
	struct kvm_irq_routing_entry *old = malloc(n * sizeof(*old));
	uint32_t old_nr;
	int ret;

	if (!old)
		return -ENOMEM;
	pthread_mutex_lock(&vm->lock);
	old_nr = vm->routing->nr;
	for (unsigned int i = 0; i < n; i++) {
		struct kvm_irq_routing_entry *entry = vm_find_msi(vm, msis[i].irq->gsi);

		old[i] = *entry;
		if (entry == &vm->routing->entries[vm->routing->nr])
			vm->routing->nr++;
		vm_put_msi(entry, &msis[i]);
	}
	/* One call for all: KVM waits for every vCPU's view of the table to end. */
	ret = vm_set_routing(vm);
	for (unsigned int i = 0; i < n; i++) {
		if (ret == 0) {
			msis[i].irq->msi_addr = msis[i].addr;
			msis[i].irq->msi_data = msis[i].data;
		} else {
			*vm_find_msi(vm, msis[i].irq->gsi) = old[i];
		}
	}
	if (ret < 0)
		vm->routing->nr = old_nr;
	pthread_mutex_unlock(&vm->lock);
	free(old);
	return ret;
}

static int vm_set_irqfd(struct vm *vm, const struct vm_irq *irq, uint32_t flags)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)irq->fd, .gsi = irq->gsi, .flags = flags };

	return ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int vm_irq_unmask(struct vm *vm, struct vm_irq *irq)
{
	int ret = 0;

	/* KVM polls the eventfd when it takes it: what is pending is delivered. */
	if (!irq->attached)
		ret = vm_set_irqfd(vm, irq, 0);
	if (ret == 0)
		irq->attached = true;
	return ret;
}

void vm_irq_mask(struct vm *vm, struct vm_irq *irq)
{
	int ret = 0;

	/* KVM empties the eventfd when it lets go of it: what it has delivered is not delivered again. */
	if (irq->attached)
		ret = vm_set_irqfd(vm, irq, KVM_IRQFD_FLAG_DEASSIGN);
	if (ret < 0)
		log_limited(&vm->log_limit, LOG_ERROR, "cannot mask an interrupt: %s", strerror(-ret));
	irq->attached = false;
}

void vm_irq_line(struct vm *vm, unsigned int gsi, bool high)
{
	struct kvm_irq_level level = { .irq = gsi, .level = high };

	if (ioctl(vm->fd, KVM_IRQ_LINE, &level) < 0)
		log_limited(&vm->log_limit, LOG_ERROR, "cannot set interrupt line %u: %s", gsi,
			    strerror(errno));
}
