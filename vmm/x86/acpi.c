/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables (ACPI 6.4, chapter 5): RSDP, XSDT, FADT, MADT, and what iasl made from dsdt.asl and the like.
 */
#include "vmm/x86/acpi.h"

#include <errno.h>

#include "vmm/config_device.h"
#include "vmm/x86/layout.h"

#include "dsdt.hex"
#include "ssdt_rtc.hex"
#include "ssdt_vmclock.hex"

/* dsdt.asl and the others repeat these numbers. */
_Static_assert(LAYOUT_SERIAL_PORT == 0x3f8 && LAYOUT_SERIAL_IRQ == 4, "COM1");
_Static_assert(LAYOUT_POWER_IRQ == 5, "EVT0");
_Static_assert(LAYOUT_PVPANIC_PORT == 0x505, "PEVT");
_Static_assert(LAYOUT_SLEEP_CONTROL == 0x600 && LAYOUT_SLEEP_STATUS == 0x601 && LAYOUT_RESET_PORT == 0x602,
	       "BRD0");
_Static_assert(LAYOUT_SLP_TYP_S5 == 5, "_S5");
_Static_assert(LAYOUT_PCI_ADDR_PORT == 0xcf8 && LAYOUT_PCI_DATA_PORT == 0xcfc, "PCI0");
_Static_assert(LAYOUT_PCI_MMIO == 0xc0000000 && LAYOUT_PCI_MMIO_END == 0xfec00000, "PCI0");

_Static_assert(LAYOUT_RTC_PORT == 0x70, "RTC0");
_Static_assert(LAYOUT_VMCLOCK == 0xdf000 && PAGE_SIZE == 0x1000, "VCLK");

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* Of the first 20 bytes. */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == 36, "5.2.5.3");

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_header) == 36, "5.2.6");

struct acpi_xsdt {
	struct acpi_header header;
	uint64_t entries[4]; /* as many as the length says */
} __attribute__((packed));

/* Generic address structure. */
struct acpi_gas {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_gas) == 12, "5.2.3.2");

#define ACPI_GAS_IO   1u
#define ACPI_GAS_BYTE 1u

/* Only what hardware-reduced ACPI leaves of it has a name. */
struct acpi_fadt {
	struct acpi_header header;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved;
	uint8_t preferred_pm_profile;
	uint8_t fixed_hardware[62];
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	uint8_t x_fixed_hardware[96];
	struct acpi_gas sleep_control_reg;
	struct acpi_gas sleep_status_reg;
	uint64_t hypervisor_vendor;
} __attribute__((packed));
_Static_assert(offsetof(struct acpi_fadt, iapc_boot_arch) == 109, "5.2.9");
_Static_assert(offsetof(struct acpi_fadt, reset_reg) == 116, "5.2.9");
_Static_assert(offsetof(struct acpi_fadt, x_dsdt) == 140, "5.2.9");
_Static_assert(offsetof(struct acpi_fadt, sleep_control_reg) == 244, "5.2.9");
_Static_assert(sizeof(struct acpi_fadt) == 276, "5.2.9");

enum {
	ACPI_WBINVD = 1 << 0,
	/* No power button (dsdt.asl has one), sleep button or clock among the fixed hardware. */
	ACPI_PWR_BUTTON = 1 << 4,
	ACPI_SLP_BUTTON = 1 << 5,
	ACPI_FIX_RTC = 1 << 6,
	ACPI_RESET_REG_SUP = 1 << 10,
	ACPI_HEADLESS = 1 << 12,
	ACPI_HW_REDUCED_ACPI = 1 << 20,
};

/* IAPC_BOOT_ARCH. What is not set counts, too: no 8042, no other legacy devices, and MSI may be used. */
enum {
	ACPI_VGA_NOT_PRESENT = 1 << 2,
	ACPI_NO_ASPM = 1 << 4,
	ACPI_CMOS_RTC_NOT_PRESENT = 1 << 5,
};

#define ACPI_PROFILE_ENTERPRISE_SERVER 4u

