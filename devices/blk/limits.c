/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits that a disk's storage tells: its blocks, the unit of a discard, the alignment of direct I/O.
 *
 * The struct statx here is the kernel's own, for the C library's may lack the fields that are asked for. So
 * <sys/stat.h> must not be included.
 */
#define _GNU_SOURCE
#include "devices/blk/limits.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Nearly every file system has blocks of this length, and so has every disk whose sectors are not of 512
 * bytes. */
#define BLK_USUAL_BLOCK 4096u

/* Reads a file of sysfs that holds one number: 0 if it cannot be read. */
static uint64_t blk_read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[24] = "";

	if (!file)
		return 0;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	return strtoull(line, NULL, 10);
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
	/* The kernel answers -1 where it has found that nothing is aligned. */
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
	 * A raw file shows the guest the same on each host, whatever it lies on there. Where the kernel says
	 * nothing of direct I/O, an alignment to a multiple of the blocks is right for every storage.
	 */
	*l = (struct blk_limits){
		.block_len = block_len,
		.physical_len = (uint32_t)max_u64(block_len, BLK_USUAL_BLOCK),
		.discard_len = (uint32_t)max_u64(block_len, BLK_USUAL_BLOCK),
		.mem_align = BLK_USUAL_BLOCK,
		.offset_align = (uint32_t)max_u64(block_len, BLK_USUAL_BLOCK),
	};
	/* Kernels before 6.1 leave STATX_DIOALIGN out of the answer. */
	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, &stx) < 0)
		stx.stx_mask = 0;
	if (is_device)
		blk_ask_device(fd, &stx, l);
	if (stx.stx_mask & STATX_DIOALIGN) {
		l->mem_align = stx.stx_dio_mem_align;
		l->offset_align = stx.stx_dio_offset_align;
	}
	/* An alignment of 0 says that there is no direct I/O. */
	l->can_direct = is_power_of_2(l->mem_align) && l->mem_align <= PAGE_SIZE &&
			is_power_of_2(l->offset_align) && l->offset_align <= BLK_MAX_ALIGN;
}
