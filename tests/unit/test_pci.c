/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI bus: what a guest finds, moves, masks and breaks; and what a stream can claim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <libfdt.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>

#include "devices/pci.h"
#include "tests/fake/vm.h"
#include "vmm/x86/layout.h"

#define N_VECTORS 10u
#define BAR_BYTES 0x4000u
#define TABLE     0x1000u
#define PBA       0x2000u
#define SLOT      1u

struct fixture {
	struct fake_vm *f;
	struct pci_bus bus;
	struct pci_device dev;
	unsigned int msix;
	uint8_t memory[TABLE + 8]; /* registers of the device: plain memory */
};

static const struct pci_ids ids = {
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

static const struct bus_ops dev_ops = { .read = dev_read, .write = dev_write };

static struct fixture *build(unsigned int n_vectors)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct virtio_pci_cfg_cap window = { .cap.cap_vndr = PCI_CAP_ID_VNDR, .cap.cap_len = sizeof(window) };
	struct error err = { 0 };

	assert_non_null(x);
	x->f = fake_vm_new();
	assert_int_equal(pci_bus_init(&x->bus, &x->f->vm, &err), 0);
	assert_int_equal(pci_add(&x->bus, &x->dev, &ids, &err), 0);
	assert_int_equal(pci_add_bar(&x->bus, &x->dev, 0, BAR_BYTES, &dev_ops, x, &err), 0);
	assert_int_equal(pci_add_msix(&x->dev, n_vectors, 0, TABLE, PBA, &err), 0);
	pci_add_window(&x->dev, pci_add_capability(&x->dev, &window, sizeof(window)));
	x->msix = fake_config_capability(x->f, SLOT, PCI_CAP_ID_MSIX, 0);
	assert_true(x->msix >= 0x40);
	return x;
}

static void destroy(struct fixture *x)
{
	pci_remove(&x->dev);
	pci_bus_exit(&x->bus);
	assert_int_equal(x->f->n_irqs, 0);
	free(x->f);
	free(x);
}

static int setup(void **state)
{
	*state = build(N_VECTORS);
	return 0;
}

static int teardown(void **state)
{
	destroy(*state);
	return 0;
}

/* Finding */

static uint32_t port_read(struct fixture *x, uint16_t port, unsigned int len)
{
	uint8_t data[4] = { 0 };

	bus_read(&x->f->vm.pio, port, data, len);
	return get_le32(data);
}

static void port_write(struct fixture *x, uint16_t port, unsigned int len, uint32_t value)
{
	uint8_t data[4];

	put_le32(data, value);
	bus_write(&x->f->vm.pio, port, data, len);
}

/* What Linux does to tell that mechanism #1 is there, and what firmware does to tell #2. */
static void test_mechanism(void **state)
{
	struct fixture *x = *state;

	port_write(x, 0xcfb, 1, 0x01);
	port_write(x, 0xcf8, 4, 0x80000000);
	assert_int_equal(port_read(x, 0xcf8, 4), 0x80000000);
	assert_int_equal(port_read(x, 0xcf8, 1), 0xff);
	assert_int_equal(port_read(x, 0xcfa, 2), 0xffff);
	port_write(x, 0xcf8, 2, 0);
	port_write(x, 0xcfa, 4, 0);
	assert_int_equal(port_read(x, 0xcf8, 4), 0x80000000);
	/* A bridge in slot 0. */
	assert_int_equal(fake_config_read(x->f, 0, PCI_CLASS_DEVICE, 2), 0x0600);
}

static void test_nobody_answers(void **state)
{
	static const uint32_t addresses[] = {
		0x00000800,             /* not enabled */
		0x80010800, 0x80ff0800, /* other buses */
		0x80000900, 0x80000f00, /* other functions */
		0x81000800, 0xc0000800, /* reserved bits */
		0x80001000, 0x8000f800, /* empty slots */
	};
	struct fixture *x = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(addresses); i++) {
		port_write(x, 0xcf8, 4, addresses[i]);
		assert_int_equal(port_read(x, 0xcfc, 4), 0xffffffff);
		assert_int_equal(port_read(x, 0xcfd, 1), 0xff);
		port_write(x, 0xcfc, 4, 0x12345678);
	}
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_VENDOR_ID, 4), 0x56781234);
}

