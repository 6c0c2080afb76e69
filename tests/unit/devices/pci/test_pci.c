/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI bus: what a guest finds, moves and masks. */
#include "tests/unit/devices/pci/pci_fixture.h"

/* Finding */

/* What Linux does to tell that mechanism #1 is there, and what firmware does to tell #2. */
static void configuration_mechanism_1_is_found(void **state)
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

/* reboot=p: Linux asks for a hard reset first, then for the reset. A byte at the address register alone does
 * it. */
static void the_reset_control_byte_resets(void **state)
{
	struct fixture *x = *state;

	port_write(x, 0xcf8, 4, 0x80000c04);
	for (uint16_t port = 0xcf8; port < 0xd00; port++) {
		if (port != 0xcf9)
			port_write(x, port, 1, 0x0e);
	}
	port_write(x, 0xcf8, 2, 0x0e0e);
	port_write(x, 0xcfa, 2, 0x0e0e);
	assert_int_equal(port_read(x, 0xcf9, 1), 0);
	port_write(x, 0xcf9, 1, 0x02);
	assert_false(x->f->vm.gate.ending);
	assert_int_equal(port_read(x, 0xcf8, 4), 0x80000c04);
	port_write(x, 0xcf9, 1, 0x0e);
	assert_true(x->f->vm.gate.ending);
	assert_int_equal(x->f->vm.gate.exit, VM_EXIT_RESET);
}

static void what_is_not_there_reads_as_all_ones(void **state)
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

static void a_header_shows_the_ids_and_keeps_what_is_fixed(void **state)
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

static void a_full_bus_takes_no_more(void **state)
{
	struct fixture *x = *state;
	struct pci_function *more = calloc(PCI_MAX_SLOTS, sizeof(*more));
	struct error err = { 0 };
	unsigned int n = 0;

	while (pci_bus_add(&x->bus, &more[n], &ids, &err) == 0)
		n++;
	assert_int_equal(n, PCI_MAX_SLOTS - 2);
	assert_int_equal(more[n - 1].slot, PCI_MAX_SLOTS - 1);
	assert_non_null(strstr(err.text, "full"));
	for (unsigned int i = 0; i < n; i++)
		pci_bus_remove(&more[i]);
	free(more);
}

/* BARs */

static void a_bar_says_its_size_and_is_aligned_to_it(void **state)
{
	struct fixture *x = *state;
	struct pci_function other;
	struct error err = { 0 };

	assert_int_equal(fake_config_read(x->f, SLOT, PCI_BASE_ADDRESS_0, 4), LAYOUT_PCI_MMIO);
	fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(fake_config_read(x->f, SLOT, PCI_BASE_ADDRESS_0, 4), (uint32_t)-BAR_BYTES);
	fake_config_write(x->f, SLOT, PCI_BASE_ADDRESS_0, 4, LAYOUT_PCI_MMIO);
	assert_int_equal(x->dev.log_limit.n_logged, 0);

	/* The next is aligned to its own size. */
	assert_int_equal(pci_bus_add(&x->bus, &other, &ids, &err), 0);
	assert_int_equal(pci_bus_add_bar(&x->bus, &other, 2, MIB(1), &dev_ops, x, &err), 0);
	assert_int_equal(fake_config_read(x->f, 2, PCI_BASE_ADDRESS_2, 4), LAYOUT_PCI_MMIO + MIB(1));
	/* The hole ends. */
	assert_true(pci_bus_add_bar(&x->bus, &other, 3, GIB(1), &dev_ops, x, &err) < 0);
	assert_non_null(strstr(err.text, "slot 2"));
	pci_bus_remove(&other);
}

static void a_bar_that_the_guest_moves_stays_and_is_logged_at_most_so_often(void **state)
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

static void the_window_reaches_registers_and_nothing_else(void **state)
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

static void the_msix_capability_says_how_many_and_where(void **state)
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

static void the_table_takes_aligned_dwords_and_qwords_alone(void **state)
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

static void a_vector_delivers_its_message(void **state)
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

static void a_masked_vector_stays_pending_until_it_is_unmasked(void **state)
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

static void a_new_message_counts_at_once(void **state)
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
static void a_message_that_kvm_refuses_is_logged_and_can_be_repaired(void **state)
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

static void a_host_without_vectors_fails_and_keeps_none(void **state)
{
	struct fixture *x = *state;
	struct pci_function other;
	struct error err = { 0 };

	x->f->max_irqs = N_VECTORS + 3;
	assert_int_equal(pci_bus_add(&x->bus, &other, &ids, &err), 0);
	assert_true(pci_msix_init(&other, 4, 0, 0, 0x800, &err) < 0);
	assert_non_null(strstr(err.text, "vector 3 of 4"));
	assert_int_equal(x->f->n_irqs, N_VECTORS);
	pci_bus_remove(&other);
}

static void vectors_beyond_the_limit_are_gone(void **state)
{
	struct fixture *x = *state;

	pci_msix_limit(&x->dev, 3);
	assert_int_equal(x->f->n_irqs, 3);
	assert_int_equal(fake_config_read(x->f, SLOT, x->msix + PCI_MSIX_FLAGS, 2), 2);
	assert_int_equal(fake_vm_mmio_read(x->f, entry_addr(3, 0), 4), 0xffffffff);
	pci_msix_notify(&x->dev, 3);
	assert_true(pba(x) == 0);
}

int main(void)
{
	log_level = LOG_WARN;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(configuration_mechanism_1_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(the_reset_control_byte_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_there_reads_as_all_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(a_header_shows_the_ids_and_keeps_what_is_fixed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_bus_takes_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bar_says_its_size_and_is_aligned_to_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_bar_that_the_guest_moves_stays_and_is_logged_at_most_so_often, setup, teardown),
		cmocka_unit_test_setup_teardown(the_window_reaches_registers_and_nothing_else, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_msix_capability_says_how_many_and_where, setup, teardown),
		cmocka_unit_test_setup_teardown(the_table_takes_aligned_dwords_and_qwords_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_vector_delivers_its_message, setup, teardown),
		cmocka_unit_test_setup_teardown(a_masked_vector_stays_pending_until_it_is_unmasked, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_new_message_counts_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_message_that_kvm_refuses_is_logged_and_can_be_repaired,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_host_without_vectors_fails_and_keeps_none, setup, teardown),
		cmocka_unit_test_setup_teardown(vectors_beyond_the_limit_are_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
