/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The few registers that a guest finds on the board: ACPI sleep and reset, the keyboard controller's reset,
 * pvpanic. */
#ifndef FERRY_VMM_X86_PLATFORM_H
#define FERRY_VMM_X86_PLATFORM_H

#include "vmm/vm.h"

/* Adds the registers. The guest's memory need not be there yet. */
int __must_check platform_init(struct vm *vm, struct error *err);

/* Notes in the memory of a guest that is about to boot, before anything else is in it, that no reset is
 * wanted. */
int __must_check platform_power_on(struct vm *vm, struct error *err);

/*
 * Whether a CPU that shut down (a triple fault) was meant to reset the machine: so says the guest's memory,
 * which moves with it. Any thread.
 */
bool platform_reset_wanted(const struct vm *vm);

#endif
