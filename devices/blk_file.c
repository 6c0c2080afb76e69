/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's file behind a disk: opening and locking it, bytes, flushes, holes. */
#define _GNU_SOURCE
#include "devices/blk_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLK_BOUNCE_LEN KIB(256)
/* Partition tables and the superblocks of file systems, with their identities and times. */
#define BLK_FINGERPRINT_LEN KIB(64)

_Static_assert(BLK_FINGERPRINT_LEN <= BLK_BOUNCE_LEN, "read in one go");

static int blk_file_fail(const struct blk_file *f, const char *what, int ret, struct error *err)
{
	return error_add(err, ret, "cannot %s the disk %s: %s", what, f->path, strerror(-ret));
}

static int blk_file_size(struct blk_file *f, struct error *err)
{
	struct stat st;
	int block_len;

	if (fstat(f->fd, &st) < 0)
		return blk_file_fail(f, "look at", -errno, err);
	f->block_len = BLK_SECTOR;
	f->is_device = S_ISBLK(st.st_mode);
	if (S_ISREG(st.st_mode)) {
		f->len = (uint64_t)st.st_size;
	} else if (f->is_device) {
		if (ioctl(f->fd, BLKGETSIZE64, &f->len) < 0 || ioctl(f->fd, BLKSSZGET, &block_len) < 0)
			return blk_file_fail(f, "ask for the size of", -errno, err);
		f->block_len = (uint32_t)block_len;
	} else {
		return error_add(err, -EINVAL, "the disk %s is %s: a raw file or a block device is needed",
				 f->path, S_ISDIR(st.st_mode) ? "a directory" : "not a file");
	}
	if (f->len == 0)
		return error_add(err, -EINVAL, "the disk %s is empty: give it a size (truncate -s)", f->path);
	if (f->len % f->block_len != 0)
		return error_add(err, -EINVAL,
				 "the disk %s has %llu bytes, which is not a multiple of %u: a raw file is "
				 "needed (truncate -s %%%u)",
				 f->path, (unsigned long long)f->len, f->block_len, f->block_len);
	return 0;
}

/*
 * A disk that is written goes around the host's page cache where the storage can do that in blocks as the
 * guest knows them, from memory that is aligned to no more than that; one read tells. See blk_migrate.c.
 */
static void blk_file_try_direct(struct blk_file *f)
{
	int flags = fcntl(f->fd, F_GETFL);

	if (flags < 0 || fcntl(f->fd, F_SETFL, flags | O_DIRECT) < 0)
		return;
	f->direct = pread(f->fd, f->bounce + f->block_len, f->block_len,
			  f->len > f->block_len ? f->block_len : 0) == f->block_len;
	if (!f->direct && fcntl(f->fd, F_SETFL, flags) < 0)
		log_warn("cannot have the page cache back for the disk %s: %s", f->path, strerror(errno));
}

int blk_file_open(struct blk_file *f, const char *path, bool read_only, struct error *err)
{
	/* O_NONBLOCK: a FIFO is to be refused, not waited for. */
	int ret = 0, flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;

	*f = (struct blk_file){ .path = path, .read_only = read_only };
	f->fd = open(path, flags);
	if (f->fd < 0) {
		ret = -errno;
		if (ret == -EISDIR)
			return error_add(err, ret,
					 "the disk %s is a directory: a raw file or a block device is needed",
					 path);
		return error_add(err, ret, "cannot open the disk %s: %s%s", path, strerror(-ret),
				 (ret == -EACCES || ret == -EROFS || ret == -EPERM) && !read_only
					 ? " (\",ro\" behind it is for a disk that is only read)"
					 : "");
	}
	ret = blk_file_size(f, err);
	if (ret == 0 && posix_memalign((void **)&f->bounce, PAGE_SIZE, BLK_BOUNCE_LEN) != 0)
		ret = error_add(err, -ENOMEM, "out of memory for the disk %s", path);
	if (ret < 0) {
		blk_file_close(f);
		return ret;
	}
	if (!read_only)
		blk_file_try_direct(f);
	return 0;
}

void blk_file_close(struct blk_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->locked = false;
	free(f->bounce);
	f->bounce = NULL;
}

int blk_file_lock(struct blk_file *f, struct error *err)
{
	struct flock lock = { .l_type = f->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (f->locked)
		return 0;
	if (fcntl(f->fd, F_OFD_SETLK, &lock) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return blk_file_fail(f, "lock", -errno, err);
		return error_add(err, -EAGAIN, "the disk %s is locked by another process that %s it", f->path,
				 f->read_only ? "writes" : "uses");
	}
	f->locked = true;
	return 0;
}

void blk_file_unlock(struct blk_file *f)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (f->locked && fcntl(f->fd, F_OFD_SETLK, &lock) < 0)
		log_warn("cannot give up the lock of the disk %s: %s", f->path, strerror(errno));
	f->locked = false;
}

