/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Typed frames over a channel. All numbers little-endian. Every frame has a header of 16 bytes, then @len
 *bytes of payload whose bound depends on the type. The peer is hostile: a type that is not expected now, or a
 *length above its bound, ends the migration.
 *
 *	source                                     destination
 *	HELLO {config tree}               ->
 *	                                  <-       READY, or REFUSED {reasons}
 *	RAM, ZERO ... ROUND               ->
 *	WARM {tree}                       ->
 *	                                  <-       WARM_OK, or REFUSED
 *	STATE {tree}                      ->
 *	                                  <-       PREPARED, or REFUSED
 *	COMMIT                            ->
 *	                                  <-       RUNNING {timings}
 */
#ifndef FERRY_MIGRATION_STREAM_H
#define FERRY_MIGRATION_STREAM_H

#include <stdint.h>
#include <sys/uio.h>

#include "migration/channel.h"

#define STREAM_VERSION 1u

enum stream_type {
	STREAM_HELLO = 1, /* arg: STREAM_VERSION; payload: config tree */
	STREAM_READY,
	STREAM_REFUSED, /* payload: reasons as text, up to ERROR_TEXT_MAX bytes */
	STREAM_RAM,     /* arg: gpa; payload: bytes of guest memory, whole pages, up to STREAM_RAM_MAX */
	STREAM_ZERO,    /* arg: gpa; payload: le64, bytes that are zero */
	STREAM_ROUND,   /* arg: number of the round that ends here, from 0 */
	STREAM_WARM,    /* payload: tree of devices' warm state */
	STREAM_WARM_OK,
	STREAM_STATE,    /* payload: tree of everything */
	STREAM_PREPARED, /* payload: struct stream_timings */
	STREAM_COMMIT,
	STREAM_RUNNING, /* payload: struct stream_timings */
	STREAM_N_TYPES,
};

#define STREAM_RAM_MAX (1u << 20)

struct stream_header {
	uint32_t type; /* le32 */
	uint32_t len;  /* le32 */
	uint64_t arg;  /* le64 */
};
_Static_assert(sizeof(struct stream_header) == 16, "wire format");

/* What the destination did while the guest stood still, nanoseconds, le64 each; parts not yet reached are 0.
 */
struct stream_timings {
	uint64_t ram_ns;    /* last RAM frames read into place */
	uint64_t load_ns;   /* STATE checked and loaded */
	uint64_t resume_ns; /* COMMIT to vCPUs running */
};
_Static_assert(sizeof(struct stream_timings) == 24, "wire format");

struct stream {
	struct channel *channel;
	uint64_t bytes_sent, bytes_received;
};

struct stream_frame {
	enum stream_type type;
	uint32_t len;
	uint64_t arg;
};

/* Sends a frame with its payload. 0 or -errno with the reason. */
int __must_check stream_send(struct stream *s, enum stream_type type, uint64_t arg, const void *payload,
			     uint32_t len, struct error *err);

/*
 * Reads a header: type known, length within the type's bound. Then stream_read() takes exactly the payload.
 * -ETIMEDOUT when nothing came for
 * @timeout_ms (-1: wait for ever), -EPIPE when the peer has gone.
 */
int __must_check stream_receive(struct stream *s, struct stream_frame *frame, int timeout_ms,
				struct error *err);
int __must_check stream_read(struct stream *s, void *dst, uint32_t len, struct error *err);

/*
 * Waits for @want and nothing else; a REFUSED becomes -ECONNREFUSED with the peer's reasons in @err. The
 * payload must be exactly @len bytes.
 */
int __must_check stream_expect(struct stream *s, enum stream_type want, void *payload, uint32_t len,
			       int timeout_ms, struct error *err);

const char *stream_type_name(enum stream_type type);

#endif