static void test_header(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fake_config_read(x->f, SLOT, PCI_VENDOR_ID, 2), 0x1234);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_DEVICE_ID, 2), 0x5678);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_CLASS_REVISION, 4), 0x02000007);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_SUBSYSTEM_VENDOR_ID, 4), 0xdef09abc);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	/* Bytes of a dword, and writes to what is fixed. */
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_VENDOR_ID + 1, 1), 0x12);
	for (unsigned int reg = 0; reg < 256; reg += 4) {
		if (reg == PCI_COMMAND || reg == PCI_BASE_ADDRESS_0)
			continue;
		fake_config_write(x->f, SLOT, reg, 4, 0xffffffff);
	}
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_CLASS_REVISION, 4), 0x02000007);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_ROM_ADDRESS, 4), 0);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_BASE_ADDRESS_1, 4), 0);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, 0xffff);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_COMMAND, 2),
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
				 PCI_COMMAND_INTX_DISABLE);
}

static void test_full_bus(void **state)
{
	struct fixture *x = *state;
	struct pci_device *more = calloc(PCI_MAX_DEVICES, sizeof(*more));
	struct error err = { 0 };
	unsigned int n = 0;

	while (pci_add(&x->bus, &more[n], &ids, &err) == 0)
		n++;
	assert_int_equal(n, PCI_MAX_DEVICES - 2);
	assert_int_equal(more[n - 1].slot, PCI_MAX_DEVICES - 1);
	assert_non_null(strstr(err.text, "full"));
	for (unsigned int i = 0; i < n; i++)
		pci_remove(&more[i]);
	free(more);
}

/* BARs */

static void test_bar_size_and_place(void **state)
{
	struct fixture *x = *state;
	struct pci_device other;
	struct error err = { 0 };

	assert_int_equal(fake_config_read(x->f, SLOT, PCI_BASE_ADDRESS_0, 4), LAYOUT_PCI_MMIO);
	fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_BASE_ADDRESS_0, 4), (uint32_t)-BAR_BYTES);
	fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, LAYOUT_PCI_MMIO);
	assert_int_equal(x->dev.log_limit.n_logged, 0);

	/* The next is aligned to its own size. */
	assert_int_equal(pci_add(&x->bus, &other, &ids, &err), 0);
	assert_int_equal(pci_add_bar(&x->bus, &other, 2, MIB(1), &dev_ops, x, &err), 0);
	assert_int_equal(fake_config_read(x->f, 2, PCI_BASE_ADDRESS_2, 4), LAYOUT_PCI_MMIO + MIB(1));
	/* The hole ends. */
	assert_true(pci_add_bar(&x->bus, &other, 3, GIB(1), &dev_ops, x, &err) < 0);
	assert_non_null(strstr(err.text, "slot 2"));
	pci_remove(&other);
}

static void test_bar_moved(void **state)
{
	struct fixture *x = *state;

	fake_vm_mmio_write(x->f, LAYOUT_PCI_MMIO + 8, 0xabcd, 2);
	fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_BASE_ADDRESS_0, 4), 0xd0000000);
	assert_int_equal(fake_vm_mmio_read(x->f, LAYOUT_PCI_MMIO + 8, 2), 0xabcd);
	assert_int_equal(fake_vm_mmio_read(x->f, 0xd0000008, 2), 0xffff);
	assert_int_equal(x->dev.log_limit.n_logged, 1);
	for (unsigned int i = 0; i < 1000; i++)
		fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, 0xd0000000 + 0x10000 * i);
	assert_int_equal(x->dev.log_limit.n_logged, LOG_BURST);
}

/* The window of struct virtio_pci_cfg_cap. */
static void window_set(struct fixture *x, unsigned int cap, uint8_t bar, uint32_t offset, uint32_t len)
{
	fake_config_write(x->f, SLOT, cap + 4, 1, bar);
	fake_config_write(x->f, SLOT, cap + 8, 4, offset);
	fake_config_write(x->f, SLOT, cap + 12, 4, len);
}

