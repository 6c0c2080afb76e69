/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device with virtio over PCI that counts what is asked of it, and its driver. */
#include "tests/unit/devices/virtio/virtio_pci_fixture.h"

const uint16_t max_sizes[N_QUEUES] = { 256, 256, 1024, 0, 1 };

static struct fixture *of(struct virtio_pci *v)
{
	return container_of(v, struct fixture, v);
}

static void op_config_read(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len)
{
	assert_true(len > 0 && offset < CONFIG_LEN && len <= CONFIG_LEN - offset);
	memcpy(data, of(v)->registers + offset, len);
}

static bool op_features_ok(struct virtio_pci *v, uint64_t features)
{
	return !(features & BAD_FEATURE);
}

static int op_driver_ok(struct virtio_pci *v)
{
	of(v)->n_driver_ok++;
	of(v)->status_at_driver_ok = v->status;
	return of(v)->driver_ok;
}

static void op_reset(struct virtio_pci *v)
{
	of(v)->n_reset++;
}

static void op_queue_reset(struct virtio_pci *v, unsigned int index)
{
	assert_true(v->queues[index].enabled);
	of(v)->n_queue_reset++;
	of(v)->queue = index;
}

static void op_queue_enable(struct virtio_pci *v, unsigned int index)
{
	assert_true(v->queues[index].enabled);
	of(v)->n_queue_enable++;
	of(v)->queue = index;
}

static const struct virtio_ops ops = {
	.config_read = op_config_read,
	.features_ok = op_features_ok,
	.driver_ok = op_driver_ok,
	.reset = op_reset,
	.queue_reset = op_queue_reset,
	.queue_enable = op_queue_enable,
};

uint32_t config_u32(struct fixture *x, unsigned int reg)
{
	return fake_config_read(x->f, SLOT, reg, 4);
}

uint64_t find_structure(struct fixture *x, uint8_t type, uint32_t *len, unsigned int *cap)
{
	unsigned int at = 0;

	while ((at = fake_config_capability(x->f, SLOT, PCI_CAP_ID_VNDR, at)) != 0) {
		if (fake_config_read(x->f, SLOT, at + 3, 1) == type) {
			uint64_t bar = config_u32(x, PCI_BASE_ADDRESS_0);

			assert_int_equal(fake_config_read(x->f, SLOT, at + 4, 1), 0);
			*len = config_u32(x, at + 12);
			*cap = at;
			assert_true(config_u32(x, at + 8) + (uint64_t)*len <= x->v.pci.bar_len[0]);
			return bar + config_u32(x, at + 8);
		}
		at = fake_config_read(x->f, SLOT, at + 1, 1);
		if (at == 0)
			break;
	}
	return 0;
}

static void find_all(struct fixture *x)
{
	unsigned int cap;
	uint32_t len;

	x->common = find_structure(x, VIRTIO_PCI_CAP_COMMON_CFG, &len, &cap);
	assert_true(x->common != 0 && x->common % 4 == 0 && len >= 56);
	x->isr = find_structure(x, VIRTIO_PCI_CAP_ISR_CFG, &len, &cap);
	assert_true(x->isr != 0 && len >= 1);
	x->notify = find_structure(x, VIRTIO_PCI_CAP_NOTIFY_CFG, &x->notify_len, &cap);
	assert_true(x->notify != 0 && x->notify % 4096 == 0);
	assert_int_equal(fake_config_read(x->f, SLOT, cap + 2, 1), 20);
	x->notify_multiplier = config_u32(x, cap + 16);
	x->config = find_structure(x, VIRTIO_PCI_CAP_DEVICE_CFG, &x->config_len, &cap);
}

int add_device(struct fixture *x, struct virtio_pci *v, unsigned int n_queues, const uint16_t *sizes,
	       uint64_t offered, struct error *err)
{
	const struct virtio_pci_setup setup = { .ops = &ops,
						.device_type = VIRTIO_ID_NET,
						.class_code = 0x020000,
						.config_len = CONFIG_LEN,
						.offered = offered,
						.n_queues = n_queues,
						.max_sizes = sizes };

	return virtio_pci_init(v, &x->bus, &setup, err);
}

