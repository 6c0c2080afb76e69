/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of a disk's file without their bytes: given back, or turned into zeroes. */
#ifndef FERRY_DEVICES_BLK_HOLES_H
#define FERRY_DEVICES_BLK_HOLES_H

#include "devices/blk/file.h"

/*
 * The range must lie within the file. All three run on the disk's thread alone. 0 or -errno.
 *
 * Gives storage back. What the range reads as afterwards is not known: a discard is advice.
 */
int __must_check blk_file_discard(struct blk_file *f, uint64_t offset, uint64_t len);
/* Makes the range read as zeroes: with storage behind it, and without where that is possible. */
int __must_check blk_file_write_zeroes(struct blk_file *f, uint64_t offset, uint64_t len);
int __must_check blk_file_unmap(struct blk_file *f, uint64_t offset, uint64_t len);

#endif
