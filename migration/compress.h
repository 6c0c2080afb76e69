/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory made smaller for a connection that is slower than this is. All of it is on the thread of the
 * migration: what the kernel has taken already goes over a slow link meanwhile.
 */
#ifndef FERRY_MIGRATION_COMPRESS_H
#define FERRY_MIGRATION_COMPRESS_H

#include "migration/lz4.h"
#include "migration/source_config.h"

/* Bytes of memory that are compressed before they are sent: so few that a socket's buffer lasts until then.
 */
#define COMPRESS_BATCH (256u << 10)

struct compress_room;

struct compress {
	enum source_compress mode;
	bool on;
	struct compress_room *room; /* NULL until the first block */
	uint32_t n_used;
	/* Bytes of memory that have gone as blocks, and the time that it took to make the latest of them,
	 * which who sends them clears. */
	uint64_t bytes, spent_ns;

	/* Of the window that is being looked at, with zeros left out, and what it takes in all. */
	uint64_t window_bytes, window_ns, window_spent_ns;
	/* Bytes a second without compression; windows until it is tried, and how many it was the last time.
	 */
	uint64_t plain_rate;
	unsigned int n_waits, patience;
	unsigned int n_busy; /* looks that found it to take most of the time */
};

/* @mode, for a destination that @takes blocks or does not. compress_exit() frees; a zeroed one may be passed
 * to it, and makes nothing smaller. */
void compress_init(struct compress *c, enum source_compress mode, bool takes);
void compress_exit(struct compress *c);

/* Makes an LZ4 frame's payload of @len bytes of guest memory. Returns its length, with the payload at
 * *@payload until compress_sent(), or 0: the memory is to be sent as it is. */
uint32_t compress_block(struct compress *c, const uint8_t *memory, uint64_t len, uint8_t **payload);

/* Says that all blocks are sent, and with them @bytes of memory in all which is not zero; it took @ns. */
void compress_sent(struct compress *c, uint64_t bytes, uint64_t ns);

#endif
