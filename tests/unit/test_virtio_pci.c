/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: found and driven as Linux does it, abused as a hostile guest would, saved and loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <libfdt.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/virtio_pci.h"
#include "tests/fake/vm.h"

#define SLOT       1u
#define N_QUEUES   5u
#define CONFIG_LEN 24u
#define OFFERED                                                                                              \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |                             \
	 VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_RING_RESET) | 0xf0u)
#define BAD_FEATURE 0x10u /* offered, but never in a set that holds together */
#define ACCEPTED    (VIRTIO_BIT(VIRTIO_F_VERSION_1) | 0x60u)

static const uint16_t max_sizes[N_QUEUES] = { 256, 256, 1024, 0, 1 };

struct fixture {
	struct fake_vm *f;
	struct pci_bus bus;
	struct virtio_pci v;
	/* What a driver has found. */
	uint64_t common, notify, isr, config;
	uint32_t notify_len, notify_multiplier, config_len;
	/* What was asked of the device type. */
	unsigned int n_driver_ok, n_reset;
	unsigned int n_queue_reset, n_queue_enable, queue; /* the one that it was last */
	uint8_t status_at_driver_ok;
	int driver_ok;
	uint8_t registers[CONFIG_LEN];
};

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

/* Driver */

static uint32_t config_u32(struct fixture *x, unsigned int reg)
{
	return fake_config_read(x->f, SLOT, reg, 4);
}

/* The structure of @type: its address, and its length; checked to lie within the BAR. 0 if there is none. */
static uint64_t find_structure(struct fixture *x, uint8_t type, uint32_t *len, unsigned int *cap)
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

static struct fixture *build(unsigned int n_queues, const uint16_t *sizes, uint64_t offered)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct error err = { 0 };

	assert_non_null(x);
	x->f = fake_vm_new();
	for (unsigned int i = 0; i < CONFIG_LEN; i++)
		x->registers[i] = (uint8_t)(0xa0 + i);
	assert_int_equal(pci_bus_init(&x->bus, &x->f->vm, &err), 0);
	assert_int_equal(virtio_pci_init(&x->v, &x->bus, &ops, VIRTIO_ID_NET, 0x020000, CONFIG_LEN, offered,
					 n_queues, sizes, &err),
			 0);
	find_all(x);
	return x;
}

static void destroy(struct fixture *x)
{
	virtio_pci_exit(&x->v);
	pci_bus_exit(&x->bus);
	assert_int_equal(x->f->n_irqs, 0);
	assert_int_equal(x->f->n_doorbells, 0);
	free(x->f);
	free(x);
}

static int setup(void **state)
{
	*state = build(N_QUEUES, max_sizes, OFFERED);
	return 0;
}

static int teardown(void **state)
{
	destroy(*state);
	return 0;
}

static uint32_t rd(struct fixture *x, unsigned int reg, unsigned int len)
{
	return (uint32_t)fake_vm_mmio_read(x->f, x->common + reg, len);
}

static void wr(struct fixture *x, unsigned int reg, unsigned int len, uint32_t value)
{
	fake_vm_mmio_write(x->f, x->common + reg, value, len);
}

