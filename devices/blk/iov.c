/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of buffers that are used up from their beginning. */
#include "devices/blk/iov.h"

#include <string.h>

#include "vmm/util.h"

uint64_t blk_iov_len(const struct iovec *iov, unsigned int n)
{
	uint64_t len = 0;

	for (unsigned int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

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

void blk_iov_get(struct iovec **iov, unsigned int *n, uint8_t *data, size_t len)
{
	while (len > 0 && *n > 0) {
		size_t part = min_u64(len, (*iov)->iov_len);

		memcpy(data, (*iov)->iov_base, part);
		blk_iov_skip(iov, n, part);
		data += part;
		len -= part;
	}
}

void blk_iov_put(struct iovec **iov, unsigned int *n, const uint8_t *data, size_t len)
{
	while (len > 0 && *n > 0) {
		size_t part = min_u64(len, (*iov)->iov_len);

		memcpy((*iov)->iov_base, data, part);
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