static void test_window(void **state)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, len;
	} wrong[] = {
		{ 1, 0x20, 4 },      { 6, 0x20, 4 },       { 255, 0x20, 4 },        { 0, 0x20, 0 },
		{ 0, 0x20, 3 },      { 0, 0x20, 8 },       { 0, 0x20, 0xffffffff }, { 0, 0x21, 2 },
		{ 0, BAR_BYTES, 4 }, { 0, 0xfffffffc, 4 }, { 0, 0x80000000, 1 },
	};
	struct fixture *x = *state;
	unsigned int cap = fake_config_capability(x->f, SLOT, PCI_CAP_ID_VNDR, 0);

	window_set(x, cap, 0, 0x20, 4);
	fake_config_write(x->f, SLOT, cap + 16, 4, 0x11223344);
	assert_int_equal(get_le32(x->memory + 0x20), 0x11223344);
	window_set(x, cap, 0, 0x22, 2);
	assert_int_equal(fake_config_read(x->f, SLOT, cap + 16, 4) & 0xffff, 0x1122);
	window_set(x, cap, 0, 0x23, 1);
	assert_int_equal(fake_config_read(x->f, SLOT, cap + 16, 1), 0x11);

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		window_set(x, cap, wrong[i].bar, wrong[i].offset, wrong[i].len);
		fake_config_write(x->f, SLOT, cap + 16, 4, 0xdeadbeef);
		assert_int_equal(fake_config_read(x->f, SLOT, cap + 16, 4), 0xdeadbeef);
		assert_int_equal(get_le32(x->memory + 0x20), 0x11223344);
	}
	/* The vector table by way of the window: its lock is not held then. */
	window_set(x, cap, 0, TABLE + PCI_MSIX_ENTRY_DATA, 4);
	fake_config_write(x->f, SLOT, cap + 16, 4, 0x41);
	assert_int_equal(x->dev.vectors[0].data, 0x41);
}

/* MSI-X */

static uint64_t entry_addr(unsigned int n, unsigned int field)
{
	return LAYOUT_PCI_MMIO + TABLE + PCI_MSIX_ENTRY_SIZE * n + field;
}

static void entry_set(struct fixture *x, unsigned int n, uint64_t addr, uint32_t data)
{
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_LOWER_ADDR), (uint32_t)addr, 4);
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_UPPER_ADDR), addr >> 32, 4);
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_DATA), data, 4);
}

static void entry_mask(struct fixture *x, unsigned int n, bool masked)
{
	fake_vm_mmio_write(x->f, entry_addr(n, PCI_MSIX_ENTRY_VECTOR_CTRL), masked, 4);
}

static void msix_control(struct fixture *x, uint16_t flags)
{
	fake_config_write(x->f, SLOT, x->msix + PCI_MSIX_FLAGS, 2, flags);
}

static uint64_t taken(struct fixture *x, unsigned int n)
{
	return fake_vm_take(x->f, &x->dev.vectors[n].irq);
}

static uint64_t pba(struct fixture *x)
{
	return fake_vm_mmio_read(x->f, LAYOUT_PCI_MMIO + PBA, 8);
}

/* Masked, enabled and masked as a whole, programmed, unmasked: as Linux does it. */
static void msix_start(struct fixture *x)
{
	msix_control(x, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i < N_VECTORS; i++) {
		entry_set(x, i, 0xfee00000 + 0x1000 * i, 0x40 + i);
		entry_mask(x, i, false);
	}
	msix_control(x, PCI_MSIX_FLAGS_ENABLE);
}

static void test_msix_capability(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fake_config_read(x->f, SLOT, x->msix + PCI_MSIX_FLAGS, 2), N_VECTORS - 1);
	assert_int_equal(fake_config_read(x->f, SLOT, x->msix + PCI_MSIX_TABLE, 4), TABLE);
	assert_int_equal(fake_config_read(x->f, SLOT, x->msix + PCI_MSIX_PBA, 4), PBA);
	msix_control(x, 0xffff);
	assert_int_equal(fake_config_read(x->f, SLOT, x->msix + PCI_MSIX_FLAGS, 2),
			 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL | (N_VECTORS - 1));
	assert_int_equal(pci_msix_table_bytes(N_VECTORS), 160);
	assert_int_equal(pci_msix_pba_bytes(64), 8);
	assert_int_equal(pci_msix_pba_bytes(65), 16);
}

