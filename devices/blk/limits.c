/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits that a disk's storage has by its own word: how direct I/O must be aligned, its blocks, the unit
 * of a discard.
 *
 * The struct statx here is the kernel's own: the C library's may lack the fields that are asked for, so
 * <sys/stat.h> must not be here.
 */
#define _GNU_SOURCE
#include "devices/blk/blk_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Block length of nearly every file system, and of every disk whose sectors are not of 512 bytes. */
#define BLK_USUAL_BLOCK 4096u
/* Larger alignments are no block of a disk. Twice this must fit the bounce buffer, see transfer.c. */
#define BLK_MAX_ALIGN KIB(64)

_Static_assert(2 * BLK_MAX_ALIGN <= BLK_BOUNCE_LEN, "both edges of a request have room");

/* A file of sysfs with one number: 0 if it cannot be read. */
static uint64_t blk_read_number(const char *path)
{
	uint64_t number = 0;
	FILE *file = fopen(path, "re");

	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

/* Reads the unit of a discard from sysfs, for no ioctl() tells it. A partition has what its disk has. */
static uint64_t blk_discard_unit(const struct statx *stx)
{
	static const char *const places[] = { "queue", "../queue" };
	uint64_t unit = 0;
	char path[96];

	for (unsigned int i = 0; unit == 0 && i < ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/discard_granularity",
			 stx->stx_rdev_major, stx->stx_rdev_minor, places[i]);
		unit = blk_read_number(path);
	}
	return unit;
}

static void blk_ask_device(int fd, const struct statx *stx, struct blk_limits *l)
{
	unsigned int physical = 0;
	uint64_t unit = blk_discard_unit(stx);
	int offset = 0;

	if (ioctl(fd, BLKPBSZGET, &physical) == 0 && is_power_of_2(physical) && physical >= l->block_len &&
	    physical <= MIB(1))
		l->physical_len = physical;
	/* -1: the kernel has found that nothing is aligned. */
	if (ioctl(fd, BLKALIGNOFF, &offset) == 0 && offset > 0 && (unsigned int)offset < l->physical_len)
		l->alignment_offset = (unsigned int)offset;
	if (unit >= BLK_SECTOR && unit % BLK_SECTOR == 0 && unit <= GIB(1))
		l->discard_len = (uint32_t)max_u64(unit, l->discard_len);
	/* Multiples of the logical block are right for every driver of a block device, also where its memory
	 * may be less aligned. */
	l->mem_align = l->offset_align = l->block_len;
}

void blk_limits_ask(int fd, bool is_device, uint32_t block_len, struct blk_limits *l)
{
	struct statx stx = { 0 };

	/*
	 * A raw file shows the guest the same on each host, whatever it lies on there. Direct I/O that the
	 * kernel says nothing about: all storage takes what is aligned to its blocks or a multiple.
	 */
	*l = (struct blk_limits){
		.block_len = block_len,
		.physical_len = (uint32_t)max_u64(block_len, BLK_USUAL_BLOCK),
		.discard_len = (uint32_t)max_u64(block_len, BLK_USUAL_BLOCK),
		.mem_align = BLK_USUAL_BLOCK,
		.offset_align = (uint32_t)max_u64(block_len, BLK_USUAL_BLOCK),
	};
	/* From Linux 6.1 on; older ones leave the bit out. */
	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, &stx) < 0)
		stx.stx_mask = 0;
	if (is_device)
		blk_ask_device(fd, &stx, l);
	if (stx.stx_mask & STATX_DIOALIGN) {
		l->mem_align = stx.stx_dio_mem_align;
		l->offset_align = stx.stx_dio_offset_align;
	}
	/* 0: the kernel says that there is no direct I/O. */
	l->can_direct = is_power_of_2(l->mem_align) && l->mem_align <= PAGE_SIZE &&
			is_power_of_2(l->offset_align) && l->offset_align <= BLK_MAX_ALIGN;
}
