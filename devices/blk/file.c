/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The raw file or block device behind a disk: opening, locking, writing back. */
#define _GNU_SOURCE
#include "devices/blk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/descriptor.h"

static int blk_file_fail(const struct blk_file *f, const char *what, int ret, struct error *err)
{
	error_add(err, "cannot %s the disk %s: %s", what, f->path, strerror(-ret));
	return ret;
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
		/* A loop device can end within a block, which nobody can read. */
		f->len -= f->len % f->block_len;
	} else {
		error_add(err, "the disk %s is %s: a raw file or a block device is needed", f->path,
			  S_ISDIR(st.st_mode) ? "a directory" : "not a file");
		return -EINVAL;
	}
	if (f->len == 0) {
		error_add(err, "the disk %s is empty: give it a size (truncate -s)", f->path);
		return -EINVAL;
	}
	if (f->len % f->block_len != 0) {
		error_add(err,
			  "the disk %s has %llu bytes, which is not a multiple of %u: a raw file is "
			  "needed (truncate -s %%%u)",
			  f->path, (unsigned long long)f->len, f->block_len, f->block_len);
		return -EINVAL;
	}
	return 0;
}

/*
 * Direct I/O keeps a disk that is written out of the host's page cache, for the reason in migrate.c. A file
 * that ends within a block of the storage is left out: writing that block whole would make the file longer.
 * O_NONBLOCK was for opening alone.
 */
static int blk_file_set_flags(struct blk_file *f, struct error *err)
{
	bool direct = !f->read_only && f->limits.can_direct && f->len % f->limits.offset_align == 0;
	int flags = fcntl(f->fd, F_GETFL);

	/* Some file systems have no direct I/O, and answer EINVAL. */
	f->direct = flags >= 0 && direct && fcntl(f->fd, F_SETFL, (flags & ~O_NONBLOCK) | O_DIRECT) == 0;
	if (flags < 0 || (!f->direct && fcntl(f->fd, F_SETFL, flags & ~O_NONBLOCK) < 0))
		return blk_file_fail(f, "use", -errno, err);
	return 0;
}

/*
 * Refuses a device that this host uses. Two writers destroy what is on a device, and Ferry's lock keeps away
 * only those that ask for it; but the kernel knows claims for a mount, a RAID or a volume, and O_EXCL shows
 * them. Ferry's own claim ends at once, so that a destination on the same host finds the device free, too.
 */
static int blk_file_check_claims(struct blk_file *f, struct error *err)
{
	char path[32];
	int fd;

	if (!f->is_device || f->read_only)
		return 0;
	/* By descriptor, because another device may have the name by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == EBUSY) {
		error_add(err,
			  "the disk %s is in use by this host: unmount it, or take it out of what it is "
			  "a part of",
			  f->path);
		return -EBUSY;
	}
	/* Any other error says nothing of claims. */
	if (fd >= 0)
		close(fd);
	return 0;
}

static uint8_t *blk_file_map(int prot)
{
	void *map = mmap(NULL, BLK_BOUNCE_LEN, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

static int blk_file_alloc(struct blk_file *f, struct error *err)
{
	f->bounce = blk_file_map(PROT_READ | PROT_WRITE);
	/* The zero page stands behind a mapping that is never written, so it takes no memory. */
	f->zeroes = blk_file_map(PROT_READ);
	if (!f->bounce || !f->zeroes) {
		error_add(err, "out of memory for the disk %s", f->path);
		return -ENOMEM;
	}
	return 0;
}

static const char *blk_open_help(int ret, bool read_only)
{
	if (ret == -EBUSY)
		return " (it is in use by this host: unmount it, or take it out of what it is a part of)";
	if ((ret == -EACCES || ret == -EROFS || ret == -EPERM) && !read_only)
		return " (\",ro\" behind it is for a disk that is only read)";
	return "";
}

int blk_file_open(struct blk_file *f, const char *path, bool read_only, struct error *err)
{
	/* O_NONBLOCK, so that a FIFO is refused and not waited for. */
	int ret = 0, flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;

	*f = (struct blk_file){ .path = path, .read_only = read_only };
	f->fd = descriptor_open(path, flags);
	if (f->fd < 0) {
		ret = -errno;
		if (ret == -EISDIR) {
			error_add(err, "the disk %s is a directory: a raw file or a block device is needed",
				  path);
			return ret;
		}
		error_add(err, "cannot open the disk %s: %s%s", path, strerror(-ret),
			  blk_open_help(ret, read_only));
		return ret;
	}
	ret = blk_file_size(f, err);
	if (ret == 0)
		ret = blk_file_check_claims(f, err);
	if (ret == 0) {
		blk_limits_ask(f->fd, f->is_device, f->block_len, &f->limits);
		ret = blk_file_set_flags(f, err);
	}
	if (ret == 0)
		ret = blk_file_alloc(f, err);
	if (ret < 0)
		blk_file_close(f);
	return ret;
}

void blk_file_close(struct blk_file *f)
{
	/* A descriptor that Ferry was started with is one of several for the open file, which has the lock.
	 */
	blk_file_unlock(f);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	if (f->bounce)
		munmap(f->bounce, BLK_BOUNCE_LEN);
	f->bounce = NULL;
	if (f->zeroes)
		munmap(f->zeroes, BLK_BOUNCE_LEN);
	f->zeroes = NULL;
}

int blk_file_lock(struct blk_file *f, struct error *err)
{
	struct flock lock = { .l_type = f->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	int ret;

	if (f->locked)
		return 0;
	do {
		ret = fcntl(f->fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
	} while (ret == -EINTR);
	if (ret < 0) {
		if (ret != -EAGAIN && ret != -EACCES)
			return blk_file_fail(f, "lock", ret, err);
		error_add(err, "the disk %s is locked by another process that %s it", f->path,
			  f->read_only ? "writes" : "uses");
		return -EAGAIN;
	}
	f->locked = true;
	return 0;
}

void blk_file_unlock(struct blk_file *f)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (f->locked && fcntl(f->fd, F_OFD_SETLK, &lock) < 0)
		log_limited(&f->log_limit, LOG_WARN, "cannot give up the lock of the disk %s: %s", f->path,
			    strerror(errno));
	f->locked = false;
}

static int blk_file_sync(struct blk_file *f)
{
	int ret;

	do {
		ret = fdatasync(f->fd) < 0 ? -errno : 0;
	} while (ret == -EINTR);
	return ret;
}

int blk_file_flush(struct blk_file *f)
{
	int ret;

	f->flushing = true;
	ret = blk_file_sync(f);
	f->flushing = false;
	return atomic_exchange(&f->unreported, false) && ret == 0 ? -EIO : ret;
}

int blk_file_write_back(struct blk_file *f)
{
	if (f->read_only)
		return 0;
	/* The kernel tells each failure once, and takes what it could not write for written. */
	if (blk_file_sync(f) < 0)
		f->unreported = true;
	return f->unreported ? -EIO : 0;
}

void blk_file_drop_cache(struct blk_file *f)
{
	int ret = posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);

	if (ret != 0)
		log_limited(&f->log_limit, LOG_WARN, "cannot drop what is cached of the disk %s: %s", f->path,
			    strerror(ret));
}
