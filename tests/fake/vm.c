/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM without KVM. */
#include "tests/fake/vm.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIRST_GSI 24u

static struct fake_vm *fake_of_irqs(struct irq_table *table)
{
	return container_of(table, struct fake_vm, vm.irqs);
}

static struct fake_vm *fake_of(struct kvm *kvm)
{
	return container_of(kvm, struct fake_vm, vm.kvm);
}

struct fake_vm *fake_vm_new(void)
{
	struct fake_vm *f = calloc(1, sizeof(*f));

	assert(f);
	f->vm.devices_tail = &f->vm.devices;
	f->vm.stop_fd = -1;
	/* Nobody runs the loop that the VM's end stops. */
	f->vm.loop.wake.fd = -1;
	gate_init(&f->vm.gate, &f->vm.loop);
	f->max_irqs = IRQ_MAX_GSI - FIRST_GSI;
	f->max_doorbells = FAKE_MAX_DOORBELLS;
	return f;
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	dev->next = NULL;
	*vm->devices_tail = dev;
	vm->devices_tail = &dev->next;
}

/* Takes a signal from the eventfd, as KVM does when it is told of one, or finds one. */
static void deliver(struct fake_vm *f, struct irq *irq)
{
	uint64_t n;

	if (irq->attached && read(irq->fd, &n, sizeof(n)) == sizeof(n))
		f->delivered[irq->gsi]++;
}

uint64_t fake_vm_take(struct fake_vm *f, struct irq *irq)
{
	uint64_t n;

	deliver(f, irq);
	n = f->delivered[irq->gsi];
	f->delivered[irq->gsi] = 0;
	return n;
}