static void test_msix_table(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(3, PCI_MSIX_ENTRY_VECTOR_CTRL), 4), 1);
	entry_set(x, 3, 0x123456789abcdef0, 0xcafe);
	assert_true(fake_vm_mmio_read(x->f, entry_addr(3, 0), 8) == 0x123456789abcdef0);
	assert_true(fake_vm_mmio_read(x->f, entry_addr(3, 8), 8) == 0x10000cafeull);
	fake_vm_mmio_write(x->f, entry_addr(4, 0), 0xfee0100000000000, 8);
	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(4, 4), 4), 0xfee01000);
	/* Reserved bits of the control stay 0. */
	fake_vm_mmio_write(x->f, entry_addr(3, PCI_MSIX_ENTRY_VECTOR_CTRL), 0xfffffffe, 4);
	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(3, PCI_MSIX_ENTRY_VECTOR_CTRL), 4), 0);
	/* Other widths, crooked ones, and entries that do not exist. */
	fake_vm_mmio_write(x->f, entry_addr(3, PCI_MSIX_ENTRY_DATA), 0, 1);
	fake_vm_mmio_write(x->f, entry_addr(3, PCI_MSIX_ENTRY_DATA), 0, 2);
	fake_vm_mmio_write(x->f, entry_addr(3, PCI_MSIX_ENTRY_DATA) - 2, 0, 4);
	fake_vm_mmio_write(x->f, entry_addr(3, PCI_MSIX_ENTRY_DATA) - 4, 0, 8);
	assert_int_equal(x->dev.vectors[3].data, 0xcafe);
	fake_vm_mmio_write(x->f, entry_addr(N_VECTORS, 0), 0, 8);
	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(N_VECTORS, 0), 4), 0xffffffff);
	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(0, 2), 2), 0xffff);
}

static void test_msix_delivers(void **state)
{
	struct fixture *x = *state;

	msix_start(x);
	pci_msix_notify(&x->dev, 2);
	assert_int_equal(taken(x, 2), 1);
	assert_int_equal(taken(x, 1), 0);
	assert_true(x->dev.vectors[2].irq.msi_addr == 0xfee02000);
	assert_int_equal(x->dev.vectors[2].irq.msi_data, 0x42);
	assert_true(pba(x) == 0);
	/* No such vector, and none. */
	pci_msix_notify(&x->dev, N_VECTORS);
	pci_msix_notify(&x->dev, 0xffff);
}

static void test_msix_masks(void **state)
{
	struct fixture *x = *state;

	/* Off: pending until it is on. */
	pci_msix_notify(&x->dev, 0);
	assert_int_equal(taken(x, 0), 0);
	assert_true(pba(x) == 1);
	msix_start(x);
	assert_int_equal(taken(x, 0), 1);

	/* One masked. */
	entry_mask(x, 9, true);
	pci_msix_notify(&x->dev, 9);
	pci_msix_notify(&x->dev, 9);
	pci_msix_notify(&x->dev, 8);
	assert_int_equal(taken(x, 9), 0);
	assert_int_equal(taken(x, 8), 1);
	assert_true(pba(x) == 1u << 9);
	assert_int_equal(fake_vm_mmio_read(x->f, LAYOUT_PCI_MMIO + PBA + 1, 1), 2);
	assert_true(fake_vm_mmio_read(x->f, LAYOUT_PCI_MMIO + PBA + 8, 8) == 0);
	/* A new message before it is unmasked. */
	entry_set(x, 9, 0xfee0f000, 0x77);
	entry_mask(x, 9, false);
	assert_int_equal(taken(x, 9), 1);
	assert_int_equal(x->dev.vectors[9].irq.msi_data, 0x77);
	assert_true(pba(x) == 0);

	/* All masked. */
	msix_control(x, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_notify(&x->dev, 1);
	assert_int_equal(taken(x, 1), 0);
	assert_true(pba(x) == 2);
	entry_mask(x, 1, true);
	msix_control(x, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(taken(x, 1), 0);
	entry_mask(x, 1, false);
	assert_int_equal(taken(x, 1), 1);

	/* The control word as part of its dword. */
	fake_config_write(x->f, SLOT, x->msix, 4, 0);
	assert_false(x->dev.vectors[1].irq.attached);
	fake_config_write(x->f, SLOT, x->msix + PCI_MSIX_FLAGS + 1, 1, PCI_MSIX_FLAGS_ENABLE >> 8);
	assert_true(x->dev.vectors[1].irq.attached);
}

static void test_msix_new_message(void **state)
{
	struct fixture *x = *state;

	msix_start(x);
	fake_vm_mmio_write(x->f, entry_addr(5, PCI_MSIX_ENTRY_DATA), 0x99, 4);
	assert_int_equal(x->dev.vectors[5].irq.msi_data, 0x99);
	fake_vm_mmio_write(x->f, entry_addr(5, PCI_MSIX_ENTRY_UPPER_ADDR), 1, 4);
	assert_true(x->dev.vectors[5].irq.msi_addr == 0x1fee05000);
	assert_true(x->dev.vectors[5].irq.attached);
}

/* KVM refuses a message: no interrupt, a line in the log, and a good one repairs it. */
static void test_msix_refused(void **state)
{
	struct fixture *x = *state;

	x->f->bad_msi_addr = 0xdead000;
	msix_start(x);
	fake_vm_mmio_write(x->f, entry_addr(5, PCI_MSIX_ENTRY_LOWER_ADDR), 0xdead000, 4);
	assert_false(x->dev.vectors[5].irq.attached);
	assert_int_equal(x->dev.log_limit.n_logged, 1);
	pci_msix_notify(&x->dev, 5);
	assert_int_equal(taken(x, 5), 0);
	fake_vm_mmio_write(x->f, entry_addr(5, PCI_MSIX_ENTRY_LOWER_ADDR), 0xfee00000, 4);
	assert_int_equal(taken(x, 5), 1);
}

static void test_msix_no_irqs(void **state)
{
	struct fixture *x = *state;
	struct pci_device other;
	struct error err = { 0 };

	x->f->max_irqs = N_VECTORS + 3;
	assert_int_equal(pci_add(&x->bus, &other, &ids, &err), 0);
	assert_true(pci_add_msix(&other, 4, 0, 0, 0x800, &err) < 0);
	assert_non_null(strstr(err.text, "vector 3 of 4"));
	assert_int_equal(x->f->n_irqs, N_VECTORS);
	pci_remove(&other);
}

static void test_msix_limit(void **state)
{
	struct fixture *x = *state;

	pci_msix_limit(&x->dev, 3);
	assert_int_equal(x->f->n_irqs, 3);
	assert_int_equal(fake_config_read(x->f, SLOT, x->msix + PCI_MSIX_FLAGS, 2), 2);
	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(3, 0), 4), 0xffffffff);
	pci_msix_notify(&x->dev, 3);
	assert_true(pba(x) == 0);
}

