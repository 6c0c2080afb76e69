/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loading a kernel: bzImage by the 64-bit protocol (Documentation/arch/x86/boot.rst) and ELF by PVH
 * (xen/include/public/arch-x86/hvm/start_info.h), with initrd and command line.
 */
#ifndef FERRY_VMM_X86_BOOT_H
#define FERRY_VMM_X86_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/util.h"

struct boot_files;
struct error;
struct memory;

/* How the first vCPU begins. */
struct boot_entry {
	/* By the 64-bit protocol, with @info in rsi; else by PVH: 32-bit flat, with @info in ebx. */
	bool long_mode;
	uint64_t rip;
	uint64_t info;
};

/*
 * Loads @files into @m and fills @entry. ACPI tables are at LAYOUT_ACPI. Files are read straight into guest
 * memory, never as a whole into Ferry's. -errno with one line in @err: not a kernel, too little memory (with
 * how much is needed), cannot be read.
 */
int __must_check boot_load(struct memory *m, const struct boot_files *files, struct boot_entry *entry,
			   struct error *err);

#endif