static uint32_t status(struct fixture *x)
{
	return rd(x, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(struct fixture *x, uint32_t value)
{
	wr(x, VIRTIO_PCI_COMMON_STATUS, 1, value);
}

static void accept_features(struct fixture *x, uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		wr(x, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		wr(x, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
	}
}

static void to_features_ok(struct fixture *x, uint64_t features)
{
	set_status(x, 0);
	assert_int_equal(status(x), 0);
	set_status(x, 1);
	set_status(x, 3);
	accept_features(x, features);
	set_status(x, 11);
}

static void write_addr(struct fixture *x, unsigned int reg, uint64_t addr)
{
	wr(x, reg, 4, (uint32_t)addr);
	wr(x, reg + 4, 4, (uint32_t)(addr >> 32));
}

static void set_up_queue(struct fixture *x, unsigned int index, uint16_t size)
{
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	write_addr(x, VIRTIO_PCI_COMMON_Q_DESCLO, 0x100000000u + 0x10000u * index);
	write_addr(x, VIRTIO_PCI_COMMON_Q_AVAILLO, 0x100004000u + 0x10000u * index);
	write_addr(x, VIRTIO_PCI_COMMON_Q_USEDLO, 0x100008000u + 0x10000u * index);
	wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, index + 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), index + 1);
}

static void enable_queue(struct fixture *x, unsigned int index)
{
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	wr(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

/* Every vector on and unmasked. */
static void start_msix(struct fixture *x)
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

/* The whole of a driver's start. */
static void start(struct fixture *x)
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

static uint64_t taken(struct fixture *x, unsigned int vector)
{
	return fake_vm_take(x->f, &x->v.pci.vectors[vector].irq);
}

static bool kicked(struct fixture *x, unsigned int queue)
{
	uint64_t n;

	return read(x->v.queues[queue].kick_fd, &n, sizeof(n)) == sizeof(n);
}

/* Tests */

static void test_identity(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fake_config_read(x->f, SLOT, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_DEVICE_ID, 2), 0x1041);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_SUBSYSTEM_VENDOR_ID, 2), 0x1af4);
	assert_true(fake_config_read(x->f, SLOT, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	assert_int_equal(config_u32(x, PCI_CLASS_REVISION), 0x02000001);
	assert_int_equal(x->notify_multiplier, 4096);
	assert_int_equal(x->notify_len, N_QUEUES * 4096);
	assert_int_equal(x->config_len, CONFIG_LEN);
	assert_int_equal(
		fake_config_read(x->f, SLOT, fake_config_capability(x->f, SLOT, PCI_CAP_ID_MSIX, 0) + 2, 2),
		N_QUEUES);
}

static void test_start(void **state)
{
	struct fixture *x = *state;

	wr(x, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DF, 4), (uint32_t)OFFERED);
	wr(x, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DF, 4), (uint32_t)(OFFERED >> 32));
	for (unsigned int i = 2; i < 5; i++) {
		wr(x, VIRTIO_PCI_COMMON_DFSELECT, 4, i == 4 ? UINT32_MAX : i);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DF, 4), 0);
	}
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_NUMQ, 2), N_QUEUES);
	start(x);
	assert_int_equal(status(x), 15);
	assert_int_equal(x->n_driver_ok, 1);
	assert_int_equal(x->status_at_driver_ok, 15);
	assert_true(x->v.accepted == ACCEPTED);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(x->v.queues[i].enabled);
		assert_true(x->v.queues[i].desc == 0x100000000u + 0x10000u * i);
		assert_true(x->v.queues[i].driver == 0x100004000u + 0x10000u * i);
		assert_true(x->v.queues[i].device == 0x100008000u + 0x10000u * i);
		wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_NOFF, 2), i);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_AVAILHI, 4), 1);
	}
	assert_int_equal(x->v.queues[1].size, 128);
	assert_false(x->v.queues[4].enabled);
	/* Once. */
	set_status(x, 15);
	assert_int_equal(x->n_driver_ok, 1);
	assert_int_equal(x->v.log_limit.n_logged, 0);
}

static void test_features_refused(void **state)
{
	static const uint64_t wrong[] = {
		0,
		ACCEPTED & ~VIRTIO_BIT(VIRTIO_F_VERSION_1),
		ACCEPTED | BAD_FEATURE,
		ACCEPTED | VIRTIO_BIT(0),
		ACCEPTED | VIRTIO_BIT(63),
		UINT64_MAX,
	};
	struct fixture *x = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		to_features_ok(x, wrong[i]);
		assert_int_equal(status(x), 3);
		/* Another try without a reset. */
		accept_features(x, ACCEPTED);
		set_status(x, 11);
		assert_int_equal(status(x), 11);
	}
	/* They are final now. */
	accept_features(x, ACCEPTED | VIRTIO_BIT(0));
	wr(x, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_GF, 4), (uint32_t)ACCEPTED);
	/* Bits beyond 64 do not exist and do not shift in. */
	to_features_ok(x, ACCEPTED);
	set_status(x, 0);
	wr(x, VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
	wr(x, VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
	wr(x, VIRTIO_PCI_COMMON_GFSELECT, 4, 0x80000000);
	wr(x, VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_GF, 4), 0);
	assert_true(x->v.accepted == 0);
}

static void test_status_transitions(void **state)
{
	static const uint8_t path[] = { 0, 1, 3, 11, 15 };
	struct fixture *x = *state;

	for (unsigned int from = 0; from < ARRAY_SIZE(path); from++) {
		/* NEEDS_RESET, 0x40, is the device's own. */
		for (unsigned int to = 1; to < 256; to += (to + 1) & 0x40 ? 0x41 : 1) {
			bool legal = to == path[from] ||
				     (from + 1 < ARRAY_SIZE(path) && to == path[from + 1]) ||
				     (from == 0 && to == 3) || to == (path[from] | 0x80u);

			set_status(x, 0);
			accept_features(x, ACCEPTED);
			for (unsigned int i = 1; i <= from; i++)
				set_status(x, path[i]);
			assert_int_equal(status(x), path[from]);
			set_status(x, to);
			assert_int_equal(status(x), legal ? to : path[from]);
		}
	}
	/* A driver that has given up can only reset. */
	set_status(x, 0);
	set_status(x, 0x80);
	set_status(x, 0x81);
	assert_int_equal(status(x), 0x80);
	set_status(x, 0);
	assert_int_equal(status(x), 0);
}

