/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pass over memory: what is marked goes out, pages of zeros as numbers; and its other end. */
#ifndef FERRY_MIGRATION_RAM_H
#define FERRY_MIGRATION_RAM_H

#include "migration/compress.h"
#include "migration/dirty.h"
#include "migration/report.h"
#include "migration/stream.h"

struct ram_pass {
	struct stream *stream;
	struct dirty *dirty;
	struct compress *compress;
	/* A pass keeps sent_bytes, zero_bytes and remaining_bytes up to date. */
	struct report *report;
	/* Called about twice a second, and after each piece of memory, with the bytes that it was on the
	 * wire; a result that is not 0 ends the pass. */
	int (*tick)(void *opaque, struct error *err);
	int (*sent)(void *opaque, uint64_t bytes, struct error *err);
	void *opaque;
	/* Bytes of this pass that went over the wire, those that would have without compression, and the time
	 * that all of it took, which sent() adds to where it waits. */
	uint64_t wire_bytes, plain_bytes;
	uint64_t wire_ns;
	/* Bytes of guest memory, and those of them that are zero. */
	uint64_t bytes, zero_bytes;
};

/* Sends everything that is marked, once. */
int __must_check ram_send(struct ram_pass *pass, struct error *err);

/* Memory as it comes, zeroed but for @left. */
struct ram_arrival {
	/* Bytes that may still come before the round ends, because a round brings each page once. */
	uint64_t left;
	/* A part of the memfd that is there, found by the latest frame of zeros. What is there stays. */
	uint64_t there_start, there_end;
};

/* Takes one RAM or ZERO frame whose header has been received straight into guest memory. Addresses and
 * lengths are checked. */
int __must_check ram_receive(struct stream *s, const struct stream_frame *frame, struct memory *m,
			     struct ram_arrival *a, struct error *err);

/* The same for an LZ4 frame, whose payload, as long as the frame says, has been received to @block. */
int __must_check ram_unpack(const struct stream_frame *frame, const uint8_t *block, struct memory *m,
			    struct ram_arrival *a, struct error *err);

#endif