/* State */

static void save(struct fixture *x, void **fdt, uint32_t *len)
{
	struct state_writer w;

	assert_int_equal(state_open_writer(&w), 0);
	state_begin(&w, "bus");
	x->bus.device.ops->save(&x->bus.device, &w);
	state_end(&w);
	state_begin(&w, "dev");
	pci_save(&x->dev, &w);
	state_end(&w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static int load(struct fixture *x, const void *fdt, uint32_t len, struct error *err)
{
	struct state_node root, node;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = state_child(&node, &root, "bus");
	if (ret == 0)
		ret = x->bus.device.ops->load(&x->bus.device, &node);
	if (ret == 0)
		ret = state_child(&node, &root, "dev");
	if (ret == 0)
		ret = pci_load(&x->dev, &node);
	if (ret == 0)
		ret = state_finish(&node);
	return ret == 0 ? state_finish(&root) : ret;
}

static void make_state(struct fixture *x)
{
	unsigned int cap = fake_config_capability(x->f, SLOT, PCI_CAP_ID_VNDR, 0);

	msix_start(x);
	entry_mask(x, 4, true);
	pci_msix_notify(&x->dev, 4);
	window_set(x, cap, 0, 0x20, 4);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fake_config_write(x->f, 0, PCI_INTERRUPT_LINE, 1, 0x5a);
	port_write(x, 0xcf8, 4, 0x80000840);
}

static void test_state_round_trip(void **state)
{
	struct fixture *x = *state, *y = build(N_VECTORS);
	struct error err = { 0 };
	void *fdt, *again;
	uint32_t len, again_len;

	make_state(x);
	save(x, &fdt, &len);
	assert_int_equal(load(y, fdt, len, &err), 0);
	assert_string_equal(err.text, "");
	save(y, &again, &again_len);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, fdt, len);

	assert_int_equal(port_read(y, 0xcf8, 4), 0x80000840);
	assert_int_equal(fake_config_read(y->f, 0, PCI_INTERRUPT_LINE, 1), 0x5a);
	/* The vectors are connected, and the pending one fires when it is unmasked. */
	assert_true(y->dev.vectors[0].irq.attached && y->dev.vectors[0].irq.msi_data == 0x40);
	assert_true(pba(y) == 1u << 4);
	assert_int_equal(taken(y, 4), 0);
	entry_mask(y, 4, false);
	assert_int_equal(taken(y, 4), 1);
	free(fdt);
	free(again);
	destroy(y);
}

/* What goes ahead of @x, to @y. */
static int load_ahead(struct fixture *x, struct fixture *y, bool first, struct error *err)
{
	struct state_writer w;
	struct state_node root;
	uint32_t len;
	void *fdt;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	assert_int_equal(x->bus.device.ops->warm_save(&x->bus.device, &w, first), first);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	ret = state_open(&root, fdt, len, err);
	if (ret == 0)
		ret = y->bus.device.ops->warm_load(&y->bus.device, &root);
	if (ret == 0)
		ret = state_finish(&root);
	free(fdt);
	return ret;
}

/* Messages that KVM has from the guest when it was elsewhere are not given to it again; what has changed
 * since is. */
static void test_messages_ahead(void **state)
{
	struct fixture *x = *state;
	struct error err = { 0 };

	make_state(x);
	for (unsigned int changed = 0; changed < 2; changed++) {
		struct fixture *y = build(N_VECTORS);
		unsigned int n;
		void *fdt;
		uint32_t len;

		assert_int_equal(load_ahead(x, y, true, &err), 0);
		n = y->f->n_set_msis;
		assert_int_equal(n, 1);
		assert_false(y->dev.vectors[0].irq.attached);
		assert_int_equal(y->dev.vectors[0].irq.msi_data, 0x40);
		assert_int_equal(y->dev.vectors[4].irq.msi_data, 0);
		if (changed)
			entry_set(x, 7, 0xfee07000, 0x99);
		save(x, &fdt, &len);
		assert_int_equal(load(y, fdt, len, &err), 0);
		assert_string_equal(err.text, "");
		assert_int_equal(y->f->n_set_msis, n + changed);
		assert_true(y->dev.vectors[0].irq.attached && y->dev.vectors[7].irq.attached);
		assert_int_equal(y->dev.vectors[7].irq.msi_data, changed ? 0x99 : 0x47);
		free(fdt);
		destroy(y);
	}
}

static void test_messages_ahead_refused(void **state)
{
	struct fixture *x = *state, *fewer = build(N_VECTORS - 1), *y = build(N_VECTORS);
	struct error err = { 0 };

	make_state(x);
	assert_true(load_ahead(x, fewer, true, &err) < 0);
	assert_non_null(strstr(err.text, "msix-table"));
	err = (struct error){ 0 };
	/* Nothing is no table. */
	assert_true(load_ahead(x, y, false, &err) < 0);
	/* Not the tree's fault: it is for the state itself to say so. */
	err = (struct error){ 0 };
	y->f->bad_msi_addr = x->dev.vectors[0].addr;
	assert_int_equal(load_ahead(x, y, true, &err), 0);
	assert_int_equal(y->dev.vectors[0].irq.msi_data, 0);
	destroy(fewer);
	destroy(y);
}

static void test_state_truncated(void **state)
{
	struct fixture *x = *state;
	struct error err = { 0 };
	uint32_t len;
	void *fdt;

	make_state(x);
	save(x, &fdt, &len);
	for (uint32_t cut = 0; cut < len; cut++) {
		/* On the heap in its own size, so that a read past it is seen. */
		void *part = malloc(cut + !cut);

		memcpy(part, fdt, cut);
		err = (struct error){ 0 };
		assert_true(load(x, part, cut, &err) < 0);
		free(part);
	}
	free(fdt);
}

/* One byte of a property changed; whether it is refused, and in which words. */
static void check_change(struct fixture *x, const char *path, const char *name, unsigned int at,
			 uint8_t value, const char *words)
{
	struct error err = { 0 };
	uint32_t len;
	uint8_t *prop;
	void *fdt;
	int prop_len;

	save(x, &fdt, &len);
	prop = fdt_getprop_w(fdt, fdt_path_offset(fdt, path), name, &prop_len);
	assert_non_null(prop);
	assert_true(at < (unsigned int)prop_len);
	prop[at] = value;
	if (words) {
		assert_true(load(x, fdt, len, &err) < 0);
		if (!strstr(err.text, words))
			fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	} else {
		assert_int_equal(load(x, fdt, len, &err), 0);
	}
	free(fdt);
}

static void test_state_refused(void **state)
{
	struct fixture *x = *state;

	make_state(x);
	check_change(x, "/bus/pci", "slot", 3, 1, "slot");
	check_change(x, "/bus/pci", "config", PCI_CLASS_DEVICE, 5, "at 0xa is 0x05, here 0x00");
	check_change(x, "/dev/pci", "slot", 3, 2, "slot");
	check_change(x, "/dev/pci", "id", 0, 1, "id");
	check_change(x, "/dev/pci", "bar0", 0, 1, "bar0");
	check_change(x, "/dev/pci", "config", PCI_VENDOR_ID, 1, "at 0x0 ");
	check_change(x, "/dev/pci", "config", x->msix + PCI_MSIX_FLAGS, N_VECTORS, "here 0x09");
	check_change(x, "/dev/pci", "config", PCI_STATUS, 0, "at 0x6 ");
	check_change(x, "/dev/pci", "config", 0xff, 1, "at 0xff ");
	check_change(x, "/dev/pci", "msix-table", 12, 2, "vector 0");
	check_change(x, "/dev/pci", "msix-table", 16 * N_VECTORS - 1, 1, "vector 9");
	check_change(x, "/dev/pci", "msix-pending", 1, 1u << (N_VECTORS - 8), "pending");
	check_change(x, "/dev/pci", "msix-pending", 7, 0x80, "pending");
	/* What a guest can have written is taken. */
	check_change(x, "/dev/pci", "config", PCI_BASE_ADDRESS_0 + 3, 0xd0, NULL);
	check_change(x, "/dev/pci", "msix-table", 0, 0xff, NULL);
	check_change(x, "/dev/pci", "msix-pending", 1, 2, NULL);
}

static void test_state_other_device(void **state)
{
	struct fixture *x = *state, *y = build(N_VECTORS + 1);
	struct error err = { 0 };
	uint32_t len;
	void *fdt;

	save(x, &fdt, &len);
	assert_true(load(y, fdt, len, &err) < 0);
	pci_msix_limit(&y->dev, N_VECTORS);
	err = (struct error){ 0 };
	assert_int_equal(load(y, fdt, len, &err), 0);
	free(fdt);
	destroy(y);
}

static int accept_from(struct fixture *from, struct fixture *to, struct error *err)
{
	struct state_writer w;
	struct state_node root;
	uint32_t len;
	void *fdt;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	from->bus.device.ops->describe(&from->bus.device, &w);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	ret = state_open(&root, fdt, len, err);
	if (ret == 0)
		ret = to->bus.device.ops->accept(&to->bus.device, &root);
	free(fdt);
	return ret;
}

static void test_accept(void **state)
{
	struct fixture *x = *state, *y = build(1);
	struct pci_device other;
	struct error err = { 0 };

	assert_int_equal(accept_from(x, y, &err), 0);
	assert_int_equal(pci_add(&y->bus, &other, &ids, &err), 0);
	assert_true(accept_from(x, y, &err) < 0);
	assert_true(accept_from(y, x, &err) < 0);
	pci_remove(&other);
	destroy(y);
}

/* A guest that writes anything anywhere. */
static void test_hostile(void **state)
{
	struct fixture *x = *state;
	uint64_t seed = 1;

	for (unsigned int i = 0; i < 30000; i++) {
		static const unsigned int lens[] = { 1, 2, 4, 8 };
		unsigned int len, at;
		uint32_t value;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		value = (uint32_t)(seed >> 32);
		at = (uint32_t)(seed >> 20) % 256;
		len = lens[seed >> 40 & 3];
		if (seed >> 62 == 0) {
			fake_vm_mmio_write(x->f, LAYOUT_PCI_MMIO + value % (BAR_BYTES - 7), seed, len);
			fake_vm_mmio_read(x->f, LAYOUT_PCI_MMIO + value % (BAR_BYTES - 7), len);
			continue;
		}
		len = len == 8 ? 4 : len;
		at &= ~(len - 1);
		fake_config_write(x->f, value & 1, at, len, value >> 3);
		fake_config_read(x->f, value & 1, at, len);
		if (value % 7 == 0)
			port_write(x, (uint16_t)(0xcf8 + (seed >> 50) % 8), 4, value);
	}
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_VENDOR_ID, 4), 0x56781234);
}

int main(void)
{
	log_level = LOG_WARN;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mechanism, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_header, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_bus, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_size_and_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bar_moved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_capability, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_delivers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_masks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_new_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_no_irqs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msix_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages_ahead_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_other_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
