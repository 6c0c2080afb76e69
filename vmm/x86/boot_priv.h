/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two formats of kernels (boot_bzimage.c, boot_pvh.c) share with what loads them (boot.c). */
#ifndef FERRY_VMM_X86_BOOT_PRIV_H
#define FERRY_VMM_X86_BOOT_PRIV_H

#include "vmm/x86/boot.h"
#include "vmm/x86/layout.h"

/* What decides about a file is in its first bytes: the setup header of a bzImage ends before this. */
#define BOOT_HEAD_LEN     0x300u
#define BOOT_MAX_SEGMENTS 64u

struct boot_file {
	int fd;
	const char *what; /* "kernel", "initrd" */
	const char *path;
	uint64_t size;
};

struct boot_segment {
	uint64_t offset; /* in the file */
	uint64_t len;
	uint64_t gpa;
};

/* A kernel as its file describes it; everything in it has been checked. */
struct boot_kernel {
	struct boot_file file;
	uint8_t head[BOOT_HEAD_LEN]; /* zeros beyond the file's end */
	uint64_t rip;
	uint64_t end;        /* first gpa above all that the kernel takes before it knows of the initrd */
	uint64_t initrd_end; /* first gpa that the initrd must not reach */
	uint32_t cmdline_max;
	unsigned int n_segments;
	struct boot_segment segments[BOOT_MAX_SEGMENTS];
};

/* Where the initrd went; length 0: none. */
struct boot_initrd {
	uint64_t gpa;
	uint64_t len;
};

struct boot_format {
	bool (*match)(const struct boot_kernel *k);
	int (*plan)(struct boot_kernel *k, struct error *err);
	int (*finish)(struct memory *m, const struct boot_kernel *k, const struct boot_initrd *initrd,
		      uint64_t rsdp);
	bool long_mode;
};

/* Memory map as the guest learns it: the types are those of e820 and of PVH alike. */
#define BOOT_RAM      1u
#define BOOT_RESERVED 2u
#define BOOT_N_MAP    4u
#define BOOT_LOW_END  0xa0000u

struct boot_range {
	uint64_t gpa;
	uint64_t len;
	uint32_t type;
};

extern const struct boot_format boot_bzimage, boot_pvh;

/* What the guest is told of its memory; returns the number of ranges. */
unsigned int boot_map(const struct memory *m, struct boot_range map[BOOT_N_MAP]);

int __must_check boot_read(const struct boot_file *f, uint64_t offset, void *buf, uint64_t len,
			   struct error *err);

/* Whether [offset, offset + len) lies within the file. */
bool boot_in_file(const struct boot_kernel *k, uint64_t offset, uint64_t len);

/* One reason against a kernel, with its path in front. */
int boot_refuse(const struct boot_kernel *k, struct error *err, const char *why);

/*
 * Takes [gpa, gpa + space) for the kernel, of which the first @len bytes come from the file at @offset. All
 * four are the file's and have no bound yet.
 */
int __must_check boot_add_segment(struct boot_kernel *k, uint64_t offset, uint64_t len, uint64_t gpa,
				  uint64_t space, struct error *err);

#endif
