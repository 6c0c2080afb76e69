/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The few registers that a guest finds on the board: ACPI sleep and reset, pvpanic. */
#ifndef FERRY_VMM_X86_PLATFORM_H
#define FERRY_VMM_X86_PLATFORM_H

#include "vmm/vm.h"

int __must_check platform_init(struct vm *vm, struct error *err);

#endif