static void test_queue_sizes(void **state)
{
	static const struct {
		uint32_t value;
		uint16_t size;
	} sizes[] = {
		{ 1, 1 },   { 2, 2 },     { 256, 256 }, { 0, 256 },
		{ 3, 256 }, { 255, 256 }, { 512, 256 }, { 0x8000, 256 },
	};
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, 256);
		wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, sizes[i].value);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), sizes[i].size);
	}
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, 4);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 1);
	wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, 2);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 1);
}

/* One that has no size, and those that are not there at all. */
static void test_no_such_queue(void **state)
{
	static const uint16_t selects[] = { 3, N_QUEUES, N_QUEUES + 1, 0x7fff, 0xffff };
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	for (unsigned int i = 0; i < ARRAY_SIZE(selects); i++) {
		wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, selects[i]);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SELECT, 2), selects[i]);
		wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
		wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
		write_addr(x, VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_MAX);
		wr(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_NOFF, 2), 0);
	}
}

static void test_queue_enable(void **state)
{
	struct fixture *x = *state;

	/* Before FEATURES_OK. */
	set_status(x, 0);
	set_status(x, 3);
	enable_queue(x, 0);
	assert_false(x->v.queues[0].enabled);

	to_features_ok(x, ACCEPTED);
	wr(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	set_up_queue(x, 0, 64);
	enable_queue(x, 0);
	/* Everything but the vector is fixed now; it cannot be taken back but by reset. */
	wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, 128);
	write_addr(x, VIRTIO_PCI_COMMON_Q_DESCLO, 0x5000);
	wr(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_true(x->v.queues[0].desc == 0x100000000);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), 2);

	/* Queues are final at DRIVER_OK. */
	set_status(x, 15);
	set_up_queue(x, 1, 64);
	enable_queue(x, 1);
	assert_false(x->v.queues[1].enabled);
}

static void reset_queue(struct fixture *x, unsigned int index, uint16_t value)
{
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
	wr(x, VIRTIO_PCI_COMMON_Q_RESET, 2, value);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
}

static void test_queue_reset(void **state)
{
	struct fixture *x = *state;

	for (unsigned int with = 0; with < 2; with++) {
		to_features_ok(x, ACCEPTED | (with ? VIRTIO_BIT(VIRTIO_F_RING_RESET) : 0));
		set_up_queue(x, 2, 64);
		enable_queue(x, 2);
		reset_queue(x, 2, 1); /* not before DRIVER_OK */
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
		set_status(x, 15);
		reset_queue(x, 2, 1);
		assert_int_equal(x->n_queue_reset, with);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), !with);
	}
	assert_int_equal(x->queue, 2);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 1024);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	assert_true(x->v.queues[2].desc == 0 && x->v.queues[2].driver == 0 && x->v.queues[2].device == 0);
	/* What is not enabled needs no reset; what is not there cannot have one. */
	reset_queue(x, 2, 1);
	reset_queue(x, 3, 1);
	reset_queue(x, N_QUEUES, 1);
	assert_int_equal(x->n_queue_reset, 1);
	/* Elsewhere now, and again. */
	set_up_queue(x, 2, 32);
	assert_int_equal(x->n_queue_enable, 0);
	enable_queue(x, 2);
	assert_int_equal(x->n_queue_enable, 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 32);
	enable_queue(x, 2);
	reset_queue(x, 2, 0);
	reset_queue(x, 2, 3);
	assert_int_equal(x->n_queue_enable, 1);
	assert_int_equal(x->n_queue_reset, 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

/* A packed ring has any size. */
static void test_packed_sizes(void **state)
{
	static const uint16_t sizes[] = { 1, 5, 255, 256 }, bad[] = { 0, 257, 512, 0xffff };
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED | VIRTIO_BIT(VIRTIO_F_RING_PACKED));
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, sizes[i]);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), sizes[i]);
		wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, bad[i]);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), sizes[i]);
	}
}

