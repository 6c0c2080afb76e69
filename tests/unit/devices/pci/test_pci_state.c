/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI bus: saved, loaded or refused; what a stream can claim, and what a hostile guest breaks. */
#include <libfdt.h>

#include "tests/unit/devices/pci/pci_fixture.h"

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
	struct pci_loaded loaded;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = state_child(&node, &root, "bus");
	if (ret == 0)
		ret = x->bus.device.ops->load(&x->bus.device, &node);
	if (ret == 0)
		ret = state_child(&node, &root, "dev");
	if (ret == 0)
		ret = pci_get(&x->dev, &node, &loaded);
	if (ret == 0)
		ret = state_finish(&node);
	if (ret == 0)
		ret = state_finish(&root);
	if (ret == 0)
		pci_set(&x->dev, &loaded);
	return ret;
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

static void a_bus_and_a_function_arrive_as_they_were_saved(void **state)
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

static void a_bus_and_a_function_are_as_built_after_a_reset(void **state)
{
	struct fixture *x = *state;
	void *fdt, *again;
	uint32_t len, again_len;

	port_write(x, 0xcf8, 4, 0);
	save(x, &fdt, &len);
	make_state(x);
	fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(x->bus.device.ops->reset(&x->bus.device, 0), 0);
	pci_reset(&x->dev);
	save(x, &again, &again_len);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, fdt, len);
	/* Nothing of before comes through, and all can be used again. */
	assert_false(x->dev.vectors[0].irq.attached);
	assert_true(pba(x) == 0);
	msix_start(x);
	assert_int_equal(taken(x, 4), 0);
	pci_msix_notify(&x->dev, 0);
	assert_int_equal(taken(x, 0), 1);
	free(fdt);
	free(again);
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
static void messages_sent_ahead_are_given_to_kvm_once(void **state)
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

static void a_table_ahead_that_does_not_fit_is_refused(void **state)
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

static void truncated_state_is_refused(void **state)
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

static void state_that_no_guest_can_have_written_is_refused(void **state)
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

static void a_function_with_other_vectors_is_refused_unless_limited(void **state)
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

static void a_bus_with_other_functions_is_refused_by_their_slots(void **state)
{
	struct fixture *x = *state, *y = build(1);
	struct pci_function other;
	struct error err = { 0 };

	assert_int_equal(accept_from(x, y, &err), 0);
	assert_int_equal(pci_bus_add(&y->bus, &other, &ids, &err), 0);
	assert_true(accept_from(x, y, &err) < 0);
	assert_string_equal(err.text, "PCI slot 2 has a device here, and none at the source");
	err = (struct error){ 0 };
	assert_true(accept_from(y, x, &err) < 0);
	assert_string_equal(err.text, "PCI slot 2 has a device at the source, and none here");
	pci_bus_remove(&other);
	destroy(y);
}

/* A guest that writes anything anywhere. */
static void a_guest_that_writes_anything_anywhere_changes_no_id(void **state)
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
		cmocka_unit_test_setup_teardown(a_bus_and_a_function_arrive_as_they_were_saved, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_bus_and_a_function_are_as_built_after_a_reset, setup,
						teardown),
		cmocka_unit_test_setup_teardown(messages_sent_ahead_are_given_to_kvm_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_table_ahead_that_does_not_fit_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(truncated_state_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(state_that_no_guest_can_have_written_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_function_with_other_vectors_is_refused_unless_limited,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_bus_with_other_functions_is_refused_by_their_slots, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_writes_anything_anywhere_changes_no_id, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