int irq_init(struct irq *irq, struct irq_table *table)
{
	struct fake_vm *f = fake_of_irqs(table);

	if (f->n_irqs == f->max_irqs)
		return -ENOSPC;
	*irq = (struct irq){ .table = table, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	assert(irq->fd >= 0);
	while (table->used[FIRST_GSI + irq->gsi])
		irq->gsi++;
	irq->gsi += FIRST_GSI;
	table->used[irq->gsi] = true;
	f->delivered[irq->gsi] = 0;
	f->n_irqs++;
	return 0;
}

void irq_exit(struct irq *irq)
{
	assert(irq->table->used[irq->gsi]);
	irq->table->used[irq->gsi] = false;
	fake_of_irqs(irq->table)->n_irqs--;
	close(irq->fd);
}

int irq_set_msis(struct irq_table *table, const struct irq_msi *msis, unsigned int n)
{
	struct fake_vm *f = fake_of_irqs(table);

	for (unsigned int i = 0; i < n; i++) {
		if (f->bad_msi_addr != 0 && msis[i].addr == f->bad_msi_addr)
			return -EINVAL;
	}
	f->n_set_msis++;
	for (unsigned int i = 0; i < n; i++) {
		deliver(f, msis[i].irq);
		msis[i].irq->msi_addr = msis[i].addr;
		msis[i].irq->msi_data = msis[i].data;
	}
	return 0;
}

int irq_unmask(struct irq *irq)
{
	irq->attached = true;
	deliver(fake_of_irqs(irq->table), irq);
	return 0;
}

void irq_mask(struct irq *irq)
{
	deliver(fake_of_irqs(irq->table), irq);
	irq->attached = false;
}

int kvm_add_ioeventfd(struct kvm *kvm, uint64_t addr, int fd)
{
	struct fake_vm *f = fake_of(kvm);

	if (f->n_doorbells == f->max_doorbells)
		return -ENOSPC;
	f->doorbells[f->n_doorbells++] = (struct fake_doorbell){ .addr = addr, .fd = fd };
	return 0;
}

void kvm_del_ioeventfd(struct kvm *kvm, uint64_t addr, int fd)
{
	struct fake_vm *f = fake_of(kvm);
	unsigned int i = 0;

	while (i < f->n_doorbells && (f->doorbells[i].addr != addr || f->doorbells[i].fd != fd))
		i++;
	assert(i < f->n_doorbells);
	f->doorbells[i] = f->doorbells[--f->n_doorbells];
}

static struct fake_page *find_page(struct fake_vm *f, uint64_t gpa)
{
	for (unsigned int i = 0; i < KVM_MAX_PAGES; i++) {
		if (gpa ? f->pages[i].hva && f->pages[i].gpa == gpa : !f->pages[i].hva)
			return &f->pages[i];
	}
	return NULL;
}

int kvm_map_page(struct kvm *kvm, uint64_t gpa, void *hva)
{
	struct fake_page *page = find_page(fake_of(kvm), 0);

	assert(gpa % PAGE_SIZE == 0 && hva && !find_page(fake_of(kvm), gpa));
	if (!page)
		return -ENOSPC;
	*page = (struct fake_page){ gpa, hva };
	return 0;
}

void kvm_unmap_page(struct kvm *kvm, uint64_t gpa)
{
	struct fake_page *page = find_page(fake_of(kvm), gpa);

	assert(page);
	*page = (struct fake_page){ 0 };
}

void fake_vm_mmio_write(struct fake_vm *f, uint64_t addr, uint64_t value, unsigned int len)
{
	struct fake_page *page = find_page(f, addr & ~(uint64_t)(PAGE_SIZE - 1));
	const uint64_t one = 1;
	uint8_t data[8];

	if (page) {
		put_le64(data, value);
		memcpy((uint8_t *)page->hva + addr % PAGE_SIZE, data, len);
		return;
	}
	for (unsigned int i = 0; i < f->n_doorbells && len == 2; i++) {
		if (f->doorbells[i].addr == addr) {
			assert(write(f->doorbells[i].fd, &one, sizeof(one)) == sizeof(one));
			return;
		}
	}
	put_le64(data, value);
	bus_write(&f->vm.mmio, addr, data, len);
}

uint64_t fake_vm_mmio_read(struct fake_vm *f, uint64_t addr, unsigned int len)
{
	uint8_t data[8] = { 0 };

	bus_read(&f->vm.mmio, addr, data, len);
	return get_le64(data);
}

static void config_address(struct fake_vm *f, unsigned int slot, unsigned int reg)
{
	uint8_t data[4];

	put_le32(data, 0x80000000u | slot << 11 | (reg & 0xfc));
	bus_write(&f->vm.pio, 0xcf8, data, sizeof(data));
}

uint32_t fake_config_read(struct fake_vm *f, unsigned int slot, unsigned int reg, unsigned int len)
{
	uint8_t data[8] = { 0 };

	config_address(f, slot, reg);
	bus_read(&f->vm.pio, 0xcfc + (reg & 3), data, len);
	return get_le32(data);
}

void fake_config_write(struct fake_vm *f, unsigned int slot, unsigned int reg, unsigned int len,
		       uint32_t value)
{
	uint8_t data[4];

	config_address(f, slot, reg);
	put_le32(data, value);
	bus_write(&f->vm.pio, 0xcfc + (reg & 3), data, len);
}

unsigned int fake_config_capability(struct fake_vm *f, unsigned int slot, uint8_t id, unsigned int from)
{
	unsigned int at = fake_config_read(f, slot, PCI_CAPABILITY_LIST, 1);
	bool behind = from == 0;

	for (unsigned int i = 0; i < 48 && at != 0; i++) {
		behind = behind || at == from;
		if (behind && fake_config_read(f, slot, at, 1) == id)
			return at;
		at = fake_config_read(f, slot, at + 1, 1);
	}
	return 0;
}

uint64_t fake_virtio_structure(struct fake_vm *f, unsigned int slot, uint8_t type)
{
	unsigned int cap = fake_config_capability(f, slot, PCI_CAP_ID_VNDR, 0);

	while (cap && fake_config_read(f, slot, cap + 3, 1) != type) {
		unsigned int next = fake_config_read(f, slot, cap + 1, 1);

		cap = next ? fake_config_capability(f, slot, PCI_CAP_ID_VNDR, next) : 0;
	}
	if (!cap)
		return 0;
	return (fake_config_read(f, slot, PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK) +
	       fake_config_read(f, slot, cap + 8, 4);
}
