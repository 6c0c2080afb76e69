/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI bus with a device of one BAR, and its guest. */
#include "tests/unit/devices/pci/pci_fixture.h"

const struct pci_ids ids = {
	.vendor = 0x1234,
	.device = 0x5678,
	.subsystem_vendor = 0x9abc,
	.subsystem = 0xdef0,
	.revision = 7,
	.class_code = 0x020000,
};

static void dev_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct fixture *x = opaque;

	if (offset >= PBA)
		pci_msix_pba_read(&x->dev, offset - PBA, data, len);
	else if (offset >= TABLE)
		pci_msix_table_read(&x->dev, offset - TABLE, data, len);
	else
		memcpy(data, x->memory + offset, len);
}

static void dev_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct fixture *x = opaque;

	if (offset < TABLE)
		memcpy(x->memory + offset, data, len);
	else if (offset < PBA)
		pci_msix_table_write(&x->dev, offset - TABLE, data, len);
}

const struct bus_ops dev_ops = { .read = dev_read, .write = dev_write };

struct fixture *build(unsigned int n_vectors)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct virtio_pci_cfg_cap window = { .cap.cap_vndr = PCI_CAP_ID_VNDR, .cap.cap_len = sizeof(window) };
	struct error err = { 0 };

	assert_non_null(x);
	x->f = fake_vm_new();
	assert_int_equal(pci_bus_init(&x->bus, &x->f->vm, &err), 0);
	assert_int_equal(pci_bus_add(&x->bus, &x->dev, &ids, &err), 0);
	assert_int_equal(pci_bus_add_bar(&x->bus, &x->dev, 0, BAR_BYTES, &dev_ops, x, &err), 0);
	assert_int_equal(pci_msix_init(&x->dev, n_vectors, 0, TABLE, PBA, &err), 0);
	pci_function_add_window(&x->dev, pci_function_add_capability(&x->dev, &window, sizeof(window)));
	x->msix = fake_config_capability(x->f, SLOT, PCI_CAP_ID_MSIX, 0);
	assert_true(x->msix >= 0x40);
	return x;
}

void destroy(struct fixture *x)
{
	pci_bus_remove(&x->dev);
	pci_bus_exit(&x->bus);
	assert_int_equal(x->f->n_irqs, 0);
	free(x->f);
	free(x);
}

int setup(void **state)
{
	*state = build(N_VECTORS);
	return 0;
}

int teardown(void **state)
{
	destroy(*state);
	return 0;
}

uint32_t port_read(struct fixture *x, uint16_t port, unsigned int len)
{
	uint8_t data[4] = { 0 };

	bus_read(&x->f->vm.pio, port, data, len);
	return get_le32(data);
}

void port_write(struct fixture *x, uint16_t port, unsigned int len, uint32_t value)
{
	uint8_t data[4];

	put_le32(data, value);
	bus_write(&x->f->vm.pio, port, data, len);
}

void window_set(struct fixture *x, unsigned int cap, uint8_t bar, uint32_t offset, uint32_t len)
{
	fake_config_write(x->f, SLOT, cap + 4, 1, bar);
	fake_config_write(x->f, SLOT, cap + 8, 4, offset);
	fake_config_write(x->f, SLOT, cap + 12, 4, len);
}

uint64_t entry_addr(unsigned int n, unsigned int field)
{
	return LAYOUT_PCI_MMIO + TABLE + PCI_MSIX_ENTRY_SIZE * n + field;
}

void entry_set(struct fixture *x, unsigned int n, uint64_t addr, uint32_t data)
{
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_LOWER_ADDR), (uint32_t)addr, 4);
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_UPPER_ADDR), addr >> 32, 4);
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_DATA), data, 4);
}

void entry_mask(struct fixture *x, unsigned int n, bool masked)
{
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_VECTOR_CTRL), masked, 4);
}

void msix_control(struct fixture *x, uint16_t flags)
{
	fake_config_write(x->f, SLOT, x->msix + PCI_MSIX_FLAGS, 2, flags);
}

uint64_t taken(struct fixture *x, unsigned int n)
{
	return fake_vm_take(x->f, &x->dev.vectors[n].irq);
}

uint64_t pba(struct fixture *x)
{
	return fake_vm_mmio_read(x->f, LAYOUT_PCI_MMIO + PBA, 8);
}

void msix_start(struct fixture *x)
{
	msix_control(x, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i < N_VECTORS; i++) {
		entry_set(x, i, 0xfee00000 + 0x1000 * i, 0x40 + i);
		entry_mask(x, i, false);
	}
	msix_control(x, PCI_MSIX_FLAGS_ENABLE);
}
