/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes between a disk's file and guest memory.
 *
 * Direct I/O takes only what is aligned, in memory and in the file, to what the storage asks for, which may
 * be more than the sector that a guest may write. The rest goes through a buffer that is aligned; where a
 * write begins or ends within a block of the storage, the block is read first and written back whole.
 *
 * The detour uses direct I/O, too, and not the page cache by a second descriptor: the kernel does not promise
 * that a cached page and a direct write beside it see each other, and another host sees neither. Nothing is
 * lost by it: requests come one at a time, on one thread, so no other write of the guest's is in the same
 * block meanwhile, and nobody else writes a file that is locked. A block of the storage is written as a whole
 * or not at all, as on a disk that shows sectors of 512 bytes over larger ones of its own.
 */
#define _GNU_SOURCE
#include "devices/blk/blk_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

void blk_iov_skip(struct iovec **iov, unsigned int *n, size_t len)
{
	while (len > 0 && *n > 0) {
		size_t part = min_u64(len, (*iov)->iov_len);

		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + part;
		(*iov)->iov_len -= part;
		len -= part;
		if ((*iov)->iov_len == 0) {
			(*iov)++;
			(*n)--;
		}
	}
}

void blk_iov_copy(struct iovec **iov, unsigned int *n, uint8_t *data, size_t len, bool to_iov)
{
	while (len > 0 && *n > 0) {
		size_t part = min_u64(len, (*iov)->iov_len);

		memcpy(to_iov ? (*iov)->iov_base : data, to_iov ? data : (*iov)->iov_base, part);
		blk_iov_skip(iov, n, part);
		data += part;
		len -= part;
	}
}

unsigned int blk_iov_cut(struct iovec **iov, unsigned int *n, size_t len, struct iovec *piece)
{
	unsigned int n_piece = 0;

	while (len > 0 && *n > 0) {
		size_t part = min_u64(len, (*iov)->iov_len);

		piece[n_piece++] = (struct iovec){ .iov_base = (*iov)->iov_base, .iov_len = part };
		blk_iov_skip(iov, n, part);
		len -= part;
	}
	return n_piece;
}

/* Leaves direct I/O for a storage that takes less than it says. All that was written so far went around the
 * page cache, which has nothing of the file, so the file can go through it from here on. */
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

static uint64_t blk_iov_len(const struct iovec *iov, unsigned int n)
{
	uint64_t len = 0;

	for (unsigned int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* Tells whether the kernel cuts a write at the limit on the size of files, which leaves it misaligned. */
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

/* Reads the blocks in which [from, to) of the bounce buffer begins and ends, but for its own bytes' sake.
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
				blk_iov_copy(&iov, &n, f->bounce + from, to - from, false);
		}
		if (ret == 0)
			ret = blk_file_move_bounce(f, write, 0, align_up(to, block), start);
		if (ret == 0 && !write)
			blk_iov_copy(&iov, &n, f->bounce + from, to - from, true);
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

int blk_file_transfer(struct blk_file *f, bool write, struct iovec *iov, unsigned int n, uint64_t offset)
{
	if (blk_file_takes(f, iov, n, offset))
		return blk_file_move_all(f, write, iov, n, offset);
	return blk_file_bounce(f, write, iov, n, offset);
}