static void test_vectors(void **state)
{
	static const uint16_t wrong[] = { N_QUEUES + 1, N_QUEUES + 2, 0x7fff, 0xfffe, 0xffff };
	struct fixture *x = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		wr(x, VIRTIO_PCI_COMMON_MSIX, 2, N_QUEUES);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_MSIX, 2), N_QUEUES);
		wr(x, VIRTIO_PCI_COMMON_MSIX, 2, wrong[i]);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
		wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0);
		wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, wrong[i]);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	}
}

static void test_interrupts(void **state)
{
	struct fixture *x = *state;

	start(x);
	virtio_pci_notify_queue(&x->v, 1);
	assert_int_equal(taken(x, 2), 1);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), 0);
	virtio_pci_notify_config(&x->v);
	assert_int_equal(taken(x, 0), 1);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), VIRTIO_PCI_ISR_CONFIG);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), 0);
	/* Two queues on one vector, and a queue on none. */
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	virtio_pci_notify_queue(&x->v, 0);
	assert_int_equal(taken(x, 2), 1);
	wr(x, VIRTIO_PCI_COMMON_Q_MSIX, 2, 0xffff);
	virtio_pci_notify_queue(&x->v, 0);
	for (unsigned int i = 0; i <= N_QUEUES; i++)
		assert_int_equal(taken(x, i), 0);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 4), VIRTIO_PCI_ISR_QUEUE);
}

static void test_kicks(void **state)
{
	struct fixture *x = *state;
	unsigned int window, doorbells = x->f->n_doorbells;
	uint32_t len;

	assert_int_equal(doorbells, N_QUEUES);
	for (unsigned int i = 0; i < N_QUEUES; i++) {
		/* KVM's way, then ours: other widths, another place in the page. */
		fake_vm_mmio_write(x->f, x->notify + 4096 * i, i, 2);
		assert_true(kicked(x, i));
		fake_vm_mmio_write(x->f, x->notify + 4096 * i, i, 4);
		assert_true(kicked(x, i));
		fake_vm_mmio_write(x->f, x->notify + 4096 * i + 4095, i, 1);
		assert_true(kicked(x, i));
		assert_false(kicked(x, i));
	}
	/* Beyond the last, to the end of the BAR. */
	for (uint64_t at = x->notify + 4096 * N_QUEUES; at < x->v.pci.bar_base[0] + x->v.pci.bar_len[0];
	     at += 4096)
		fake_vm_mmio_write(x->f, at, 0, 4);
	for (unsigned int i = 0; i < N_QUEUES; i++)
		assert_false(kicked(x, i));

	/* Through configuration space: the notification, and registers. */
	find_structure(x, VIRTIO_PCI_CAP_PCI_CFG, &len, &window);
	fake_config_write(x->f, SLOT, window + 8, 4, (uint32_t)(x->notify - x->v.pci.bar_base[0]) + 4096);
	fake_config_write(x->f, SLOT, window + 12, 4, 2);
	fake_config_write(x->f, SLOT, window + 16, 2, 1);
	assert_true(kicked(x, 1));
	fake_config_write(x->f, SLOT, window + 8, 4, VIRTIO_PCI_COMMON_STATUS);
	fake_config_write(x->f, SLOT, window + 12, 4, 1);
	fake_config_write(x->f, SLOT, window + 16, 1, 1);
	assert_int_equal(status(x), 1);
	assert_int_equal(fake_config_read(x->f, SLOT, window + 16, 1), 1);
}

static void test_driver_ok_fails(void **state)
{
	struct fixture *x = *state;

	x->driver_ok = -EFAULT;
	start(x);
	assert_int_equal(status(x), 0x4f);
	assert_int_equal(taken(x, 0), 1);
	x->driver_ok = 0;
	start(x);
	assert_int_equal(status(x), 15);
}

static void test_needs_reset(void **state)
{
	struct fixture *x = *state;

	/* Before DRIVER_OK without an interrupt. */
	to_features_ok(x, ACCEPTED);
	start_msix(x);
	wr(x, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	virtio_pci_needs_reset(&x->v);
	assert_int_equal(status(x), 0x4b);
	assert_int_equal(taken(x, 0), 0);
	start(x);
	assert_int_equal(status(x), 15);
	assert_int_equal(taken(x, 0), 0);

	virtio_pci_needs_reset(&x->v);
	assert_int_equal(status(x), 0x4f);
	assert_int_equal(taken(x, 0), 1);
	virtio_pci_needs_reset(&x->v);
	assert_int_equal(taken(x, 0), 0);
	/* The driver cannot clear it but by reset. */
	set_status(x, 15);
	assert_int_equal(status(x), 0x4f);
	set_status(x, 0);
	assert_int_equal(status(x), 0);
}

static void test_reset(void **state)
{
	struct fixture *x = *state;

	start(x);
	virtio_pci_notify_config(&x->v);
	x->n_reset = 0;
	set_status(x, 0);
	assert_int_equal(x->n_reset, 1);
	assert_int_equal(status(x), 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_GFSELECT, 4), 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_GF, 4), 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), 0);
	for (unsigned int i = 0; i < N_QUEUES; i++) {
		wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), max_sizes[i]);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
		assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_USEDHI, 4), 0);
	}
	start(x);
	assert_int_equal(x->n_driver_ok, 2);
}

