/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables as a guest reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "vmm/config_device.h"
#include "vmm/x86/acpi.h"
#include "vmm/x86/layout.h"

static uint8_t sum(const uint8_t *p, uint32_t len)
{
	uint8_t s = 0;

	for (uint32_t i = 0; i < len; i++)
		s = (uint8_t)(s + p[i]);
	return s;
}

static const uint8_t *table_at(struct memory *m, uint64_t gpa, const char *signature)
{
	const uint8_t *t = memory_at(m, gpa, 36);

	assert_true(gpa >= LAYOUT_ACPI && gpa + get_le32(t + 4) <= LAYOUT_RESET_VECTOR);
	assert_memory_equal(t, signature, 4);
	assert_int_equal(sum(t, get_le32(t + 4)), 0);
	return t;
}

static bool contains(const uint8_t *p, uint32_t len, const void *needle, uint32_t needle_len)
{
	for (uint32_t i = 0; i + needle_len <= len; i++) {
		if (memcmp(p + i, needle, needle_len) == 0)
			return true;
	}
	return false;
}

/* @rtc: the board has a real-time clock. */
static void check_fadt(struct memory *m, const uint8_t *fadt, bool rtc)
{
	const uint8_t *dsdt = table_at(m, get_le64(fadt + 140), "DSDT");
	uint32_t len = get_le32(dsdt + 4);

	assert_int_equal(get_le32(fadt + 4), 276);
	assert_int_equal(get_le32(fadt + 40), get_le64(fadt + 140));
	assert_int_equal(get_le32(fadt + 112) & (1u << 20 | 1u << 10), 1u << 20 | 1u << 10);
	assert_int_equal(get_le16(fadt + 109), rtc ? 0x14 : 0x34);
	assert_int_equal(fadt[108], rtc ? 0x32 : 0);
	/* The registers for reset, sleep control and sleep status are I/O of 8 bits. */
	assert_memory_equal(fadt + 116, "\x01\x08\x00\x01\x02\x06\0\0\0\0\0\0", 12);
	assert_int_equal(fadt[128], LAYOUT_RESET_VALUE);
	assert_memory_equal(fadt + 244, "\x01\x08\x00\x01\x00\x06\0\0\0\0\0\0", 12);
	assert_memory_equal(fadt + 256, "\x01\x08\x00\x01\x01\x06\0\0\0\0\0\0", 12);
	assert_true(contains(dsdt, len, "_S5_\x12", 5));
	assert_true(contains(dsdt, len, "QEMU0001", 8));
	assert_true(contains(dsdt, len, "PCI0", 4));
	assert_true(contains(dsdt, len, "COM1", 4));
}

static void check_madt(const uint8_t *madt, unsigned int cpus)
{
	const uint8_t *p = madt + 44, *end = madt + get_le32(madt + 4);
	unsigned int n_cpus = 0, n_ioapics = 0;

	assert_int_equal(get_le32(madt + 36), LAYOUT_LAPIC);
	assert_int_equal(get_le32(madt + 40), 0);
	for (; p < end; p += p[1]) {
		if (p[0] == 0) {
			assert_int_equal(p[3], n_cpus++);
			assert_int_equal(get_le32(p + 4), 1);
		} else {
			assert_int_equal(p[0], 1);
			assert_int_equal(get_le32(p + 4), LAYOUT_IOAPIC);
			assert_int_equal(get_le32(p + 8), 0);
			n_ioapics++;
		}
	}
	assert_ptr_equal(p, end);
	assert_int_equal(n_cpus, cpus);
	assert_int_equal(n_ioapics, 1);
}

static void acpi_tables_describe_the_machine(void **state)
{
	static const unsigned int cpus[] = { 1, 4, 64 };
	struct error err = { 0 };
	struct memory mem, *m = &mem;

	assert_int_equal(memory_init(m, MIB(16), &err), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cpus); i++) {
		const uint8_t *rsdp = memory_at(m, LAYOUT_ACPI, 36), *xsdt;

		assert_int_equal(acpi_write(m, cpus[i], 0, &err), 0);
		assert_memory_equal(rsdp, "RSD PTR ", 8);
		assert_int_equal(rsdp[15], 2);
		assert_int_equal(sum(rsdp, 20), 0);
		assert_int_equal(sum(rsdp, 36), 0);
		xsdt = table_at(m, get_le64(rsdp + 24), "XSDT");
		assert_int_equal(get_le32(xsdt + 4), 36 + 2 * 8);
		check_fadt(m, table_at(m, get_le64(xsdt + 36), "FACP"), false);
		check_madt(table_at(m, get_le64(xsdt + 44), "APIC"), cpus[i]);
	}
	assert_int_equal(acpi_write(m, 0, 0, &err), -EINVAL);
	assert_int_equal(acpi_write(m, 255, 0, &err), -EINVAL);
	memory_exit(m);
}

static void devices_that_not_every_board_has_are_in_tables_of_their_own(void **state)
{
	static const struct {
		enum config_device device;
		const char *name;
		/* Of the resources: two ports, and a page. */
		const char *where;
		uint32_t where_len;
	} devices[] = {
		{ CONFIG_DEVICE_RTC, "RTC0", "\x47\x01\x70\x00\x70\x00\x01\x02", 8 },
		{ CONFIG_DEVICE_VMCLOCK, "AMZNC10C", "\x00\xf0\x0d\x00\xff\xff\x0d\x00", 8 },
	};
	struct error err = { 0 };
	struct memory mem, *m = &mem;

	assert_int_equal(memory_init(m, MIB(16), &err), 0);
	for (unsigned int set = 0; set < 4; set++) {
		const uint8_t *rsdp = memory_at(m, LAYOUT_ACPI, 36), *xsdt;
		unsigned int n = 2, wanted = 1u << CONFIG_DEVICE_RNG; /* which is on the PCI bus */

		for (unsigned int i = 0; i < 2; i++)
			wanted |= (set >> i & 1) << devices[i].device;
		/* One device after the other is asked for, and the tables are written over those of before.
		 */
		assert_int_equal(acpi_write(m, 64, wanted, &err), 0);
		xsdt = table_at(m, get_le64(rsdp + 24), "XSDT");
		check_fadt(m, table_at(m, get_le64(xsdt + 36), "FACP"), set & 1);
		check_madt(table_at(m, get_le64(xsdt + 44), "APIC"), 64);
		for (unsigned int i = 0; i < 2; i++) {
			const uint8_t *ssdt;

			if (!(set >> i & 1))
				continue;
			ssdt = table_at(m, get_le64(xsdt + 36 + 8 * n++), "SSDT");
			assert_true(contains(ssdt, get_le32(ssdt + 4), devices[i].name,
					     (uint32_t)strlen(devices[i].name)));
			assert_true(
				contains(ssdt, get_le32(ssdt + 4), devices[i].where, devices[i].where_len));
		}
		assert_int_equal(get_le32(xsdt + 4), 36 + n * 8);
	}
	memory_exit(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acpi_tables_describe_the_machine),
		cmocka_unit_test(devices_that_not_every_board_has_are_in_tables_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
