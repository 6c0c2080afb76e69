/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: found and driven as Linux does it, and as no driver should. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/devices/virtio/virtio_pci_fixture.h"

static void a_driver_finds_a_modern_device(void **state)
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

static void a_driver_starts_the_device_with_what_it_wrote(void **state)
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

static void features_that_do_not_hold_together_are_refused(void **state)
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

static void a_status_that_is_no_step_is_ignored(void **state)
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

/* A vCPU comes back from an illegal write though nobody reads what is said of it: stderr is a pipe that is
 * full. */
static void an_illegal_write_does_not_wait_for_who_reads_of_it(void **state)
{
	struct fixture *x = *state;
	char filler[4096] = { 0 };
	int fds[2], saved = dup(STDERR_FILENO);

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], filler, sizeof(filler)) > 0)
		;
	assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
	dup2(fds[1], STDERR_FILENO);
	alarm(120);
	assert_int_equal(log_start(), 0);
	for (unsigned int i = 0; i < 100; i++)
		set_status(x, 0x44);
	assert_int_equal(status(x), 0);
	log_stop();
	alarm(0);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fds[0]);
	close(fds[1]);
}

static void a_device_that_cannot_start_needs_a_reset(void **state)
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

static void needs_reset_interrupts_once_and_ends_with_a_reset(void **state)
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

static void a_change_before_driver_ok_interrupts_once_with_it(void **state)
{
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	start_msix(x);
	wr(x, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	virtio_pci_notify_config(&x->v);
	virtio_pci_notify_config(&x->v);
	assert_int_equal(taken(x, 0), 0);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), 0);
	set_status(x, 15);
	assert_int_equal(taken(x, 0), 1);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), VIRTIO_PCI_ISR_CONFIG);
	/* From then on each has its own. */
	virtio_pci_notify_config(&x->v);
	assert_int_equal(taken(x, 0), 1);
}