static void blk_iov_skip(struct iovec **iov, unsigned int *n, size_t len)
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

/* As much as the host takes in one go: bytes, or -errno. The end of the file is where there should be more.
 */
static ssize_t blk_file_move(struct blk_file *f, bool write, const struct iovec *iov, unsigned int n,
			     uint64_t offset)
{
	ssize_t moved;

	do {
		moved = write ? pwritev(f->fd, iov, (int)n, (off_t)offset)
			      : preadv(f->fd, iov, (int)n, (off_t)offset);
	} while (moved < 0 && errno == EINTR);
	if (moved < 0)
		return -errno;
	return moved == 0 ? -EIO : moved;
}

static bool blk_file_takes(const struct blk_file *f, const struct iovec *iov, unsigned int n)
{
	uintptr_t bits = 0;

	if (!f->direct)
		return true;
	for (unsigned int i = 0; i < n; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return bits % f->block_len == 0;
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
	}
	return 0;
}

/* By way of memory that is aligned as direct I/O wants it. */
static int blk_file_bounce(struct blk_file *f, bool write, struct iovec *iov, unsigned int n, uint64_t offset)
{
	size_t left = 0;
	int ret = 0;

	for (unsigned int i = 0; i < n; i++)
		left += iov[i].iov_len;
	while (ret == 0 && left > 0) {
		size_t len = min_u64(left, BLK_BOUNCE_LEN);
		struct iovec bounce = { .iov_base = f->bounce, .iov_len = len };

		if (write)
			blk_iov_copy(&iov, &n, f->bounce, len, false);
		ret = blk_file_move_all(f, write, &bounce, 1, offset);
		if (ret == 0 && !write)
			blk_iov_copy(&iov, &n, f->bounce, len, true);
		offset += len;
		left -= len;
	}
	return ret;
}

int blk_file_transfer(struct blk_file *f, bool write, struct iovec *iov, unsigned int n, uint64_t offset)
{
	if (blk_file_takes(f, iov, n))
		return blk_file_move_all(f, write, iov, n, offset);
	return blk_file_bounce(f, write, iov, n, offset);
}

int blk_file_flush(struct blk_file *f)
{
	int ret = fdatasync(f->fd) < 0 ? -errno : 0;

	return atomic_exchange(&f->unreported, false) && ret == 0 ? -EIO : ret;
}

int blk_file_write_back(struct blk_file *f)
{
	if (f->read_only)
		return 0;
	/* The kernel tells each failure once, and takes what it could not write for written. */
	if (fdatasync(f->fd) < 0)
		f->unreported = true;
	return f->unreported ? -EIO : 0;
}

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

int blk_file_discard(struct blk_file *f, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };
	int ret;

	if (f->is_device)
		ret = ioctl(f->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	else
		ret = blk_file_allocate(f, FALLOC_FL_PUNCH_HOLE, offset, len);
	/* A discard is advice: what stays is as good as what goes. */
	return blk_unsupported(ret) ? 0 : ret;
}

int blk_file_write_zeroes(struct blk_file *f, uint64_t offset, uint64_t len, bool unmap)
{
	int ret = -EOPNOTSUPP;

	if (unmap)
		ret = blk_file_allocate(f, FALLOC_FL_PUNCH_HOLE, offset, len);
	if (blk_unsupported(ret))
		ret = blk_file_allocate(f, FALLOC_FL_ZERO_RANGE, offset, len);
	if (!blk_unsupported(ret))
		return ret;
	memset(f->bounce, 0, BLK_BOUNCE_LEN);
	for (ret = 0; ret == 0 && len > 0;) {
		size_t part = min_u64(len, BLK_BOUNCE_LEN);
		struct iovec iov = { .iov_base = f->bounce, .iov_len = part };

		ret = blk_file_move_all(f, true, &iov, 1, offset);
		offset += part;
		len -= part;
	}
	return ret;
}

/* FNV-1a: this is about mistakes, not about malice. */
int blk_file_fingerprint(struct blk_file *f, uint64_t *fingerprint)
{
	size_t len = min_u64(f->len, BLK_FINGERPRINT_LEN);
	struct iovec iov = { .iov_base = f->bounce, .iov_len = len };
	int ret = blk_file_move_all(f, false, &iov, 1, 0);

	*fingerprint = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; ret == 0 && i < len; i++)
		*fingerprint = (*fingerprint ^ f->bounce[i]) * UINT64_C(0x100000001b3);
	return ret;
}

void blk_file_drop_cache(struct blk_file *f)
{
	int ret = posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);

	if (ret != 0)
		log_warn("cannot drop what is cached of the disk %s: %s", f->path, strerror(ret));
}
