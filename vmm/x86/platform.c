/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI sleep and reset registers, and pvpanic. */
#include "vmm/x86/platform.h"

#include "vmm/x86/layout.h"

#define SLEEP_TYPE_SHIFT 2
#define SLEEP_TYPE_MASK  7u
#define SLEEP_ENABLE     0x20u

#define PVPANIC_PANICKED     0x1u
#define PVPANIC_CRASH_LOADED 0x2u /* the guest's own crash kernel deals with it */

/* Control, status, reset: three registers of a byte each. They read as zero: nothing is in progress. */
static void platform_acpi_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	memset(data, 0, len);
}

static void platform_acpi_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct vm *vm = opaque;
	uint8_t v = *(const uint8_t *)data;

	if (offset == 0 && (v & SLEEP_ENABLE) &&
	    (v >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == LAYOUT_SLP_TYP_S5)
		vm_end(vm, VM_EXIT_POWER_OFF);
	if (offset == LAYOUT_RESET_PORT - LAYOUT_SLEEP_CONTROL && v == LAYOUT_RESET_VALUE)
		vm_end(vm, VM_EXIT_RESET);
}

static void platform_pvpanic_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	memset(data, 0, len);
	*(uint8_t *)data = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void platform_pvpanic_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct vm *vm = opaque;

	if (!(*(const uint8_t *)data & PVPANIC_PANICKED) || vm_ended(vm))
		return;
	log_error("the guest's kernel has panicked");
	vm_end(vm, VM_EXIT_CRASHED);
}

static const struct bus_ops platform_acpi_ops = {
	.read = platform_acpi_read,
	.write = platform_acpi_write,
};

static const struct bus_ops platform_pvpanic_ops = {
	.read = platform_pvpanic_read,
	.write = platform_pvpanic_write,
};

int platform_init(struct vm *vm, struct error *err)
{
	int ret = bus_add(&vm->pio, LAYOUT_SLEEP_CONTROL, LAYOUT_RESET_PORT + 1 - LAYOUT_SLEEP_CONTROL,
			  &platform_acpi_ops, vm);

	if (ret == 0)
		ret = bus_add(&vm->pio, LAYOUT_PVPANIC_PORT, 1, &platform_pvpanic_ops, vm);
	return ret < 0 ? error_add(err, ret, "cannot add the platform's registers: %s", strerror(-ret)) : 0;
}