/* A kernel that starts another one takes bus mastering away, and nothing else. */
static void test_master_lost(void **state)
{
	const unsigned int on = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct fixture *x = *state;

	x->n_reset = 0;
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, on);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	/* Nobody uses it. */
	assert_int_equal(x->n_reset, 0);
	/* A driver that never asked for it is served all the same. */
	start(x);
	x->n_reset = 0;
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, on);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, on | PCI_COMMAND_INTX_DISABLE);
	fake_config_write(x->f, SLOT, PCI_COMMAND + 1, 1, 0);
	assert_int_equal(x->n_reset, 0);
	assert_int_equal(status(x), 15);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
	assert_int_equal(x->n_reset, 1);
	assert_int_equal(status(x), 0);
	fake_config_write(x->f, SLOT, PCI_COMMAND, 2, on);
	start(x);
	assert_int_equal(x->n_driver_ok, 2);
}

static void test_config(void **state)
{
	struct fixture *x = *state;
	uint32_t generation = rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	assert_int_equal(fake_vm_mmio_read(x->f, x->config, 4), 0xa3a2a1a0);
	assert_int_equal(fake_vm_mmio_read(x->f, x->config + 5, 1), 0xa5);
	assert_int_equal(fake_vm_mmio_read(x->f, x->config + CONFIG_LEN - 2, 2), 0xb7b6);
	/* Past the end, and writes. */
	assert_int_equal(fake_vm_mmio_read(x->f, x->config + CONFIG_LEN - 2, 4), 0xffffffff);
	assert_int_equal(fake_vm_mmio_read(x->f, x->config + CONFIG_LEN, 1), 0xff);
	fake_vm_mmio_write(x->f, x->config, 0, 4);
	assert_int_equal(fake_vm_mmio_read(x->f, x->config, 4), 0xa3a2a1a0);

	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	virtio_pci_notify_config(&x->v);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation + 1);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation + 1);
	/* However often it changes unseen: never the same, also around the end of 8 bits. */
	for (unsigned int i = 0; i < 600; i++) {
		generation = rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
		for (unsigned int n = 0; n < 256; n++)
			virtio_pci_notify_config(&x->v);
		assert_int_not_equal(rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	}
}

/* Accesses that no field answers change nothing and read as all ones. */
static void test_widths(void **state)
{
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_STATUS, 4), 0xffffffff);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DF + 1, 2), 0xffff);
	assert_true(fake_vm_mmio_read(x->f, x->common + VIRTIO_PCI_COMMON_Q_DESCLO, 8) == UINT64_MAX);
	wr(x, VIRTIO_PCI_COMMON_STATUS, 4, 0);
	wr(x, VIRTIO_PCI_COMMON_STATUS - 1, 2, 0);
	wr(x, VIRTIO_PCI_COMMON_NUMQ, 2, 100);
	wr(x, VIRTIO_PCI_COMMON_DF, 4, 100);
	wr(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1, 100);
	wr(x, VIRTIO_PCI_COMMON_Q_NOFF, 2, 100);
	assert_int_equal(status(x), 11);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_NUMQ, 2), N_QUEUES);
	/* Behind the end of the structure. */
	assert_int_equal(rd(x, 56, 2), 0xffff);
	assert_int_equal(rd(x, 60, 2), 0xffff);
}

static void test_limit(void **state)
{
	static const uint16_t lower[] = { 128, 256, 64 };
	struct fixture *x = *state;
	unsigned int cap;

	virtio_pci_limit(&x->v, 3, lower, OFFERED & ~VIRTIO_BIT(5));
	find_structure(x, VIRTIO_PCI_CAP_NOTIFY_CFG, &x->notify_len, &cap);
	assert_int_equal(x->notify_len, 3 * 4096);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DF, 4), (uint32_t)(OFFERED & ~VIRTIO_BIT(5)));
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 128);
	wr(x, VIRTIO_PCI_COMMON_Q_SIZE, 2, 256);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 128);
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, 4);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	wr(x, VIRTIO_PCI_COMMON_MSIX, 2, 4);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	fake_vm_mmio_write(x->f, x->notify + 3 * 4096, 3, 4);
	assert_false(kicked(x, 3));
	to_features_ok(x, ACCEPTED);
	assert_int_equal(status(x), 3);
	set_status(x, 0);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_Q_SIZE, 2), 128);
}