struct fixture *build(unsigned int n_queues, const uint16_t *sizes, uint64_t offered)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct error err = { 0 };

	assert_non_null(x);
	x->f = fake_vm_new();
	for (unsigned int i = 0; i < CONFIG_LEN; i++)
		x->registers[i] = (uint8_t)(0xa0 + i);
	assert_int_equal(pci_bus_init(&x->bus, &x->f->vm, &err), 0);
	assert_int_equal(add_device(x, &x->v, n_queues, sizes, offered, &err), 0);
	find_all(x);
	return x;
}

void destroy(struct fixture *x)
{
	virtio_pci_exit(&x->v);
	pci_bus_exit(&x->bus);
	assert_int_equal(x->f->n_irqs, 0);
	assert_int_equal(x->f->n_doorbells, 0);
	free(x->f);
	free(x);
}

int setup(void **state)
{
	*state = build(N_QUEUES, max_sizes, OFFERED);
	return 0;
}

int teardown(void **state)
{
	destroy(*state);
	return 0;
}

uint32_t rd(struct fixture *x, unsigned int reg, unsigned int len)
{
	return (uint32_t)fake_vm_mmio_read(x->f, x->common + reg, len);
}

void wr(struct fixture *x, unsigned int reg, unsigned int len, uint32_t value)
{
	fake_vm_mmio_write(x->f, x->common + reg, value, len);
}

uint32_t status(struct fixture *x)
{
	return rd(x, VIRTIO_PCI_COMMON_STATUS, 1);
}

void set_status(struct fixture *x, uint32_t value)
{
	wr(x, VIRTIO_PCI_COMMON_STATUS, 1, value);
}

void accept_features(struct fixture *x, uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		wr(x, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		wr(x, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
	}
}

void to_features_ok(struct fixture *x, uint64_t features)
{
	set_status(x, 0);
	assert_int_equal(status(x), 0);
	set_status(x, 1);
	set_status(x, 3);
	accept_features(x, features);
	set_status(x, 11);
}

void write_addr(struct fixture *x, unsigned int reg, uint64_t addr)
{
	wr(x, reg, 4, (uint32_t)addr);
	wr(x, reg + 4, 4, (uint32_t)(addr >> 32));
}

void set_up_queue(struct fixture *x, unsigned int index, uint16_t size)
{
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	write_addr(x, VIRTIO_PCI_COMMON_Q_DESCLO, 0x100000000u + 0x10000u * index);
	write_addr(x, VIRTIO_PCI_COMMON_Q_AVAILLO, 0x100004000u + 0x10000u * index);
	write_addr(x, VIRTIO_PCI_COMMON_Q_USEDLO, 0x100008000u + 0x10000u * index);
	wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, index + 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), index + 1);
}

void enable_queue(struct fixture *x, unsigned int index)
{
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	wr(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void start_msix(struct fixture *x)
{
	unsigned int msix = fake_config_capability(x->f, SLOT, PCI_CAP_ID_MSIX, 0);
	uint64_t table = config_u32(x, PCI_BASE_ADDRESS_0) + (config_u32(x, msix + PCI_MSIX_TABLE) & ~7u);
	unsigned int n = (fake_config_read(x->f, SLOT, msix + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;

	fake_config_write(x->f, SLOT, msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	for (unsigned int i = 0; i < n; i++) {
		fake_vm_mmio_write(x->f, table + 16 * i, 0xfee00000, 8);
		fake_vm_mmio_write(x->f, table + 16 * i + 8, 0x30 + i, 8);
	}
}

void start(struct fixture *x)
{
	to_features_ok(x, ACCEPTED);
	assert_int_equal(status(x), 11);
	start_msix(x);
	wr(x, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_MSIX, 2), 0);
	set_up_queue(x, 0, 256);
	set_up_queue(x, 1, 128);
	set_up_queue(x, 2, 2);
	for (unsigned int i = 0; i < 3; i++)
		enable_queue(x, i);
	set_status(x, 15);
}

uint64_t taken(struct fixture *x, unsigned int vector)
{
	return fake_vm_take(x->f, &x->v.pci.vectors[vector].irq);
}
