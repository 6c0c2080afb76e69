/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI sleep and reset registers, the keyboard controller's reset, and pvpanic. */
#include "vmm/x86/platform.h"

#include <errno.h>

#include "vmm/bus.h"
#include "vmm/gate.h"
#include "vmm/log.h"
#include "vmm/memory.h"
#include "vmm/x86/layout.h"

#define SLEEP_TYPE_SHIFT 2
#define SLEEP_TYPE_MASK  7u
#define SLEEP_ENABLE     0x20u

/*
 * The board has no keyboard controller, and the FADT says so: reads are as where nobody answers, but for the
 * bit that a guest waits for before it writes a command. A driver that looks for the controller all the same
 * finds more bytes waiting than one can hold, and gives up at once. Of its commands only "pulse output lines"
 * is heeded, where line 0, the reset, is among them (its bit is clear).
 */
#define KBC_STATUS      0xfdu
#define KBC_PULSE_MASK  0xf1u
#define KBC_PULSE_RESET 0xf0u

/* Values of LAYOUT_RESET_FLAG, as a kernel's restart leaves it to a PC's firmware, whichever way of resetting
 * it then tries; and as Ferry leaves it before the guest starts. */
#define RESET_FLAG_COLD 0x0000u
#define RESET_FLAG_WARM 0x1234u
#define RESET_FLAG_NONE 0xffffu

#define PVPANIC_PANICKED 0x1u
/* The guest's own crash kernel deals with the panic. */
#define PVPANIC_CRASH_LOADED 0x2u

/* Control, status and reset are three registers of a byte each. They read as zero: nothing is in progress. */
static void platform_acpi_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	memset(data, 0, len);
}

static void platform_acpi_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct gate *gate = opaque;
	uint8_t v = *(const uint8_t *)data;

	if (offset == 0 && (v & SLEEP_ENABLE) &&
	    (v >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == LAYOUT_SLP_TYP_S5)
		gate_end(gate, VM_EXIT_POWER_OFF);
	if (offset == LAYOUT_RESET_PORT - LAYOUT_SLEEP_CONTROL && v == LAYOUT_RESET_VALUE)
		gate_reset(gate);
}

static void platform_kbc_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	*(uint8_t *)data = KBC_STATUS;
}

static void platform_kbc_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct gate *gate = opaque;

	if ((*(const uint8_t *)data & KBC_PULSE_MASK) == KBC_PULSE_RESET)
		gate_reset(gate);
}

static void platform_pvpanic_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	memset(data, 0, len);
	*(uint8_t *)data = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void platform_pvpanic_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct gate *gate = opaque;

	if (!(*(const uint8_t *)data & PVPANIC_PANICKED) || gate_ended(gate))
		return;
	log_error("the guest's kernel has panicked");
	gate_end(gate, VM_EXIT_CRASHED);
}

static const struct bus_ops platform_acpi_ops = {
	.read = platform_acpi_read,
	.write = platform_acpi_write,
};

static const struct bus_ops platform_kbc_ops = {
	.read = platform_kbc_read,
	.write = platform_kbc_write,
};

static const struct bus_ops platform_pvpanic_ops = {
	.read = platform_pvpanic_read,
	.write = platform_pvpanic_write,
};

static const struct platform_range {
	uint16_t port, len;
	const struct bus_ops *ops;
} platform_ranges[] = {
	{ LAYOUT_SLEEP_CONTROL, LAYOUT_RESET_PORT + 1 - LAYOUT_SLEEP_CONTROL, &platform_acpi_ops },
	{ LAYOUT_KBC_PORT, 1, &platform_kbc_ops },
	{ LAYOUT_PVPANIC_PORT, 1, &platform_pvpanic_ops },
};

int platform_init(struct bus *pio, struct gate *gate, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(platform_ranges); i++) {
		const struct platform_range *r = &platform_ranges[i];

		ret = bus_add(pio, r->port, r->len, r->ops, gate);
	}
	if (ret < 0) {
		error_add(err, "cannot add the platform's registers: %s", strerror(-ret));
		return ret;
	}
	return 0;
}

int platform_power_on(struct memory *m, struct error *err)
{
	const uint16_t none = RESET_FLAG_NONE;

	if (memory_write(m, LAYOUT_RESET_FLAG, &none, sizeof(none)) == 0)
		return 0;
	error_add(err, "the guest has no memory where a PC notes its reset");
	return -EFAULT;
}

bool platform_reset_wanted(const struct memory *m)
{
	uint16_t flag = RESET_FLAG_NONE;

	return memory_read(m, LAYOUT_RESET_FLAG, &flag, sizeof(flag)) == 0 &&
	       (flag == RESET_FLAG_COLD || flag == RESET_FLAG_WARM);
}
