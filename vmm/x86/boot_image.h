/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel as its file describes it, for the formats that are read from it and for who loads it. Everything
 * in a file is untrusted: a format checks what it puts here.
 */
#ifndef FERRY_VMM_X86_BOOT_IMAGE_H
#define FERRY_VMM_X86_BOOT_IMAGE_H

#include "vmm/log.h"
#include "vmm/memory.h"
#include "vmm/x86/boot_files.h"

/* A format is told by a file's first bytes: the setup header of a bzImage ends before this. */
#define BOOT_HEAD_LEN 0x300u
/* A bound for a file's segments: a vmlinux has a handful. */
#define BOOT_MAX_SEGMENTS 64u

/* A part of a file, and where in guest memory it goes. */
struct boot_segment {
	uint64_t offset;
	uint64_t len;
	uint64_t gpa;
};

struct boot_kernel {
	struct boot_file file;
	/* The file's first bytes, and zeros beyond its end. */
	uint8_t head[BOOT_HEAD_LEN];
	/* A format's plan() fills in the rest. */
	uint64_t rip;
	/* The first gpa above all that the kernel takes before it knows of the initrd. */
	uint64_t end;
	/* The first gpa that the initrd must not reach. */
	uint64_t initrd_end;
	/* Longest command line, without the NUL. */
	uint32_t cmdline_max;
	unsigned int n_segments;
	struct boot_segment segments[BOOT_MAX_SEGMENTS];
};

/* The initrd's place in guest memory; no initrd has length 0. */
struct boot_initrd {
	uint64_t gpa;
	uint64_t len;
};

/* A format of kernels, see boot_bzimage.h and boot_pvh.h. */
struct boot_format {
	/* Returns whether @k's head is of this format. */
	bool (*match)(const struct boot_kernel *k);
	/* Reads and checks what the file asks for, and adds its segments. -errno with one reason in @err. */
	int (*plan)(struct boot_kernel *k, struct error *err);
	/* Writes what the kernel is told to LAYOUT_BOOT_INFO. 0 or -errno. */
	int (*finish)(struct memory *m, const struct boot_kernel *k, const struct boot_initrd *initrd);
	/* A kernel of this format is entered by the 64-bit protocol, see struct boot_entry. */
	bool long_mode;
};

/* Types of ranges in the memory map that the guest is told: those of e820 and of PVH alike. */
#define BOOT_RAM      1u
#define BOOT_RESERVED 2u
/* Ranges below LAYOUT_ACPI, of that area, above it, and above 4 GiB. */
#define BOOT_N_MAP 4u
/* A PC's memory has its first hole here. */
#define BOOT_LOW_END 0xa0000u

struct boot_range {
	uint64_t gpa;
	uint64_t len;
	uint32_t type;
};

/* Fills @map with what the guest is told of its memory, and returns the number of ranges. */
unsigned int boot_map(const struct memory *m, struct boot_range map[BOOT_N_MAP]);

/* Returns whether [offset, offset + len) lies within the file. */
bool boot_in_file(const struct boot_kernel *k, uint64_t offset, uint64_t len);

/* Adds one reason against a kernel, with its path in front. Returns -EINVAL. */
int boot_refuse(const struct boot_kernel *k, struct error *err, const char *why);

/*
 * Takes [gpa, gpa + space) for the kernel, of which the first @len bytes come from the file at @offset. All
 * four numbers are the file's and have no bound yet. -EINVAL with the reason in @err.
 */
int __must_check boot_add_segment(struct boot_kernel *k, uint64_t offset, uint64_t len, uint64_t gpa,
				  uint64_t space, struct error *err);

#endif
