/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest boots from goes ahead of its memory, so that it can begin anew where it has come to. The
 * source reads it from its files, a piece at a time; the destination keeps it in files in memory, whose
 * length is fixed. All of it is on the thread of the migration.
 */
#ifndef FERRY_MIGRATION_BOOT_H
#define FERRY_MIGRATION_BOOT_H

#include "migration/outgoing.h"
#include "vmm/x86/boot_files.h"

/* Sends kernel, initrd and command line, where they are known and the peer's version has a place for them. 0,
 * also where they cannot be read or are larger than the guest's memory: then the guest moves without. -errno,
 * with the reason, for what ends the migration. */
int __must_check boot_send(struct outgoing *o, struct error *err);

/* What has come of it. Zeroed but for files, which are none. */
struct boot_arrival {
	struct boot_files files;
	/* Kernel and initrd while they come. */
	uint8_t *maps[2];
	uint64_t n_come;
	/* All of it is there. */
	bool whole;
};

/* Takes a BOOT frame. Lengths are bounded by @mem, the guest's memory. -errno with the reason. */
int __must_check boot_receive(struct boot_arrival *b, struct stream *s, const struct stream_frame *frame,
			      uint64_t mem, struct error *err);
/* Hands what has come to @to, in place of what it had, if it is whole. */
void boot_arrive(struct boot_arrival *b, struct boot_files *to);
/* Frees what nobody has taken. */
void boot_arrival_exit(struct boot_arrival *b);

#endif
