/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits that a disk's storage tells: its blocks, the unit of a discard, the alignment of direct I/O. */
#ifndef FERRY_DEVICES_BLK_LIMITS_H
#define FERRY_DEVICES_BLK_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/util.h"

/* The unit of every number in requests and configuration (virtio 1.4, "Block Device"). */
#define BLK_SECTOR_SHIFT 9
#define BLK_SECTOR       512u

/* Larger alignments than this are no block of a disk, and direct I/O is not used for them. */
#define BLK_MAX_ALIGN KIB(64)

/* Limits in bytes. */
struct blk_limits {
	uint32_t block_len; /* a logical block, which the guest knows */
	/* The storage writes so much at once, a multiple of @block_len. */
	uint32_t physical_len;
	/* Place of the storage's first physical block. */
	uint32_t alignment_offset;
	uint32_t discard_len; /* the unit of a discard */
	/* There is direct I/O, for memory at multiples of @mem_align, and for offsets and lengths that are
	 * multiples of @offset_align. */
	bool can_direct;
	uint32_t mem_align;
	uint32_t offset_align;
};

/*
 * Asks the kernel about the open file @fd, whose logical blocks have @block_len bytes. Where the kernel says
 * nothing, @l gets values that every storage takes, so this cannot fail. The storage may keep the caller.
 */
void blk_limits_ask(int fd, bool is_device, uint32_t block_len, struct blk_limits *l);

#endif
