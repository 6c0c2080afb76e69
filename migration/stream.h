/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Typed frames over a channel. All numbers little-endian. Every frame has a header of 16 bytes, then @len
 * bytes of payload whose bound depends on the type. The peer is hostile: a type that is not expected now, or
 * a length above its bound, ends the migration.
 *
 *	source                                     destination
 *	HELLO {config tree}               ->
 *	                                  <-       READY, or REFUSED {reasons}
 *	[BOOT ...]                        ->
 *	RAM, ZERO ... ROUND, SYNC         ->
 *	                                  <-       SYNC_OK
 *	WARM {tree} ...                   ->
 *	                                  <-       WARM_OK, or REFUSED
 *	RAM ... ROUND, SYNC, WARM ...     ->
 *	                                  <-       SYNC_OK, WARM_OK ...
 *	[guest stopped]
 *	RAM, ZERO ... ROUND, STATE {tree} ->
 *	                                  <-       PREPARED, or REFUSED
 *	COMMIT                            ->
 *	                                  <-       RUNNING {timings}
 */
#ifndef FERRY_MIGRATION_STREAM_H
#define FERRY_MIGRATION_STREAM_H

#include <stdint.h>
#include <sys/uio.h>

#include "migration/channel.h"

/* The versions of the protocol that this Ferry speaks. Version 1 is that of Ferry 0.1. */
#define STREAM_OLDEST 1u
#define STREAM_NEWEST 2u
/* The first version whose HELLO can ask for a check alone. */
#define STREAM_OLDEST_CHECK 2u

/* What stands before the reasons of a destination's refusal in an error's text. */
#define STREAM_REFUSAL "destination refused: "

enum stream_type {
	/* arg: the oldest version that the source speaks; the newest is the note beside the tree
	 * (vmm/state.h), which has none in version 1. Payload: {clock, check, vm {memory, cpus, ...}, devices
	 * {count, device@0 {name, config {...}} ...}}. "clock" is the source's time of day, nanoseconds since
	 * 1970; may be left out. "check" is 1 where READY or REFUSED is all that is wanted, and else left
	 * out; there is none in version 1. */
	STREAM_HELLO = 1,
	/* arg: the destination's time of day when the HELLO had come; 0: it does not say. Payload: le32, the
	 * version that is spoken from here on; le32, what else the destination takes, which may be left out;
	 * and what later versions add. Nothing means version 1. */
	STREAM_READY,
	/* Payload: reasons as text, up to ERROR_TEXT_MAX bytes. */
	STREAM_REFUSED,
	/* arg: gpa. Payload: bytes of guest memory, whole pages, up to STREAM_RAM_MAX. */
	STREAM_RAM,
	/* arg: gpa. Payload: le64, bytes that are zero. */
	STREAM_ZERO,
	/* arg: number of the round that ends here, from 0. */
	STREAM_ROUND,
	/* Asks for an answer once all that went before is in its place. */
	STREAM_SYNC,
	/* arg: for how long, of the answer's time, the destination was busy with
	 * something else; nanoseconds. */
	STREAM_SYNC_OK,
	/* Payload: tree of one device's warm state: {device = name, state {...}}. */
	STREAM_WARM,
	STREAM_WARM_OK,
	/* Payload: tree of everything: {vm {...}, devices {name {...} ...}}. */
	STREAM_STATE,
	STREAM_PREPARED, /* payload: struct stream_timings */
	STREAM_COMMIT,
	STREAM_RUNNING, /* payload: struct stream_timings */
	/*
	 * arg: enum stream_boot_kind. Before all memory, and only if at all: what the guest boots from, which
	 * a source may also leave unfinished. First BEGIN: struct stream_boot and the command line. Then
	 * BYTES, all of the kernel's and behind them the initrd's, up to STREAM_RAM_MAX in a frame.
	 */
	STREAM_BOOT,
	/*
	 * arg: gpa. Payload: le32, bytes of guest memory, whole pages, up to LZ4_BLOCK (lz4.h); and a block
	 * that holds them. For a destination that has said STREAM_TAKES_LZ4.
	 */
	STREAM_LZ4,
	STREAM_N_TYPES,
};

enum stream_boot_kind { STREAM_BOOT_BEGIN, STREAM_BOOT_BYTES };

/* The first version with STREAM_BOOT. */
#define STREAM_BOOT_SINCE 2u

/* Lengths in bytes, le64 each; an initrd of 0: there is none. */
struct stream_boot {
	uint64_t kernel_len, initrd_len;
};
_Static_assert(sizeof(struct stream_boot) == 16, "wire format");

/* Bytes of a frame's payload that is guest memory: much against a header, little against
 * a socket's buffer. */
#define STREAM_RAM_MAX (1u << 20)

/* What a destination takes: bits. */
#define STREAM_TAKES_LZ4 1u

/* Bytes of an LZ4 frame's payload before the block. */
#define STREAM_LZ4_HEAD 4u

/* Bytes of a READY's payload: room for what later versions say in it. */
#define STREAM_READY_MAX 64u

struct stream_header {
	uint32_t type; /* le32 */
	uint32_t len;  /* le32 */
	uint64_t arg;  /* le64 */
};
_Static_assert(sizeof(struct stream_header) == 16, "wire format");

/* Times of the destination while the guest stood still, nanoseconds, le64 each; parts not yet
 * reached are 0. */
