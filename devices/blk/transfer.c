/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes between a disk's file and memory.
 *
 * Direct I/O takes only buffers and ranges that are aligned as the storage asks for, which may be more than
 * the sector that a guest may write. The rest goes through the bounce buffer, which is aligned: where a write
 * begins or ends within a block of the storage, the block is read first and written back whole.
 *
 * The bounce buffer goes out by direct I/O, too, and not through the page cache by a second descriptor: the
 * kernel does not promise that a cached page and a direct write beside it see each other, and another host
 * sees neither. Nothing is lost by it: requests come one at a time, on one thread, so no other write of the
 * guest is in the same block meanwhile, and nobody else writes a file that is locked. A block of the storage
 * is written as a whole or not at all, as on a disk that shows sectors of 512 bytes over larger ones.
 */
#define _GNU_SOURCE
#include "devices/blk/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "devices/blk/iov.h"

_Static_assert(2 * BLK_MAX_ALIGN <= BLK_BOUNCE_LEN, "the buffer holds both edges of a request");
_Static_assert(BLK_BOUNCE_LEN % BLK_MAX_ALIGN == 0, "the buffer holds whole blocks of any storage");

/* Leaves direct I/O for a storage that takes less than it says. The page cache has nothing of the file, for
 * all that was written so far went around it, so the file can go through it from here on. */
static int blk_file_end_direct(struct blk_file *f)
{
	int flags = fcntl(f->fd, F_GETFL);

	if (flags < 0 || fcntl(f->fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return -errno;
	f->direct = false;
	log_limited(&f->log_limit, LOG_INFO,
		    "the disk %s goes through the host's page cache: its storage does not take direct I/O in "
		    "units of %u bytes",
		    f->path, f->limits.offset_align);
	return 0;
}

/* Whether the limit on the size of files (RLIMIT_FSIZE) cuts the write, which leaves it misaligned. */
static bool blk_file_cuts(const struct blk_file *f, const struct iovec *iov, unsigned int n, uint64_t offset)
{
	struct rlimit limit;

	return !f->is_device && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	       limit.rlim_cur < offset + blk_iov_len(iov, n);
}

/* Transfers as much as the host takes in one go. Returns bytes, or -errno; -EIO at the end of the file. */
static ssize_t blk_file_move(struct blk_file *f, bool write, const struct iovec *iov, unsigned int n,
			     uint64_t offset)
{
	ssize_t moved;

	for (;;) {
		moved = write ? pwritev(f->fd, iov, (int)n, (off_t)offset)
			      : preadv(f->fd, iov, (int)n, (off_t)offset);
		if (moved > 0)
			return moved;
		if (moved == 0)
			return -EIO;
		/* Offset, count and lengths have been checked: with direct I/O, EINVAL is about alignment
		 * alone, that of the storage or of what a limit has left. */
		if (errno == EINVAL && f->direct && write && blk_file_cuts(f, iov, n, offset))
			return -EFBIG;
		if (errno == EINVAL && f->direct && blk_file_end_direct(f) == 0)
			continue;
		if (errno != EINTR)
			return -errno;
	}
}

static int blk_file_move_all(struct blk_file *f, bool write, struct iovec *iov, unsigned int n,
			     uint64_t offset)
{
	while (n > 0) {
		ssize_t moved = blk_file_move(f, write, iov, n, offset);

		if (moved < 0)
			return (int)moved;
		blk_iov_skip(&iov, &n, (size_t)moved);
		offset += (uint64_t)moved;
		/* The file ends, or has come to its limit, within a block: no direct I/O can go on there. */
		if (n > 0 && f->direct && offset % f->limits.offset_align != 0)
			return -EIO;
	}
	return 0;
}

static int blk_file_move_bounce(struct blk_file *f, bool write, uint64_t at, uint64_t len, uint64_t offset)
{
	struct iovec iov = { .iov_base = f->bounce + at, .iov_len = len };

	return blk_file_move_all(f, write, &iov, 1, offset + at);
}

/* Reads the blocks in which [from, to) of the bounce buffer begins and ends, for the bytes around the range.
 * The buffer's first byte is @offset of the file. */
static int blk_file_read_edges(struct blk_file *f, uint64_t from, uint64_t to, uint64_t offset)
{
	uint64_t block = f->limits.offset_align, last = to - to % block;
	int ret = 0;

	if (from > 0)
		ret = blk_file_move_bounce(f, false, 0, block, offset);
	if (ret == 0 && to % block != 0 && (last > 0 || from == 0))
		ret = blk_file_move_bounce(f, false, last, block, offset);
	return ret;
}

/* Transfers whole blocks by way of the bounce buffer, which is aligned as direct I/O wants it. */
static int blk_file_bounce(struct blk_file *f, bool write, struct iovec *iov, unsigned int n, uint64_t offset)
{
	uint64_t left = blk_iov_len(iov, n), block = f->limits.offset_align;
	int ret = 0;

	while (ret == 0 && left > 0) {
		uint64_t from = offset % block, start = offset - from;
		uint64_t to = from + min_u64(left, BLK_BOUNCE_LEN - from);

		if (write) {
			ret = blk_file_read_edges(f, from, to, start);
			if (ret == 0)
				blk_iov_get(&iov, &n, f->bounce + from, to - from);
		}
		if (ret == 0)
			ret = blk_file_move_bounce(f, write, 0, align_up(to, block), start);
		if (ret == 0 && !write)
			blk_iov_put(&iov, &n, f->bounce + from, to - from);
		offset += to - from;
		left -= to - from;
	}
	return ret;
}

static bool blk_file_takes(const struct blk_file *f, const struct iovec *iov, unsigned int n, uint64_t offset)
{
	uintptr_t bases = 0;
	uint64_t units = offset;

	if (!f->direct)
		return true;
	for (unsigned int i = 0; i < n; i++) {
		bases |= (uintptr_t)iov[i].iov_base;
		units |= iov[i].iov_len;
	}
	return bases % f->limits.mem_align == 0 && units % f->limits.offset_align == 0;
}

static int blk_file_transfer(struct blk_file *f, bool write, struct iovec *iov, unsigned int n,
			     uint64_t offset)
{
	if (blk_file_takes(f, iov, n, offset))
		return blk_file_move_all(f, write, iov, n, offset);
	return blk_file_bounce(f, write, iov, n, offset);
}

int blk_file_read(struct blk_file *f, struct iovec *iov, unsigned int n, uint64_t offset)
{
	return blk_file_transfer(f, false, iov, n, offset);
}

int blk_file_write(struct blk_file *f, struct iovec *iov, unsigned int n, uint64_t offset)
{
	return blk_file_transfer(f, true, iov, n, offset);
}
