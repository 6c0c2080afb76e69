/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest boots: the files of its kernel and initrd, and its command line. They stay open for as long as
 * the guest lives, because it boots again from the same ones, whatever their names stand for by then.
 */
#ifndef FERRY_VMM_X86_BOOT_FILES_H
#define FERRY_VMM_X86_BOOT_FILES_H

#include <stdbool.h>

#include "vmm/log.h"

struct boot_file {
	/* -1 if the file is not open. */
	int fd;
	/* "kernel" or "initrd", for messages. */
	const char *what;
	/* For messages, too; the caller's. */
	const char *path;
	uint64_t size;
};

struct boot_files {
	/* Not open where nothing is known of what the guest boots. */
	struct boot_file kernel;
	/* Not open, and of size 0, where there is none. */
	struct boot_file initrd;
	/* Allocated. */
	char *cmdline;
};

/* No files. */
#define BOOT_FILES_NONE ((struct boot_files){ .kernel.fd = -1, .initrd.fd = -1 })

/* Opens the files; @initrd and @cmdline may be NULL. -errno with one reason in @err: then there are none.
 * Paths must outlive @f, which boot_files_close() makes none again. */
int __must_check boot_files_open(struct boot_files *f, const char *kernel, const char *initrd,
				 const char *cmdline, struct error *err);
void boot_files_close(struct boot_files *f);

/* Makes files of these lengths in memory, whose bytes are still to come from elsewhere; an @initrd of 0:
 * there is none. Nobody can make them longer or shorter. Errors as of boot_files_open(). */
int __must_check boot_files_make(struct boot_files *f, uint64_t kernel, uint64_t initrd, const char *cmdline,
				 struct error *err);

static inline bool boot_files_known(const struct boot_files *f)
{
	return f->kernel.fd >= 0;
}

/* Reads all of [offset, offset + len). -errno with one reason in @err. Any thread. */
int __must_check boot_read(const struct boot_file *f, uint64_t offset, void *buf, uint64_t len,
			   struct error *err);

#endif
