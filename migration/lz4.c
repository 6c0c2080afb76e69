/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LZ4 blocks: see the header. */
#include "migration/lz4.h"

#include <errno.h>
#include <string.h>

/* Of the format: the shortest match, and bytes at a block's end that are literals, or begin no match. */
#define LZ4_MIN_MATCH     4u
#define LZ4_LAST_LITERALS 5u
#define LZ4_NO_MATCH      12u
/* Lengths up to here are in the token. */
#define LZ4_RUN 15u
/* So many places without a match, and the search takes larger steps: what cannot be compressed goes quickly.
 */
#define LZ4_PATIENCE 6u

static uint32_t lz4_load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t lz4_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Copies @len bytes, and up to 15 more where @room, the bytes from both places on that there are, allows
 * that. */
static uint8_t *lz4_copy(uint8_t *dst, const uint8_t *src, uint32_t len, uint64_t room)
{
	if (room < len + 15ull) {
		memcpy(dst, src, len);
		return dst + len;
	}
	for (uint32_t i = 0; i < len; i += 16) {
		uint64_t words[2] = { lz4_load64(src + i), lz4_load64(src + i + 8) };

		memcpy(dst + i, words, sizeof(words));
	}
	return dst + len;
}

/* Compressing */

static uint32_t lz4_hash(const uint8_t *p)
{
	return lz4_load32(p) * 2654435761u >> (32 - LZ4_HASH_BITS);
}

/* Returns how many bytes at @a are as those at @b, which is before it, up to @end. */
static uint32_t lz4_count(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
	const uint8_t *start = a;

	for (; end - a >= 8; a += 8, b += 8) {
		uint64_t diff = lz4_load64(a) ^ lz4_load64(b);

		if (diff)
			return (uint32_t)(a - start) + (uint32_t)__builtin_ctzll(diff) / 8;
	}
	while (a < end && *a == *b)
		a++, b++;
	return (uint32_t)(a - start);
}

static uint8_t *lz4_put_length(uint8_t *out, uint32_t len)
{
	for (; len >= 255; len -= 255)
		*out++ = 255;
	*out++ = (uint8_t)len;
	return out;
}

/* Bytes that a sequence of @literals and a match of @match can take. */
static uint32_t lz4_bound(uint32_t literals, uint32_t match)
{
	return 1 + literals / 255 + 1 + literals + 2 + match / 255 + 1;
}

/* Writes literals and the token, whose place is returned through @token. @room as in lz4_copy(). */
static uint8_t *lz4_put_literals(uint8_t *out, const uint8_t *from, uint32_t n, uint64_t room,
				 uint8_t **token)
{
	const uint8_t *start = out;

	*token = out++;
	if (n >= LZ4_RUN)
		out = lz4_put_length(out, n - LZ4_RUN);
	**token = (uint8_t)((n < LZ4_RUN ? n : LZ4_RUN) << 4);
	return lz4_copy(out, from, n, room - min_u64(room, (uint64_t)(out - start)));
}

static uint8_t *lz4_put_match(uint8_t *out, uint32_t offset, uint32_t len, uint8_t *token)
{
	*out++ = (uint8_t)offset;
	*out++ = (uint8_t)(offset >> 8);
	len -= LZ4_MIN_MATCH;
	*token |= (uint8_t)(len < LZ4_RUN ? len : LZ4_RUN);
	return len < LZ4_RUN ? out : lz4_put_length(out, len - LZ4_RUN);
}

/* Finds the next match at *@at or behind it that begins before @limit. Returns where it refers to, or NULL.
 */
static const uint8_t *lz4_find(struct lz4_table *t, const uint8_t *src, const uint8_t **at,
			       const uint8_t *limit)
{
	uint32_t tries = 1u << LZ4_PATIENCE;

	for (const uint8_t *p = *at; p < limit; p += tries++ >> LZ4_PATIENCE) {
		uint32_t hash = lz4_hash(p);
		const uint8_t *seen = src + t->at[hash];

		t->at[hash] = (uint16_t)(p - src);
		if (seen < p && lz4_load32(seen) == lz4_load32(p)) {
			*at = p;
			return seen;
		}
	}
	return NULL;
}