struct acpi_madt {
	struct acpi_header header;
	uint32_t local_interrupt_controller;
	/* Bit 0 is clear: there is no 8259 to be switched off. */
	uint32_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_madt) == 44, "5.2.12");

struct acpi_madt_lapic {
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint8_t apic_id;
	uint32_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_madt_lapic) == 8, "5.2.12.2");

struct acpi_madt_ioapic {
	uint8_t type;
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_madt_ioapic) == 12, "5.2.12.3");

#define ACPI_MADT_LAPIC         0u
#define ACPI_MADT_IOAPIC        1u
#define ACPI_MADT_LAPIC_ENABLED 1u

/* APIC ids are 8 bits, and 0xff means all. */
#define ACPI_MAX_CPUS 254u

static uint8_t acpi_checksum(const void *data, uint64_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	for (uint64_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

static struct acpi_header acpi_header(const char *signature, uint8_t revision, uint64_t len)
{
	struct acpi_header h = {
		.length = (uint32_t)len,
		.revision = revision,
		.oem_id = { 'F', 'E', 'R', 'R', 'Y', ' ' },
		.oem_table_id = { 'F', 'E', 'R', 'R', 'Y', ' ', ' ', ' ' },
		.oem_revision = 1,
		.creator_id = { 'F', 'E', 'R', 'Y' },
		.creator_revision = 1,
	};

	memcpy(h.signature, signature, sizeof(h.signature));
	return h;
}

/*
 * Puts a table, which begins with its header, at *@gpa and moves that on. The checksum that the header had
 * before does not matter.
 */
static int acpi_put(struct memory *m, uint64_t *gpa, const void *table, uint64_t len)
{
	const struct acpi_header *h = table;
	uint8_t checksum = (uint8_t)(acpi_checksum(table, len) + h->checksum);
	uint64_t at = *gpa;
	int ret;

	*gpa = align_up(at + len, 16);
	if (*gpa > LAYOUT_RESET_VECTOR)
		return -ENOSPC;
	ret = memory_write(m, at, table, len);
	return ret < 0 ? ret : memory_write(m, at + offsetof(struct acpi_header, checksum), &checksum, 1);
}

static struct acpi_gas acpi_io_byte(uint64_t port)
{
	return (struct acpi_gas){ ACPI_GAS_IO, 8, 0, ACPI_GAS_BYTE, port };
}

static int acpi_put_fadt(struct memory *m, uint64_t *gpa, uint64_t dsdt, unsigned int devices)
{
	struct acpi_fadt fadt = {
		.header = acpi_header("FACP", 6, sizeof(fadt)),
		.dsdt = (uint32_t)dsdt,
		.preferred_pm_profile = ACPI_PROFILE_ENTERPRISE_SERVER,
		.iapc_boot_arch = ACPI_VGA_NOT_PRESENT | ACPI_NO_ASPM | ACPI_CMOS_RTC_NOT_PRESENT,
		.flags = ACPI_WBINVD | ACPI_PWR_BUTTON | ACPI_SLP_BUTTON | ACPI_FIX_RTC | ACPI_RESET_REG_SUP |
			 ACPI_HEADLESS | ACPI_HW_REDUCED_ACPI,
		.reset_reg = acpi_io_byte(LAYOUT_RESET_PORT),
		.reset_value = LAYOUT_RESET_VALUE,
		.minor_version = 4,
		.x_dsdt = dsdt,
		.sleep_control_reg = acpi_io_byte(LAYOUT_SLEEP_CONTROL),
		.sleep_status_reg = acpi_io_byte(LAYOUT_SLEEP_STATUS),
	};

	if (config_has_device(devices, CONFIG_DEVICE_RTC)) {
		fadt.iapc_boot_arch &= (uint16_t)~ACPI_CMOS_RTC_NOT_PRESENT;
		fadt.century = LAYOUT_RTC_CENTURY;
	}
	return acpi_put(m, gpa, &fadt, sizeof(fadt));
}

static int acpi_put_madt(struct memory *m, uint64_t *gpa, unsigned int cpus)
{
	struct {
		struct acpi_madt madt;
		struct acpi_madt_ioapic ioapic;
		struct acpi_madt_lapic lapics[ACPI_MAX_CPUS];
	} __attribute__((packed)) t = {
		.madt.local_interrupt_controller = LAYOUT_LAPIC,
		.ioapic = { ACPI_MADT_IOAPIC, sizeof(t.ioapic), 0, 0, LAYOUT_IOAPIC, 0 },
	};
	uint64_t len = sizeof(t.madt) + sizeof(t.ioapic) + cpus * sizeof(t.lapics[0]);

	t.madt.header = acpi_header("APIC", 5, len);
	for (unsigned int i = 0; i < cpus; i++)
		t.lapics[i] = (struct acpi_madt_lapic){ ACPI_MADT_LAPIC, sizeof(t.lapics[0]), (uint8_t)i,
							(uint8_t)i, ACPI_MADT_LAPIC_ENABLED };
	return acpi_put(m, gpa, &t, len);
}

static int acpi_put_rsdp(struct memory *m, uint64_t xsdt)
{
	struct acpi_rsdp rsdp = {
		.signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.oem_id = { 'F', 'E', 'R', 'R', 'Y', ' ' },
		.revision = 2,
		.length = sizeof(rsdp),
		.xsdt_address = xsdt,
	};

	rsdp.checksum = acpi_checksum(&rsdp, 20);
	rsdp.extended_checksum = acpi_checksum(&rsdp, sizeof(rsdp));
	return memory_write(m, LAYOUT_ACPI, &rsdp, sizeof(rsdp));
}

/* Tables of devices that are not on every board. */
static const struct acpi_ssdt {
	enum config_device device;
	const uint8_t *code;
	uint32_t len;
} acpi_ssdts[] = {
	{ CONFIG_DEVICE_RTC, ssdt_rtc_aml_code, sizeof(ssdt_rtc_aml_code) },
	{ CONFIG_DEVICE_VMCLOCK, ssdt_vmclock_aml_code, sizeof(ssdt_vmclock_aml_code) },
};

/* Puts the tables that the XSDT lists, and that at *@xsdt. */
static int acpi_put_listed(struct memory *m, uint64_t *gpa, unsigned int cpus, unsigned int devices,
			   uint64_t dsdt, uint64_t *xsdt)
{
	struct acpi_xsdt t = { 0 };
	unsigned int n = 0;
	uint64_t len;
	int ret;

	t.entries[n++] = *gpa;
	ret = acpi_put_fadt(m, gpa, dsdt, devices);
	t.entries[n++] = *gpa;
	if (ret == 0)
		ret = acpi_put_madt(m, gpa, cpus);
	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(acpi_ssdts); i++) {
		if (!config_has_device(devices, acpi_ssdts[i].device))
			continue;
		t.entries[n++] = *gpa;
		ret = acpi_put(m, gpa, acpi_ssdts[i].code, acpi_ssdts[i].len);
	}
	if (ret < 0)
		return ret;
	len = sizeof(t.header) + n * sizeof(t.entries[0]);
	t.header = acpi_header("XSDT", 1, len);
	*xsdt = *gpa;
	return acpi_put(m, gpa, &t, len);
}

int acpi_write(struct memory *m, unsigned int cpus, unsigned int devices, struct error *err)
{
	const uint64_t dsdt = align_up(LAYOUT_ACPI + sizeof(struct acpi_rsdp), 16);
	uint64_t gpa = dsdt, xsdt = 0;
	int ret;

	if (cpus == 0 || cpus > ACPI_MAX_CPUS) {
		error_add(err, "%u vCPUs are not possible; 1 to %u are", cpus, ACPI_MAX_CPUS);
		return -EINVAL;
	}
	ret = acpi_put(m, &gpa, dsdt_aml_code, sizeof(dsdt_aml_code));
	if (ret == 0)
		ret = acpi_put_listed(m, &gpa, cpus, devices, dsdt, &xsdt);
	if (ret == 0)
		ret = acpi_put_rsdp(m, xsdt);
	if (ret < 0)
		error_add(err, "cannot place the ACPI tables: %s", strerror(-ret));
	return ret;
}
