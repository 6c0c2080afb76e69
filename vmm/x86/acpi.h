/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables for the guest: hardware-reduced, the DSDT compiled from dsdt.asl at build time. */
#ifndef FERRY_VMM_X86_ACPI_H
#define FERRY_VMM_X86_ACPI_H

#include "vmm/memory.h"

/* Writes RSDP, XSDT, FADT, MADT and DSDT for @cpus vCPUs to LAYOUT_ACPI. 0; -EINVAL for a number of vCPUs
 * that ACPI cannot have; or another -errno, with the reason in @err. */
int __must_check acpi_write(struct memory *m, unsigned int cpus, struct error *err);

#endif
