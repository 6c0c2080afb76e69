/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's physical address space, port space and interrupt lines: one place, and what ACPI tells the
 * guest follows it. */
#ifndef FERRY_VMM_X86_LAYOUT_H
#define FERRY_VMM_X86_LAYOUT_H

/* RAM: 0 to 3 GiB, and from 4 GiB (memory.h). The first MiB holds what the boot protocol needs. */
#define LAYOUT_RESET_FLAG   0x472u /* word in a PC's BIOS data area: what kind of reset the guest wants */
#define LAYOUT_GDT          0x500u
#define LAYOUT_BOOT_INFO    0x6000u  /* boot_params, or hvm_start_info with what it points to */
#define LAYOUT_PAGE_TABLE   0x9000u  /* identity map of the first 4 GiB for the 64-bit entry: 6 pages */
#define LAYOUT_CMDLINE      0x20000u /* up to LAYOUT_CMDLINE_MAX bytes with the NUL */
#define LAYOUT_CMDLINE_MAX  0x1000u
#define LAYOUT_ACPI         0xe0000u /* RSDP first; up to 1 MiB */
#define LAYOUT_ACPI_END     0x100000u
#define LAYOUT_RESET_VECTOR 0xffff0u /* where a PC's BIOS starts: 16 bytes of code that reset the VM */
#define LAYOUT_KERNEL       0x100000u

#define LAYOUT_PCI_MMIO     0xc0000000u /* BARs, assigned by Ferry from here upwards */
#define LAYOUT_PCI_MMIO_END 0xfec00000u
#define LAYOUT_IOAPIC       0xfec00000u
#define LAYOUT_LAPIC        0xfee00000u
#define LAYOUT_IDENTITY_MAP 0xfffbc000u /* KVM's own, on Intel */
#define LAYOUT_TSS          0xfffbd000u

/* Ports. */
#define LAYOUT_KBC_PORT      0x64u /* keyboard controller's command and status */
#define LAYOUT_SERIAL_PORT   0x3f8u
#define LAYOUT_PVPANIC_PORT  0x505u
#define LAYOUT_SLEEP_CONTROL 0x600u /* ACPI sleep control register; S5 is SLP_TYP 5 */
#define LAYOUT_SLEEP_STATUS  0x601u
#define LAYOUT_RESET_PORT    0x602u /* ACPI reset register */
#define LAYOUT_RESET_VALUE   0x01u
#define LAYOUT_SLP_TYP_S5    5u
#define LAYOUT_PCI_ADDR_PORT 0xcf8u
#define LAYOUT_PCI_RESET     0xcf9u /* reset control register, a byte among the address register's */
#define LAYOUT_PCI_DATA_PORT 0xcfcu

#define LAYOUT_SERIAL_IRQ 4u

#endif
