/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables for the guest: hardware-reduced, DSDT and SSDTs compiled by iasl at build time. */
#ifndef FERRY_VMM_X86_ACPI_H
#define FERRY_VMM_X86_ACPI_H

#include "vmm/memory.h"

/*
 * Writes RSDP, XSDT, FADT, MADT, DSDT and an SSDT for each of @devices (a set of enum config_device) that
 * ACPI has to name, for @cpus vCPUs to LAYOUT_ACPI. 0; -EINVAL for a number of vCPUs that ACPI cannot have;
 * or another -errno, with the reason in @err.
 */
int __must_check acpi_write(struct memory *m, unsigned int cpus, unsigned int devices, struct error *err);

#endif
