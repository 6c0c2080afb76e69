/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The raw file or block device behind a disk: opening, locking, and writing back what the host has cached.
 *
 * The storage behind it can keep a caller for ever. So these functions run before the disk's threads do, or
 * on one of these threads; those that any of the two may call say so.
 */
#ifndef FERRY_DEVICES_BLK_FILE_H
#define FERRY_DEVICES_BLK_FILE_H

#include "devices/blk/limits.h"
#include "vmm/log.h"

/* Long enough for two blocks of any storage that direct I/O is used for: see transfer.c. */
#define BLK_BOUNCE_LEN KIB(256)

/* Owned by the caller. Its members are read by whoever works on the file, and written by file.c and, for
 * @direct, transfer.c. */
struct blk_file {
	int fd;
	const char *path;
	bool read_only;
	bool is_device; /* a block device */
	bool direct;    /* around the host's page cache */
	bool locked;
	/* In bytes: a multiple of @block_len, and of limits.offset_align where @direct. */
	uint64_t len;
	uint32_t block_len; /* bytes of a logical block */
	struct blk_limits limits;
	/* BLK_BOUNCE_LEN bytes, for what direct I/O cannot take as it is. */
	uint8_t *bounce;
	uint8_t *zeroes; /* BLK_BOUNCE_LEN zeroes, never written */
	/* The guest's flush is under way, which takes the longer the more there is to write. Any thread. */
	_Atomic bool flushing;
	/* Writing back failed where the guest does not look, so its next flush is to fail. Any thread. */
	_Atomic bool unreported;
	/* A peer can make the same happen again and again. */
	struct log_limit log_limit;
};

/* The disk's length, in BLK_SECTOR bytes. */
static inline uint64_t blk_file_sectors(const struct blk_file *f)
{
	return f->len >> BLK_SECTOR_SHIFT;
}

/*
 * Opens @path, or what it stands for as of vmm/descriptor.h, which must outlive @f. Refuses what is neither a
 * raw file nor a block device, an odd length, and a device that this host has mounted or uses otherwise. 0 or
 * -errno; then nothing is left open.
 */
int __must_check blk_file_open(struct blk_file *f, const char *path, bool read_only, struct error *err);
/* Gives up the lock, too. A second call does nothing. */
void blk_file_close(struct blk_file *f);

/*
 * Takes the lock of the open file description: shared for a disk that is only read, exclusive otherwise; 0
 * where it is held already. -EAGAIN: another process has it. On block devices the lock works within one
 * host, for it belongs to the host's device node.
 */
int __must_check blk_file_lock(struct blk_file *f, struct error *err);
void blk_file_unlock(struct blk_file *f);

/* Returns 0 once all that was written is on the storage, for a flush of the guest. -errno: some of it is
 * lost, perhaps what blk_file_write_back() has lost before. */
int __must_check blk_file_flush(struct blk_file *f);
/* The same for Ferry itself: a failure is also kept for the guest's next flush. Any of the disk's threads. */
int __must_check blk_file_write_back(struct blk_file *f);

/* Forgets what this host's page cache has of the file, because another host has written to it. Any of the
 * disk's threads. */
void blk_file_drop_cache(struct blk_file *f);

#endif
