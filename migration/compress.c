/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks of guest memory, and whether it is worth while to make them: see the header. */
#include "migration/compress.h"

#include <stdlib.h>

#include "migration/stream.h"

/* What is not made smaller by an eighth goes as it is, straight from where it is. */
#define COMPRESS_LEAST(len) ((len) - (len) / 8)

/* Memory and time after which the connection's speed is looked at: more than what waits in a unix socket, and
 * longer than a host that is busy keeps anybody. A TCP connection's first megabytes go as fast as they are
 * copied, which nobody takes for slow. */
#define COMPRESS_WINDOW    MIB(1)
#define COMPRESS_WINDOW_NS 10000000u
/* A connection that carries so much a second is faster than any compressor, so nothing is tried. */
#define COMPRESS_FAST UINT64_C(1000000000)
/* Windows that are slow before it is tried; and after it has not helped, each time twice as many as before.
 */
#define COMPRESS_SLOW_WINDOWS 2u
#define COMPRESS_PATIENCE     8u
#define COMPRESS_MAX_PATIENCE 256u
/* How long it is tried: what is in memory here and there cannot be made smaller, and TCP takes megabytes at
 * once and then nothing for as long as they need. */
#define COMPRESS_TRIAL_NS 40000000u
/* Times that it was found to take most of the time, after which it has to be tried again. */
#define COMPRESS_MAX_BUSY 2u

struct compress_room {
	/* The guest may write meanwhile, so a copy is made, and compressed. */
	uint8_t copy[LZ4_BLOCK];
	struct lz4_table table;
	uint8_t blocks[COMPRESS_BATCH + LZ4_BLOCK];
};

void compress_init(struct compress *c, enum source_compress mode, bool takes)
{
	*c = (struct compress){ .mode = takes ? mode : SOURCE_COMPRESS_OFF,
				.plain_rate = UINT64_MAX,
				.n_waits = COMPRESS_SLOW_WINDOWS,
				.patience = COMPRESS_PATIENCE };
	c->on = c->mode == SOURCE_COMPRESS_ON;
}

void compress_exit(struct compress *c)
{
	free(c->room);
	c->room = NULL;
}

uint32_t compress_block(struct compress *c, const uint8_t *memory, uint64_t len, uint8_t **payload)
{
	uint64_t start_ns;
	uint32_t n;

	if (!c->on || len > LZ4_BLOCK)
		return 0;
	if (!c->room)
		c->room = malloc(sizeof(*c->room));
	/* Memory is short here, and the guest moves all the same. */
	if (!c->room || sizeof(c->room->blocks) - c->n_used < STREAM_LZ4_HEAD + len)
		return 0;
	start_ns = now_ns();
	*payload = c->room->blocks + c->n_used;
	memcpy(c->room->copy, memory, len);
	put_le32(*payload, (uint32_t)len);
	n = lz4_compress(&c->room->table, *payload + STREAM_LZ4_HEAD, (uint32_t)COMPRESS_LEAST(len),
			 c->room->copy, (uint32_t)len);
	c->spent_ns += now_ns() - start_ns;
	if (n == 0)
		return 0;
	c->n_used += STREAM_LZ4_HEAD + n;
	c->bytes += len;
	return STREAM_LZ4_HEAD + n;
}

static uint64_t compress_rate(uint64_t bytes, uint64_t ns)
{
	return (uint64_t)((double)bytes / (double)ns * 1e9);
}

/* Not worth while, now: memory goes as it is, and the next attempt is later than the last. */
static void compress_end(struct compress *c)
{
	c->on = false;
	c->patience = (unsigned int)min_u64(2ull * c->patience, COMPRESS_MAX_PATIENCE);
	c->n_waits = c->patience;
	c->plain_rate = UINT64_MAX;
}

/* Tries it, if the connection is slow: the slowest window counts, because the first may have begun with what
 * fitted in the socket's buffer. */
static void compress_look(struct compress *c, uint64_t rate)
{
	if (rate > COMPRESS_FAST) {
		c->n_waits = (unsigned int)max_u64(c->n_waits, COMPRESS_SLOW_WINDOWS);
		c->plain_rate = UINT64_MAX;
		return;
	}
	c->plain_rate = min_u64(c->plain_rate, rate);
	if (c->n_waits-- > 1)
		return;
	c->on = true;
	c->n_busy = 0;
}

/* Decides whether it is worth while, by how fast memory has gone since it was tried or last looked at. Where
 * that takes most of the time the connection may have become faster, so now and then that is looked at again.
 */
static void compress_decide(struct compress *c)
{
	uint64_t rate = compress_rate(c->window_bytes, c->window_ns);
	bool busy = c->window_spent_ns > c->window_ns - c->window_ns / 4;

	if (rate < c->plain_rate + c->plain_rate / 8) {
		compress_end(c);
		return;
	}
	c->patience = COMPRESS_PATIENCE;
	c->n_busy += busy;
	if (c->n_busy < COMPRESS_MAX_BUSY)
		return;
	c->on = false;
	c->n_waits = COMPRESS_SLOW_WINDOWS;
	c->plain_rate = UINT64_MAX;
}

void compress_sent(struct compress *c, uint64_t bytes, uint64_t ns)
{
	c->n_used = 0;
	c->window_bytes += bytes;
	c->window_ns += ns;
	c->window_spent_ns += c->spent_ns;
	c->spent_ns = 0;
	if (c->mode != SOURCE_COMPRESS_AUTO || c->window_bytes < COMPRESS_WINDOW ||
	    c->window_ns < (c->on ? COMPRESS_TRIAL_NS : COMPRESS_WINDOW_NS))
		return;
	if (c->on)
		compress_decide(c);
	else
		compress_look(c, compress_rate(c->window_bytes, c->window_ns));
	c->window_bytes = c->window_ns = c->window_spent_ns = 0;
}
