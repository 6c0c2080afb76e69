/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The few registers that a guest finds on the board: ACPI sleep and reset, the keyboard controller's reset,
 * pvpanic. */
#ifndef FERRY_VMM_X86_PLATFORM_H
#define FERRY_VMM_X86_PLATFORM_H

#include <stdbool.h>

#include "vmm/util.h"

struct bus;
struct error;
struct gate;
struct memory;

/* Adds the registers to the bus of ports. What the guest writes there can end or reset the VM: @gate. */
int __must_check platform_init(struct bus *pio, struct gate *gate, struct error *err);

/* Notes in the memory of a guest that is about to boot, before anything else is in it, that no reset is
 * wanted. */
int __must_check platform_power_on(struct memory *m, struct error *err);

/*
 * Returns whether a CPU that shut down (a triple fault) was meant to reset the machine: so says the guest's
 * memory, which moves with it. Any thread.
 */
bool platform_reset_wanted(const struct memory *m);

#endif