static void a_driver_that_resets_first_hears_of_no_change_before_it(void **state)
{
	struct fixture *x = *state;
	uint32_t generation = rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	virtio_pci_notify_config(&x->v);
	assert_int_not_equal(rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	start(x);
	assert_int_equal(taken(x, 0), 0);
	assert_int_equal(fake_vm_mmio_read(x->f, x->isr, 1), 0);
}

static void needs_reset_before_driver_ok_interrupts_with_it(void **state)
{
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	start_msix(x);
	wr(x, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	virtio_pci_needs_reset(&x->v);
	set_status(x, 15);
	assert_int_equal(status(x), 0x4f);
	assert_int_equal(taken(x, 0), 1);
}

/* The device's thread and the driver meet at DRIVER_OK: one of the two sends the interrupt, and it is one. */
static void *change_config(void *arg)
{
	struct fixture *x = arg;

	virtio_pci_notify_config(&x->v);
	return NULL;
}

static void a_change_at_driver_ok_is_never_lost(void **state)
{
	struct fixture *x = *state;

	for (unsigned int i = 0; i < 200; i++) {
		pthread_t thread;

		to_features_ok(x, ACCEPTED);
		start_msix(x);
		wr(x, VIRTIO_PCI_COMMON_MSIX, 2, 0);
		assert_int_equal(pthread_create(&thread, NULL, change_config, x), 0);
		set_status(x, 15);
		pthread_join(thread, NULL);
		assert_int_equal(taken(x, 0), 1);
	}
}

static void a_reset_leaves_nothing_of_the_driver(void **state)
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
static void a_guest_that_takes_bus_mastering_away_resets(void **state)
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

static void configuration_is_read_only_and_its_generation_changes(void **state)
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
static void an_access_that_meets_no_field_is_ignored(void **state)
{
	struct fixture *x = *state;

	to_features_ok(x, ACCEPTED);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_STATUS, 4), 0xffffffff);
	assert_int_equal(rd(x, VIRTIO_PCI_COMMON_DF + 1, 2), 0xffff);
	assert_true(fake_vm_mmio_read(x->f, x->common + VIRTIO_PCI_COMMON_DFSELECT, 8) == UINT64_MAX);
	assert_true(fake_vm_mmio_read(x->f, x->common + VIRTIO_PCI_COMMON_Q_DESCHI, 8) == UINT64_MAX);
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

/* Every width at every place of the BAR's registers, also those that KVM makes of an access across pages:
 * each either meets a field or is said once, nothing is written beyond it, and what is set stays set. */
static void an_access_of_any_width_at_any_place_does_no_harm(void **state)
{
	const struct log_limit fresh = { 0 };
	struct fixture *x = *state;
	int said = dup(STDERR_FILENO), unheard = open("/dev/null", O_WRONLY);
	uint64_t bar;

	assert_true(dup2(unheard, STDERR_FILENO) >= 0);
	to_features_ok(x, ACCEPTED);
	set_up_queue(x, 0, 256);
	bar = x->v.pci.bar_base[0];
	for (uint64_t at = 0; at < 0x3000; at++) {
		for (unsigned int len = 1; len <= 8; len++) {
			uint8_t data[16];
			bool natural = len == 1 || (len == 2 && at % 2 == 0) || (len == 4 && at % 4 == 0);

			memset(data, 0xee, sizeof(data));
			memcpy(&x->v.log_limit, &fresh, sizeof(fresh));
			bus_read(&x->f->vm.mmio, bar + at, data, len);
			for (unsigned int i = len; i < sizeof(data); i++)
				assert_int_equal(data[i], 0xee);
			if (at < VIRTIO_PCI_COMMON_Q_RESET && !natural && len != 8)
				assert_int_equal(x->v.log_limit.n_logged, 1);
			/* But for the registers' own widths. */
			if (at < VIRTIO_PCI_COMMON_Q_RESET && !natural && len != 8)
				bus_write(&x->f->vm.mmio, bar + at, data, len);
		}
	}
	assert_true(dup2(said, STDERR_FILENO) >= 0);
	close(said);
	close(unheard);
	assert_int_equal(status(x), 11);
	assert_true(x->v.queues[0].desc == 0x100000000u);
	assert_true(x->v.queues[0].driver == 0x100004000u);
	assert_true(x->v.queues[0].device == 0x100008000u);
	assert_int_equal(x->v.queues[0].size, 256);
}

static void a_host_that_lacks_something_fails_and_keeps_nothing(void **state)
{
	struct fixture *x = *state;
	struct virtio_pci other;
	struct error err = { 0 };

	x->f->max_doorbells = x->f->n_doorbells + 3;
	assert_true(add_device(x, &other, N_QUEUES, max_sizes, OFFERED, &err) < 0);
	assert_non_null(strstr(err.text, "queue 3"));
	assert_int_equal(x->f->n_doorbells, N_QUEUES);
	x->f->max_irqs = x->f->n_irqs + 2;
	assert_true(add_device(x, &other, N_QUEUES, max_sizes, OFFERED, &err) < 0);
	assert_int_equal(x->f->n_irqs, N_QUEUES + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_driver_finds_a_modern_device, setup, teardown),
		cmocka_unit_test_setup_teardown(a_driver_starts_the_device_with_what_it_wrote, setup,
						teardown),
		cmocka_unit_test_setup_teardown(features_that_do_not_hold_together_are_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_status_that_is_no_step_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(an_illegal_write_does_not_wait_for_who_reads_of_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_device_that_cannot_start_needs_a_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(needs_reset_interrupts_once_and_ends_with_a_reset, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_change_before_driver_ok_interrupts_once_with_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_driver_that_resets_first_hears_of_no_change_before_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(needs_reset_before_driver_ok_interrupts_with_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_change_at_driver_ok_is_never_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reset_leaves_nothing_of_the_driver, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_takes_bus_mastering_away_resets, setup,
						teardown),
		cmocka_unit_test_setup_teardown(configuration_is_read_only_and_its_generation_changes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_access_that_meets_no_field_is_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(an_access_of_any_width_at_any_place_does_no_harm, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_host_that_lacks_something_fails_and_keeps_nothing, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
