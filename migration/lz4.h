/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LZ4's block format (https://github.com/lz4/lz4, doc/lz4_Block_format.md) for blocks of at most LZ4_BLOCK
 * bytes. Of liblz4's archive, whose parts cannot be linked apart, this would be a tenth.
 */
#ifndef FERRY_MIGRATION_LZ4_H
#define FERRY_MIGRATION_LZ4_H

#include <stdint.h>

#include "vmm/util.h"

#define LZ4_BLOCK     65536u
#define LZ4_HASH_BITS 13u

/* Where something was seen in a block, by a hash of it. */
struct lz4_table {
	uint16_t at[1u << LZ4_HASH_BITS];
};

/* Compresses @len bytes, LZ4_BLOCK at most, into @room bytes at @dst. Returns their number, or 0 where they
 * do not fit. Nobody else writes @src meanwhile. */
uint32_t lz4_compress(struct lz4_table *table, uint8_t *dst, uint32_t room, const uint8_t *src, uint32_t len);

/* Makes @len bytes at @dst of a block of @n bytes, which is a stranger's. -EINVAL where it is none, or has
 * more or fewer bytes than that; what is at @dst then is anything. */
int __must_check lz4_decompress(uint8_t *dst, uint32_t len, const uint8_t *src, uint32_t n);

#endif