/* 64 pairs and a control queue; the addresses are those of a small device. */
static void test_many_queues(void **state)
{
	struct fixture *x = *state, *y;
	uint16_t sizes[129];

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		sizes[i] = 256;
	y = build(ARRAY_SIZE(sizes), sizes, OFFERED);
	assert_true(y->common == x->common && y->notify == x->notify && y->isr == x->isr &&
		    y->config == x->config);
	to_features_ok(y, ACCEPTED);
	set_up_queue(y, 128, 256);
	enable_queue(y, 128);
	assert_true(y->v.queues[128].enabled);
	start_msix(y);
	virtio_pci_notify_queue(&y->v, 128);
	assert_int_equal(taken(y, 129), 1);
	fake_vm_mmio_write(y->f, y->notify + 128 * 4096, 128, 2);
	assert_true(kicked(y, 128));
	destroy(y);
}

static void test_host_lacks(void **state)
{
	struct fixture *x = *state;
	struct virtio_pci other;
	struct error err = { 0 };

	x->f->max_doorbells = x->f->n_doorbells + 3;
	assert_true(virtio_pci_init(&other, &x->bus, &ops, VIRTIO_ID_NET, 0x020000, CONFIG_LEN, OFFERED,
				    N_QUEUES, max_sizes, &err) < 0);
	assert_non_null(strstr(err.text, "queue 3"));
	assert_int_equal(x->f->n_doorbells, N_QUEUES);
	x->f->max_irqs = x->f->n_irqs + 2;
	assert_true(virtio_pci_init(&other, &x->bus, &ops, VIRTIO_ID_NET, 0x020000, CONFIG_LEN, OFFERED,
				    N_QUEUES, max_sizes, &err) < 0);
	assert_int_equal(x->f->n_irqs, N_QUEUES + 1);
}

/* State */

