/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes between a disk's file and memory, aligned or not. */
#ifndef FERRY_DEVICES_BLK_TRANSFER_H
#define FERRY_DEVICES_BLK_TRANSFER_H

#include <sys/uio.h>

#include "devices/blk/file.h"

/*
 * Reads the file from @offset on into @iov; writes @iov there. The whole range must lie within the file.
 * @iov is used up. 0 once all is done, or -errno, and then a part may be done. On the disk's thread alone,
 * for both may use the file's bounce buffer, which must not be among @iov unless offset and length are
 * aligned.
 */
int __must_check blk_file_read(struct blk_file *f, struct iovec *iov, unsigned int n, uint64_t offset);
int __must_check blk_file_write(struct blk_file *f, struct iovec *iov, unsigned int n, uint64_t offset);

#endif
