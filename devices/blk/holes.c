/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of a disk's file without their bytes: given back, or turned into zeroes. */
#define _GNU_SOURCE
#include "devices/blk/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "devices/blk/transfer.h"

/* Whether the storage has no such call, so that Ferry has to use another. Every other error, ENOSPC too, is
 * the request's. */
static bool blk_unsupported(int ret)
{
	return ret == -EOPNOTSUPP || ret == -ENOSYS;
}

static int blk_file_allocate(struct blk_file *f, int mode, uint64_t offset, uint64_t len)
{
	int ret;

	do {
		ret = fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) < 0 ? -errno
												  : 0;
	} while (ret == -EINTR);
	return ret;
}

/*
 * Shrinks [*start, *end) to the whole blocks in it: false if there are none. A device answers EINVAL to parts
 * of its blocks; a file system writes zeroes to parts of its own blocks itself, so a file's range stays.
 */
static bool blk_file_whole_blocks(const struct blk_file *f, uint64_t *start, uint64_t *end)
{
	if (!f->is_device)
		return true;
	*start = align_up(*start, f->block_len);
	*end -= *end % f->block_len;
	return *start < *end;
}

int blk_file_discard(struct blk_file *f, uint64_t offset, uint64_t len)
{
	uint64_t start = offset, end = offset + len, range[2];
	int ret;

	/* A discard is advice, so blocks that are covered in part may stay. */
	if (!blk_file_whole_blocks(f, &start, &end))
		return 0;
	range[0] = start;
	range[1] = end - start;
	if (f->is_device)
		ret = ioctl(f->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	else
		ret = blk_file_allocate(f, FALLOC_FL_PUNCH_HOLE, start, end - start);
	return blk_unsupported(ret) ? 0 : ret;
}

static int blk_file_fill(struct blk_file *f, uint64_t offset, uint64_t len)
{
	int ret = 0;

	while (ret == 0 && len > 0) {
		struct iovec iov = { .iov_base = f->zeroes, .iov_len = min_u64(len, BLK_BOUNCE_LEN) };
		uint64_t part = iov.iov_len;

		ret = blk_file_write(f, &iov, 1, offset);
		offset += part;
		len -= part;
	}
	return ret;
}

static int blk_file_zero_blocks(struct blk_file *f, uint64_t offset, uint64_t len, bool unmap)
{
	int ret = -EOPNOTSUPP;

	if (unmap)
		ret = blk_file_allocate(f, FALLOC_FL_PUNCH_HOLE, offset, len);
	if (blk_unsupported(ret))
		ret = blk_file_allocate(f, FALLOC_FL_ZERO_RANGE, offset, len);
	return blk_unsupported(ret) ? blk_file_fill(f, offset, len) : ret;
}

static int blk_file_zero(struct blk_file *f, uint64_t offset, uint64_t len, bool unmap)
{
	uint64_t start = offset, end = offset + len;
	int ret;

	if (!blk_file_whole_blocks(f, &start, &end))
		return blk_file_fill(f, offset, len);
	ret = blk_file_fill(f, offset, start - offset);
	if (ret == 0)
		ret = blk_file_zero_blocks(f, start, end - start, unmap);
	return ret == 0 ? blk_file_fill(f, end, offset + len - end) : ret;
}

int blk_file_write_zeroes(struct blk_file *f, uint64_t offset, uint64_t len)
{
	return blk_file_zero(f, offset, len, false);
}

int blk_file_unmap(struct blk_file *f, uint64_t offset, uint64_t len)
{
	return blk_file_zero(f, offset, len, true);
}
