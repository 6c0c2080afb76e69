/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: saved at any moment, loaded or refused, and the same with a hostile guest. */
#include <libfdt.h>

#include "tests/unit/devices/virtio/virtio_pci_fixture.h"

static void save(struct fixture *x, void **fdt, uint32_t *len)
{
	struct state_writer w;

	assert_int_equal(state_open_writer(&w), 0);
	virtio_pci_save(&x->v, &w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static int load(struct fixture *x, const void *fdt, uint32_t len, struct error *err)
{
	struct virtio_pci_loaded loaded;
	struct state_node root;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = virtio_pci_get(&x->v, &root, &loaded);
	if (ret == 0)
		ret = state_finish(&root);
	if (ret == 0)
		virtio_pci_set(&x->v, &loaded);
	return ret;
}

static void a_device_is_as_built_after_a_reset_of_the_machine(void **state)
{
	struct fixture *x = *state;
	void *fdt, *again;
	uint32_t len, again_len;

	save(x, &fdt, &len);
	start(x);
	virtio_pci_notify_config(&x->v);
	virtio_pci_notify_queue(&x->v, 1);
	rd(x, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	wr(x, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xbeef);
	x->n_reset = 0;
	assert_true(virtio_pci_power_on(&x->v));
	assert_int_equal(x->n_reset, 1);
	save(x, &again, &again_len);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, fdt, len);
	start(x);
	assert_int_equal(status(x), 15);
	free(fdt);
	free(again);
}

static void a_device_arrives_as_it_was_saved(void **state)
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

static void a_device_can_be_saved_at_any_step_of_its_driver(void **state)
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

static void truncated_state_is_refused(void **state)
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

/* A property of 4 or 8 bytes set to @value in an otherwise good state. NULL words: it is taken. */
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

static void state_that_no_driver_can_have_written_is_refused(void **state)
{
	static const char t[] = "/virtio/virtio-pci", q0[] = "/virtio/virtio-pci/queue@0",
			  q3[] = "/virtio/virtio-pci/queue@3";
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
	check_change(x, "/virtio/virtio-pci/pci", "slot", 2, "slot");
}

/* The source has fewer queues, smaller rings, and less to offer. */
static void a_host_with_more_queues_takes_a_guest_with_fewer(void **state)
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
static void a_source_that_offered_more_fits_unless_it_was_accepted(void **state)
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
static void whatever_a_guest_has_written_is_saved_and_loaded(void **state)
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
		cmocka_unit_test_setup_teardown(a_device_is_as_built_after_a_reset_of_the_machine, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_device_arrives_as_it_was_saved, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_can_be_saved_at_any_step_of_its_driver, setup,
						teardown),
		cmocka_unit_test_setup_teardown(truncated_state_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(state_that_no_driver_can_have_written_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_host_with_more_queues_takes_a_guest_with_fewer, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_source_that_offered_more_fits_unless_it_was_accepted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(whatever_a_guest_has_written_is_saved_and_loaded, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