uint32_t lz4_compress(struct lz4_table *table, uint8_t *dst, uint32_t room, const uint8_t *src, uint32_t len)
{
	const uint8_t *end = src + len, *anchor = src, *at = src + 1, *seen;
	const uint8_t *limit = len > LZ4_NO_MATCH ? end - LZ4_NO_MATCH : src;
	uint8_t *out = dst, *token;

	memset(table, 0, sizeof(*table));
	while ((seen = lz4_find(table, src, &at, limit))) {
		uint32_t n, literals, left = room - (uint32_t)(out - dst);

		while (at > anchor && seen > src && at[-1] == seen[-1])
			at--, seen--;
		n = LZ4_MIN_MATCH +
		    lz4_count(at + LZ4_MIN_MATCH, seen + LZ4_MIN_MATCH, end - LZ4_LAST_LITERALS);
		literals = (uint32_t)(at - anchor);
		if (lz4_bound(literals, n) > left)
			return 0;
		out = lz4_put_literals(out, anchor, literals, min_u64(left, (uint64_t)(end - anchor)),
				       &token);
		out = lz4_put_match(out, (uint32_t)(at - seen), n, token);
		at += n;
		anchor = at;
		if (at < limit)
			table->at[lz4_hash(at - 2)] = (uint16_t)(at - 2 - src);
	}
	if (lz4_bound((uint32_t)(end - anchor), 0) > room - (uint32_t)(out - dst))
		return 0;
	out = lz4_put_literals(out, anchor, (uint32_t)(end - anchor), 0, &token);
	return (uint32_t)(out - dst);
}

/* Decompressing */

/* A block as it is read: nothing behind @end is touched. */
struct lz4_input {
	const uint8_t *at, *end;
};

/* Adds a length's further bytes to *@len, where it has any. */
static bool lz4_get_length(struct lz4_input *in, uint32_t *len)
{
	uint8_t byte = 255;

	/* No block has as many bytes as would overflow it. */
	for (bool more = *len == LZ4_RUN; more && byte == 255; *len += byte) {
		if (in->at == in->end)
			return false;
		byte = *in->at++;
	}
	return true;
}

/* Copies @len bytes from @offset before the place, which may be among those that are written. @room: bytes
 * that there are from the place on. */
static uint8_t *lz4_copy_match(uint8_t *out, uint32_t offset, uint32_t len, uint64_t room)
{
	uint8_t *end = out + len;
	uint32_t apart = offset;

	if (offset >= 16 && room >= len + 15ull)
		return lz4_copy(out, out - offset, len, room);
	/* What repeats does so over each multiple of its length: one by which words can be copied. */
	while (apart < 8)
		apart *= 2;
	for (uint32_t n = apart - offset; n > 0 && out < end; n--, out++)
		*out = *(out - offset);
	for (; out < end && room >= len + 7ull; out += 8) {
		uint64_t word = lz4_load64(out - apart);

		memcpy(out, &word, sizeof(word));
	}
	for (; out < end; out++)
		*out = *(out - apart);
	return end;
}

int lz4_decompress(uint8_t *dst, uint32_t len, const uint8_t *src, uint32_t n)
{
	struct lz4_input in = { src, src + n };
	uint8_t *out = dst, *end = dst + len;

	while (in.at < in.end) {
		uint8_t token = *in.at++;
		uint32_t literals = token >> 4, match = token & LZ4_RUN, offset;
		uint64_t room;

		if (!lz4_get_length(&in, &literals))
			return -EINVAL;
		room = min_u64((uint64_t)(in.end - in.at), (uint64_t)(end - out));
		if (literals > room)
			return -EINVAL;
		out = lz4_copy(out, in.at, literals, room);
		in.at += literals;
		/* A block ends with literals. */
		if (in.at == in.end)
			return out == end ? 0 : -EINVAL;
		if (in.end - in.at < 2)
			return -EINVAL;
		offset = (uint32_t)in.at[0] | (uint32_t)in.at[1] << 8;
		in.at += 2;
		if (!lz4_get_length(&in, &match))
			return -EINVAL;
		match += LZ4_MIN_MATCH;
		if (offset == 0 || offset > (uint64_t)(out - dst) || match > (uint64_t)(end - out))
			return -EINVAL;
		out = lz4_copy_match(out, offset, match, (uint64_t)(end - out));
	}
	return -EINVAL;
}