struct stream_timings {
	uint64_t ram_ns;    /* last RAM frames read into place */
	uint64_t load_ns;   /* STATE checked and loaded */
	uint64_t resume_ns; /* COMMIT to vCPUs running */
};
_Static_assert(sizeof(struct stream_timings) == 24, "wire format");

struct stream {
	struct channel *channel;
	/* For a frame, or several that are sent together, and for the payload of one that comes. */
	int timeout_ms;
	/* The version that both ends have agreed on; 0 before READY. */
	uint32_t version;
	uint32_t takes; /* the peer, a destination: bits STREAM_TAKES_*; 0 before READY */
	uint64_t bytes_sent, bytes_received;
	/* Bytes that were read ahead, and not yet asked for. */
	uint8_t *buffer;
	uint32_t buffer_start, n_buffered;
	/* The latest frame was long, as the next is then: nothing is read ahead. */
	bool direct;
};

struct stream_frame {
	enum stream_type type;
	uint32_t len;
	uint64_t arg;
};

/* Bytes that are read ahead of the frame in hand, so that small frames share a system call. Long payloads go
 * straight to their place, apart from what was read ahead of the first of them. */
#define STREAM_BUFFER 262144u

/* @channel stays the caller's. A zeroed stream may be passed to stream_exit(). */
int __must_check stream_init(struct stream *s, struct channel *channel, int timeout_ms, struct error *err);
/* The same, for a connection of which @n_heard bytes have been read already, into STREAM_BUFFER bytes at
 * @heard, which are the stream's to free(), also on an error. NULL: none. */
int __must_check stream_init_heard(struct stream *s, struct channel *channel, int timeout_ms, uint8_t *heard,
				   uint32_t n_heard, struct error *err);
void stream_exit(struct stream *s);

/*
 * Chooses the newest version that a source and this Ferry both speak, for a source that speaks @oldest to
 * @newest. -EPROTO, with both ranges in @err, where there is none.
 */
int __must_check stream_agree(struct stream *s, uint64_t oldest, uint64_t newest, struct error *err);

/* Says READY in the version agreed on. @clock: see STREAM_READY. */
int __must_check stream_send_ready(struct stream *s, uint64_t clock, struct error *err);

/*
 * Waits for READY as stream_expect() does, and takes its version, from @oldest to STREAM_NEWEST, for that of
 * the stream. -EPROTO for another.
 */
int __must_check stream_expect_ready(struct stream *s, uint32_t oldest, uint64_t *clock, int timeout_ms,
				     struct error *err);

/*
 * Sends a frame with its payload. Returns 0, or -errno with the reason. If the peer has refused meanwhile,
 * this and the next two functions return -ECONNREFUSED with its reasons.
 */
int __must_check stream_send(struct stream *s, enum stream_type type, uint64_t arg, const void *payload,
			     uint32_t len, struct error *err);

/* Sends frames that the caller has put together. May change @iov. */
int __must_check stream_writev(struct stream *s, struct iovec *iov, int n, struct error *err);
void stream_header_put(struct stream_header *h, enum stream_type type, uint32_t len, uint64_t arg);

/* What a connection begins with: too little yet to tell, a whole HELLO, or as much of one as is read ahead;
 * or something else. */
enum stream_first { STREAM_FIRST_PART, STREAM_FIRST_HELLO, STREAM_FIRST_OTHER };

/* Looks at the first @n bytes of a connection, STREAM_BUFFER at most. */
enum stream_first stream_look(const uint8_t *bytes, uint32_t n);

/* Waits until what was sent has been taken, see channel_drain(). */
int __must_check stream_drain(struct stream *s, int timeout_ms, struct error *err);

/* Tells a peer that is not let in @why, as far as it takes that at once, and closes @fd. Any thread; does not
 * wait. */
void stream_turn_away(int fd, const char *why);

/* Looks, before more is sent to a peer that has nothing to say now, whether it has said something or gone, or
 * the operator gave up. */
int __must_check stream_check(struct stream *s, struct error *err);

/*
 * Reads a header: type known, length within the type's bound. Then stream_read() takes exactly the payload.
 * -ETIMEDOUT when all of it has not come within @timeout_ms (-1: wait for ever), however little comes at a
 * time; -EPIPE when the peer has gone.
 */
int __must_check stream_receive(struct stream *s, struct stream_frame *frame, int timeout_ms,
				struct error *err);
int __must_check stream_read(struct stream *s, void *dst, uint32_t len, struct error *err);

/* Waits for work that is done here meanwhile, whose end makes @fd readable. The wait is bounded, called off,
 * and ended by a peer that goes, as the stream's other waits are. */
int __must_check stream_await(struct stream *s, int fd, int timeout_ms, struct error *err);

/*
 * Waits for @want and nothing else; a REFUSED becomes -ECONNREFUSED with the peer's reasons in @err. The
 * payload must be exactly @len bytes.
 */
int __must_check stream_expect(struct stream *s, enum stream_type want, void *payload, uint32_t len,
			       int timeout_ms, struct error *err);
/* stream_expect() for a frame without payload, with its arg in *@arg. */
int __must_check stream_expect_arg(struct stream *s, enum stream_type want, uint64_t *arg, int timeout_ms,
				   struct error *err);

const char *stream_type_name(enum stream_type type);

#endif