static void save(struct fixture *x, void **fdt, uint32_t *len)
{
	struct state_writer w;

	assert_int_equal(state_open_writer(&w), 0);
	virtio_pci_save(&x->v, &w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static int load(struct fixture *x, const void *fdt, uint32_t len, struct error *err)
{
	struct state_node root;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = virtio_pci_load(&x->v, &root);
	return ret == 0 ? state_finish(&root) : ret;
}

static void test_state_round_trip(void **state)
{
	struct fixture *x = *state, *y = build(N_QUEUES, max_sizes, OFFERED);
	struct error err = { 0 };
	void *fdt, *again;
	uint32_t len, again_len, generation;

	start(x);
	virtio_pci_notify_config(&x->v);
	generation = rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	wr(x, VIRTIO_PCI_COMMON_DFSELECT, 4, 0xdeadbeef);
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xbeef);
	save(x, &fdt, &len);
	assert_int_equal(load(y, fdt, len, &err), 0);
	assert_string_equal(err.text, "");
	save(y, &again, &again_len);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, fdt, len);

	assert_int_equal(status(y), 15);
	assert_int_equal(y->n_driver_ok + y->n_reset, 0);
	assert_true(y->v.accepted == ACCEPTED);
	assert_int_equal(y->v.queues[1].size, 128);
	assert_true(y->v.queues[2].device == 0x100028000);
	assert_int_equal(rd(y, VIRTIO_PCI_COMMON_Q_SELECT, 2), 0xbeef);
	assert_int_not_equal(rd(y, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	virtio_pci_notify_queue(&y->v, 1);
	assert_int_equal(taken(y, 2), 1);
	free(fdt);
	free(again);
	destroy(y);
}

static void test_state_any_moment(void **state)
{
	static const uint8_t path[] = { 0, 1, 3, 11, 15, 0x8f };
	struct fixture *x = *state;

	accept_features(x, UINT64_MAX);
	for (unsigned int i = 0; i < ARRAY_SIZE(path); i++) {
		struct fixture *y = build(N_QUEUES, max_sizes, OFFERED);
		struct error err = { 0 };
		uint32_t len;
		void *fdt;

		if (path[i] == 11)
			accept_features(x, ACCEPTED);
		if (i > 0)
			set_status(x, path[i]);
		assert_int_equal(status(x), path[i]);
		for (unsigned int needs_reset = 0; needs_reset < 2; needs_reset++) {
			struct fixture *from = needs_reset ? y : x;

			save(from, &fdt, &len);
			assert_int_equal(load(y, fdt, len, &err), 0);
			assert_int_equal(status(y), path[i] | (needs_reset ? 0x40 : 0));
			virtio_pci_needs_reset(&y->v);
			free(fdt);
		}
		destroy(y);
	}
}

static void test_state_truncated(void **state)
{
	struct fixture *x = *state, *y = build(N_QUEUES, max_sizes, OFFERED);
	uint32_t len;
	void *fdt;

	start(x);
	save(x, &fdt, &len);
	for (uint32_t cut = 0; cut < len; cut++) {
		void *part = malloc(cut + !cut);
		struct error err = { 0 };

		memcpy(part, fdt, cut);
		assert_true(load(y, part, cut, &err) < 0);
		assert_int_equal(status(y), 0);
		free(part);
	}
	free(fdt);
	destroy(y);
}

/* A number of @cells of a node set to @value in an otherwise good state. NULL words: it is taken. */
static void check_change(struct fixture *x, const char *path, const char *name, uint64_t value,
			 const char *words)
{
	struct fixture *y = build(N_QUEUES, max_sizes, OFFERED);
	struct error err = { 0 };
	int node, prop_len, ret;
	uint32_t len;
	void *fdt;

	save(x, &fdt, &len);
	node = fdt_path_offset(fdt, path);
	assert_non_null(fdt_getprop(fdt, node, name, &prop_len));
	ret = prop_len == 8 ? fdt_setprop_inplace_u64(fdt, node, name, value)
			    : fdt_setprop_inplace_u32(fdt, node, name, (uint32_t)value);
	assert_int_equal(ret, 0);
	ret = load(y, fdt, len, &err);
	if (words && ret == 0)
		fail_msg("%s of %s: 0x%llx is taken", name, path, (unsigned long long)value);
	if (words && !strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	if (!words && ret < 0)
		fail_msg("%s of %s: 0x%llx is refused: %s", name, path, (unsigned long long)value, err.text);
	assert_int_equal(status(y), words ? 0 : (int)y->v.status);
	free(fdt);
	destroy(y);
}

static void test_state_refused(void **state)
{
	static const char t[] = "/virtio-pci", q0[] = "/virtio-pci/queue@0", q3[] = "/virtio-pci/queue@3";
	static const uint8_t statuses[] = { 2, 4, 5, 7, 8, 9, 10, 12, 13, 14, 16, 32, 0x1f, 0x2f };
	struct fixture *x = *state;

	start(x);
	for (unsigned int i = 0; i < ARRAY_SIZE(statuses); i++)
		check_change(x, t, "status", statuses[i], "status");
	check_change(x, t, "status", 0x100, "status");
	check_change(x, t, "status", 3, "enabled at status 0x3");
	check_change(x, t, "status", 0xcf, NULL);
	check_change(x, t, "offered", OFFERED | VIRTIO_BIT(41), NULL);
	check_change(x, t, "accepted", ACCEPTED | VIRTIO_BIT(41),
		     "0x20000000000 that the guest's driver has accepted");
	check_change(x, t, "offered", OFFERED & ~VIRTIO_BIT(7), NULL);
	check_change(x, t, "offered", OFFERED & ~VIRTIO_BIT(6), "accepted");
	check_change(x, t, "accepted", ACCEPTED | 1, "accepted");
	check_change(x, t, "accepted", ACCEPTED | BAD_FEATURE, "accepted");
	check_change(x, t, "accepted", ACCEPTED & ~VIRTIO_BIT(VIRTIO_F_VERSION_1), "accepted");
	check_change(x, t, "isr", 4, "isr");
	check_change(x, t, "config-vector", N_QUEUES + 1, "vector 6 of 6");
	check_change(x, t, "config-vector", 0x10000, "config-vector");
	check_change(x, t, "config-vector", 0xffff, NULL);
	check_change(x, t, "config-generation", 256, "config-generation");
	check_change(x, t, "queue-select", 0x10000, "queue-select");
	check_change(x, t, "queue-select", 0xffff, NULL);
	check_change(x, t, "device-feature-select", UINT32_MAX, NULL);
	check_change(x, t, "queues", N_QUEUES - 1, "queues");
	check_change(x, t, "queues", N_QUEUES + 1, "queues");
	check_change(x, q0, "max-size", 128, "max-size");
	check_change(x, q0, "size", 0, "size");
	check_change(x, q0, "size", 512, "size");
	check_change(x, q0, "size", 192, "power of two");
	check_change(x, q0, "enabled", 2, "enabled");
	check_change(x, q0, "vector", N_QUEUES + 1, "vector 6 of 6");
	check_change(x, q0, "vector", 0x1ffff, "vector");
	check_change(x, q0, "vector", 0xffff, NULL);
	/* As the driver could have written them: vring_init() looks at them. */
	check_change(x, q0, "desc", UINT64_MAX, NULL);
	check_change(x, q3, "size", 1, "size");
	check_change(x, q3, "enabled", 1, "enabled");
	check_change(x, "/virtio-pci/pci", "slot", 2, "slot");
}

/* The source has fewer queues, smaller rings, and less to offer. */
static void test_state_limited(void **state)
{
	static const uint16_t lower[] = { 128, 256, 64 };
	struct fixture *x = build(3, lower, OFFERED & ~VIRTIO_BIT(7)), *y = *state;
	struct error err = { 0 };
	uint32_t len;
	void *fdt;

	start(x);
	save(x, &fdt, &len);
	assert_true(load(y, fdt, len, &err) < 0);
	virtio_pci_limit(&y->v, 3, lower, OFFERED);
	err = (struct error){ 0 };
	assert_int_equal(load(y, fdt, len, &err), 0);
	assert_true(y->v.offered == (OFFERED & ~VIRTIO_BIT(7)));
	free(fdt);
	destroy(x);
}

/* A feature that the source offers and this host does not: it depends on how far the driver has come. */
static void test_state_offered_more(void **state)
{
	static const uint8_t path[] = { 0, 1, 3, 11, 15 };
	const uint64_t more = OFFERED | VIRTIO_BIT(41);

	for (unsigned int accepts = 0; accepts < 2; accepts++) {
		struct fixture *x = build(N_QUEUES, max_sizes, more);

		for (unsigned int i = 0; i < ARRAY_SIZE(path); i++) {
			struct fixture *y = build(N_QUEUES, max_sizes, OFFERED);
			struct error err = { 0 };
			uint32_t len;
			void *fdt;

			if (path[i] == 11)
				accept_features(x, ACCEPTED | (accepts ? VIRTIO_BIT(41) : 0));
			if (i > 0)
				set_status(x, path[i]);
			save(x, &fdt, &len);
			if (path[i] == 3 || (accepts && path[i] > 3)) {
				assert_true(load(y, fdt, len, &err) < 0);
				assert_non_null(strstr(err.text, "0x20000000000 that the guest's driver"));
				assert_true(y->v.offered == OFFERED && status(y) == 0);
			} else {
				assert_int_equal(load(y, fdt, len, &err), 0);
				assert_true(y->v.offered == OFFERED && status(y) == path[i]);
			}
			free(fdt);
			destroy(y);
		}
		destroy(x);
	}
}

/* Anything anywhere in the BAR, saved and loaded now and then: whatever a guest does can be moved. */
static void test_hostile(void **state)
{
	struct fixture *x = *state;
	uint64_t seed = 7;

	for (unsigned int i = 0; i < 60000; i++) {
		unsigned int len, where, at;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		len = 1u << (seed >> 61 & 3);
		where = (unsigned int)(seed >> 58 & 7);
		at = (unsigned int)(seed >> 32) & 0xfffff;
		if (where < 5)
			at &= 0x3f;
		else if (where == 5)
			at = 0x1000 + (at & 0xff);
		else if (where == 6)
			at &= 0xffff;
		if (where < 4)
			at &= ~(len - 1);
		if (at + len > x->v.pci.bar_len[0])
			continue;
		/* Small numbers meet more. */
		fake_vm_mmio_write(x->f, x->v.pci.bar_base[0] + at,
				   seed >> 20 & 1 ? seed >> 8 & 0xf : seed >> 8, len);
		fake_vm_mmio_read(x->f, x->v.pci.bar_base[0] + at, len);
		if (i % 500 == 0) {
			struct error err = { 0 };
			uint32_t fdt_len;
			void *fdt;

			save(x, &fdt, &fdt_len);
			assert_int_equal(load(x, fdt, fdt_len, &err), 0);
			free(fdt);
		}
	}
	start(x);
	assert_int_equal(status(x), 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_transitions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_such_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_enable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kicks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_driver_ok_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_needs_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_master_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_lacks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_any_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_offered_more, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
