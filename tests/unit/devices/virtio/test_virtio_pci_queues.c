/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues of virtio-pci: sizes, addresses, enabling, reset, vectors and notifications. */
#include <errno.h>

#include "tests/unit/devices/virtio/virtio_pci_fixture.h"
#include "vmm/shortage.h"

static bool kicked(struct fixture *x, unsigned int queue)
{
	uint64_t n;

	return read(x->v.queues[queue].kick_fd, &n, sizeof(n)) == sizeof(n);
}

static void a_size_that_a_queue_cannot_have_is_ignored(void **state)
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
static void a_queue_that_is_not_there_answers_nothing(void **state)
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

static void a_queue_is_enabled_once_and_in_its_time(void **state)
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

static void a_queue_is_reset_and_enabled_by_itself(void **state)
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
static void a_packed_ring_may_have_any_size(void **state)
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

static void a_vector_that_is_not_there_reads_back_as_none(void **state)
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

static void interrupts_come_by_the_vector_or_leave_a_bit(void **state)
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

static void a_notification_of_any_width_kicks_its_queue(void **state)
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

static const unsigned int wide_fields[] = { VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO,
					    VIRTIO_PCI_COMMON_Q_USEDLO };

/* Rings above 4 GiB and above 2^32 of them, written and read as one or as two. */
static void an_address_may_be_accessed_as_one(void **state)
{
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	for (unsigned int queue = 0; queue < 2; queue++) {
		const struct virtio_queue *q = &x->v.queues[queue];
		const uint64_t *const addrs[] = { &q->desc, &q->driver, &q->device };

		wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
		for (unsigned int i = 0; i < ARRAY_SIZE(wide_fields); i++) {
			const uint64_t at = x->common + wide_fields[i];
			const uint64_t addr = UINT64_C(0x123456789abc0000) + 0x1000u * i + queue;

			fake_vm_mmio_write(x->f, at, addr, 8);
			assert_true(*addrs[i] == addr);
			assert_true(fake_vm_mmio_read(x->f, at, 8) == addr);
			assert_int_equal(rd(x, wide_fields[i], 4), 0x9abc0000u + 0x1000u * i + queue);
			assert_int_equal(rd(x, wide_fields[i] + 4, 4), 0x12345678);
			wr(x, wide_fields[i] + 4, 4, 0);
			assert_true(fake_vm_mmio_read(x->f, at, 8) == (uint32_t)addr);
		}
		enable_queue(x, queue);
		/* Final: neither half changes any more. */
		for (unsigned int i = 0; i < ARRAY_SIZE(wide_fields); i++) {
			const uint64_t addr = *addrs[i];

			fake_vm_mmio_write(x->f, x->common + wide_fields[i], UINT64_MAX, 8);
			assert_true(*addrs[i] == addr);
		}
	}
	/* No such queue. */
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, N_QUEUES);
	fake_vm_mmio_write(x->f, x->common + VIRTIO_PCI_COMMON_Q_DESCLO, 1, 8);
	assert_true(fake_vm_mmio_read(x->f, x->common + VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0);
}

static void a_limited_device_shows_fewer_queues_and_features(void **state)
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
static void as_many_queues_as_there_can_be_work(void **state)
{
	struct fixture *x = *state, *y;
	struct error err = { 0 };
	uint16_t sizes[129];

	/* Two for each queue, in the device and in its interrupts. */
	shortage_raise_descriptors();
	if (shortage_check_descriptors(2 * ARRAY_SIZE(sizes) + 1, &err) < 0)
		skip();
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_size_that_a_queue_cannot_have_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queue_that_is_not_there_answers_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queue_is_enabled_once_and_in_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queue_is_reset_and_enabled_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(a_packed_ring_may_have_any_size, setup, teardown),
		cmocka_unit_test_setup_teardown(a_vector_that_is_not_there_reads_back_as_none, setup,
						teardown),
		cmocka_unit_test_setup_teardown(interrupts_come_by_the_vector_or_leave_a_bit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_notification_of_any_width_kicks_its_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_may_be_accessed_as_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_limited_device_shows_fewer_queues_and_features, setup,
						teardown),
		cmocka_unit_test_setup_teardown(as_many_queues_as_there_can_be_work, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
