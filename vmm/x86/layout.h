/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's physical address space, port space and interrupt lines. ACPI tables tell the guest what stands
 * here. */
#ifndef FERRY_VMM_X86_LAYOUT_H
#define FERRY_VMM_X86_LAYOUT_H

/* RAM is at 0 to 3 GiB, and from 4 GiB (memory.h). The first MiB holds what the boot protocol needs. */
/* A word in a PC's BIOS data area: what kind of reset the guest wants. */
#define LAYOUT_RESET_FLAG 0x472u
#define LAYOUT_GDT        0x500u
/* boot_params, or hvm_start_info with what it points to. */
#define LAYOUT_BOOT_INFO 0x6000u
/* The identity map of the first 4 GiB for the 64-bit entry takes 6 pages. */
#define LAYOUT_PAGE_TABLE 0x9000u
/* The command line has up to LAYOUT_CMDLINE_MAX bytes with the NUL. */
#define LAYOUT_CMDLINE     0x20000u
#define LAYOUT_CMDLINE_MAX 0x1000u
/* A page in the hole below the tables, which no memory map has: VMClock's, where there is one. */
#define LAYOUT_VMCLOCK 0xdf000u
/* ACPI tables, of which the RSDP is the first, reach up to 1 MiB. */
#define LAYOUT_ACPI     0xe0000u
#define LAYOUT_ACPI_END 0x100000u
/* A PC's BIOS starts here: 16 bytes of code that reset the VM. */
#define LAYOUT_RESET_VECTOR 0xffff0u
#define LAYOUT_KERNEL       0x100000u

/* Ferry assigns BARs from here upwards. */
#define LAYOUT_PCI_MMIO     0xc0000000u
#define LAYOUT_PCI_MMIO_END 0xfec00000u
#define LAYOUT_IOAPIC       0xfec00000u
#define LAYOUT_LAPIC        0xfee00000u
/* KVM keeps these two for itself, on Intel. */
#define LAYOUT_IDENTITY_MAP 0xfffbc000u
#define LAYOUT_TSS          0xfffbd000u

/* Ports. */
/* The keyboard controller's command and status. */
#define LAYOUT_KBC_PORT 0x64u
/* The real-time clock's index and data, and its register that has the century. */
#define LAYOUT_RTC_PORT     0x70u
#define LAYOUT_RTC_CENTURY  0x32u
#define LAYOUT_SERIAL_PORT  0x3f8u
#define LAYOUT_PVPANIC_PORT 0x505u
/* ACPI's sleep control register, whose SLP_TYP 5 is S5. */
#define LAYOUT_SLEEP_CONTROL 0x600u
#define LAYOUT_SLEEP_STATUS  0x601u
#define LAYOUT_RESET_PORT    0x602u /* ACPI's reset register. */
#define LAYOUT_RESET_VALUE   0x01u
#define LAYOUT_SLP_TYP_S5    5u
#define LAYOUT_PCI_ADDR_PORT 0xcf8u
/* PCI's reset control register, a byte among those of the address register. */
#define LAYOUT_PCI_RESET     0xcf9u
#define LAYOUT_PCI_DATA_PORT 0xcfcu

#define LAYOUT_SERIAL_IRQ 4u
/* The power button's, edge-triggered. */
#define LAYOUT_POWER_IRQ 5u

#endif
