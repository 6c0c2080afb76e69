/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of buffers that are used up from their beginning: each function moves *@iov and *@n past the first
 * @len bytes, or past all where there are fewer, and changes the elements.
 */
#ifndef FERRY_DEVICES_BLK_IOV_H
#define FERRY_DEVICES_BLK_IOV_H

#include <stdint.h>
#include <sys/uio.h>

uint64_t blk_iov_len(const struct iovec *iov, unsigned int n);

void blk_iov_skip(struct iovec **iov, unsigned int *n, size_t len);
/* Copies out of the buffers; and into them. */
void blk_iov_get(struct iovec **iov, unsigned int *n, uint8_t *data, size_t len);
void blk_iov_put(struct iovec **iov, unsigned int *n, const uint8_t *data, size_t len);
/* Moves them into @piece, which must have room for *@n elements: returns how many it has now. */
unsigned int blk_iov_cut(struct iovec **iov, unsigned int *n, size_t len, struct iovec *piece);

#endif
