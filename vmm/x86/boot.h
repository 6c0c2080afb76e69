/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading a kernel: bzImage by the 64-bit protocol (Documentation/arch/x86/boot.rst) and ELF by PVH
 * (xen/include/public/arch-x86/hvm/ start_info.h), with initrd and command line.
 */
#ifndef FERRY_VMM_X86_BOOT_H
#define FERRY_VMM_X86_BOOT_H

#include <stdint.h>

#include "vmm/memory.h"

/* How the first vCPU begins. */
struct boot_entry {
	bool long_mode; /* 64-bit protocol: rsi = @info; else PVH: 32-bit flat, ebx = @info */
	uint64_t rip;
	uint64_t info;
};

/*
 * Loads @kernel, and @initrd and @cmdline where not NULL, into @m and fills @entry. @rsdp is the gpa of the
 * ACPI root pointer. Files are read straight into guest memory, never as a whole into Ferry's. -errno with
 * one line in @err: not a kernel, too little memory (with how much is needed), cannot be read.
 */
int __must_check boot_load(struct memory *m, const char *kernel, const char *initrd, const char *cmdline,
			   uint64_t rsdp, struct boot_entry *entry, struct error *err);

#endif
