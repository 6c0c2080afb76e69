/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames: their table, and their way into and out of a channel. */
#include "migration/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "migration/lz4.h"
#include "vmm/state.h"
#include "vmm/text.h"

/* What is read ahead is copied once more, which from this length on takes longer than a call of its own. */
#define STREAM_LONG 16384u

/* Limit for the peer's last words, which are there already or are not coming. */
#define STREAM_REFUSAL_TIMEOUT_MS 1000

static const struct {
	const char *name;
	uint32_t min_len, max_len;
} stream_types[STREAM_N_TYPES] = {
	[STREAM_HELLO] = { "HELLO", 1, STATE_MAX },
	[STREAM_READY] = { "READY", 0, STREAM_READY_MAX },
	[STREAM_REFUSED] = { "REFUSED", 0, ERROR_TEXT_MAX },
	[STREAM_RAM] = { "RAM", (uint32_t)PAGE_SIZE, STREAM_RAM_MAX },
	[STREAM_ZERO] = { "ZERO", sizeof(uint64_t), sizeof(uint64_t) },
	[STREAM_ROUND] = { "ROUND", 0, 0 },
	[STREAM_SYNC] = { "SYNC", 0, 0 },
	[STREAM_SYNC_OK] = { "SYNC_OK", 0, 0 },
	[STREAM_WARM] = { "WARM", 1, STATE_MAX },
	[STREAM_WARM_OK] = { "WARM_OK", 0, 0 },
	[STREAM_STATE] = { "STATE", 1, STATE_MAX },
	[STREAM_PREPARED] = { "PREPARED", sizeof(struct stream_timings), sizeof(struct stream_timings) },
	[STREAM_COMMIT] = { "COMMIT", 0, 0 },
	[STREAM_RUNNING] = { "RUNNING", sizeof(struct stream_timings), sizeof(struct stream_timings) },
	[STREAM_BOOT] = { "BOOT", 1, STREAM_RAM_MAX },
	[STREAM_LZ4] = { "LZ4", STREAM_LZ4_HEAD + 1, STREAM_LZ4_HEAD + LZ4_BLOCK },
};

const char *stream_type_name(enum stream_type type)
{
	return type > 0 && type < STREAM_N_TYPES ? stream_types[type].name : "unknown";
}

int stream_init_heard(struct stream *s, struct channel *channel, int timeout_ms, uint8_t *heard,
		      uint32_t n_heard, struct error *err)
{
	*s = (struct stream){
		.channel = channel, .timeout_ms = timeout_ms, .buffer = heard, .n_buffered = n_heard
	};
	if (!s->buffer)
		s->buffer = malloc(STREAM_BUFFER);
	if (!s->buffer) {
		error_add(err, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

int stream_init(struct stream *s, struct channel *channel, int timeout_ms, struct error *err)
{
	return stream_init_heard(s, channel, timeout_ms, NULL, 0, err);
}

void stream_exit(struct stream *s)
{
	free(s->buffer);
	s->buffer = NULL;
}

static int stream_fault(int ret, struct error *err)
{
	switch (ret) {
	case -EPIPE:
		error_add(err, "the peer has closed the connection");
		return ret;
	case -ETIMEDOUT:
		error_add(err, "the peer does not answer, or is too slow");
		return ret;
	case -ECANCELED:
		error_add(err, "cancelled");
		return ret;
	default:
		error_add(err, "connection lost: %s", strerror(-ret));
		return ret;
	}
}

void stream_header_put(struct stream_header *h, enum stream_type type, uint32_t len, uint64_t arg)
{
	put_le32(&h->type, type);
	put_le32(&h->len, len);
	put_le64(&h->arg, arg);
}

/* Takes what is in the buffer of @len bytes to @dst. Returns how many. */
static uint32_t stream_take_buffered(struct stream *s, void *dst, uint32_t len)
{
	uint32_t n = (uint32_t)min_u64(len, s->n_buffered);

	if (n > 0)
		memcpy(dst, s->buffer + s->buffer_start, n);
	s->buffer_start += n;
	s->n_buffered -= n;
	return n;
}

static int stream_take(struct stream *s, void *dst, uint32_t len, int timeout_ms)
{
	uint32_t n = stream_take_buffered(s, dst, len);
	uint64_t end_ns = end_of(timeout_ms);
	uint8_t *at = dst;

	while (n < len && !s->direct) {
		struct iovec iov[] = {
			{ .iov_base = at + n, .iov_len = len - n },
			{ .iov_base = s->buffer, .iov_len = STREAM_BUFFER },
		};
		ssize_t got = channel_readv(s->channel, iov, ARRAY_SIZE(iov), ms_until(end_ns));
		uint32_t direct;

		if (got < 0)
			return (int)got;
		direct = (uint32_t)min_u64((uint64_t)got, len - n);
		n += direct;
		s->buffer_start = 0;
		s->n_buffered = (uint32_t)got - direct;
	}
	if (n < len) {
		int ret = channel_read(s->channel, at + n, len - n, ms_until(end_ns));

		if (ret < 0)
			return ret;
	}
	s->bytes_received += len;
	return 0;
}

/* Takes the peer's reasons, made fit to be shown: it may have sent anything. */
static int stream_take_refusal(struct stream *s, uint32_t len, struct error *err)
{
	char text[ERROR_TEXT_MAX + 1];
	int ret = stream_take(s, text, len, STREAM_REFUSAL_TIMEOUT_MS);

	if (ret < 0)
		return stream_fault(ret, err);
	text[len] = '\0';
	text_clean(text, len);
	error_add(err, STREAM_REFUSAL "%s", len > 0 ? text : "no reason given");
	return -ECONNREFUSED;
}

/* Makes an error of a failure to send: where the peer has said why, of that. */
static int stream_write_failed(struct stream *s, int ret, struct error *err)
{
	struct stream_frame frame;
	struct error dropped = { 0 };

	if (ret == -EPIPE && stream_receive(s, &frame, STREAM_REFUSAL_TIMEOUT_MS, &dropped) == 0 &&
	    frame.type == STREAM_REFUSED)
		return stream_take_refusal(s, frame.len, err);
	return stream_fault(ret, err);
}

int stream_writev(struct stream *s, struct iovec *iov, int n, struct error *err)
{
	uint64_t done;
	int ret = channel_writev(s->channel, iov, n, s->timeout_ms, &done);

	s->bytes_sent += done;
	return ret < 0 ? stream_write_failed(s, ret, err) : 0;
}

int stream_check(struct stream *s, struct error *err)
{
	int ret = s->n_buffered > 0 ? -EPIPE : channel_check(s->channel);

	return ret < 0 ? stream_write_failed(s, ret, err) : 0;
}

int stream_send(struct stream *s, enum stream_type type, uint64_t arg, const void *payload, uint32_t len,
		struct error *err)
{
	struct stream_header h;
	struct iovec iov[] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = (void *)(uintptr_t)payload, .iov_len = len },
	};

	if (len > stream_types[type].max_len) {
		error_add(err, "a %s frame of %u bytes is more than the %u it may have",
			  stream_type_name(type), len, stream_types[type].max_len);
		return -E2BIG;
	}
	stream_header_put(&h, type, len, arg);
	return stream_writev(s, iov, ARRAY_SIZE(iov), err);
}

int stream_drain(struct stream *s, int timeout_ms, struct error *err)
{
	int ret = channel_drain(s->channel, timeout_ms);

	return ret < 0 ? stream_fault(ret, err) : 0;
}

enum stream_first stream_look(const uint8_t *bytes, uint32_t n)
{
	struct stream_header h;
	uint32_t len;

	if (n < sizeof(h))
		return STREAM_FIRST_PART;
	memcpy(&h, bytes, sizeof(h));
	len = get_le32(&h.len);
	if (get_le32(&h.type) != STREAM_HELLO || len < stream_types[STREAM_HELLO].min_len ||
	    len > stream_types[STREAM_HELLO].max_len)
		return STREAM_FIRST_OTHER;
	return n == STREAM_BUFFER || n - sizeof(h) >= len ? STREAM_FIRST_HELLO : STREAM_FIRST_PART;
}

void stream_turn_away(int fd, const char *why)
{
	uint32_t len = (uint32_t)strnlen(why, ERROR_TEXT_MAX);
	struct stream_header h;
	struct iovec iov[] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = (void *)(uintptr_t)why, .iov_len = len },
	};
	struct error dropped = { 0 };
	struct channel c;

	if (channel_adopt(&c, fd, -1, &dropped) < 0)
		return;
	stream_header_put(&h, STREAM_REFUSED, len, 0);
	if (channel_writev(&c, iov, ARRAY_SIZE(iov), 0, NULL) == 0)
		channel_linger(&c, 0);
	channel_close(&c);
}

int stream_receive(struct stream *s, struct stream_frame *frame, int timeout_ms, struct error *err)
{
	struct stream_header h;
	uint32_t type;
	int ret = stream_take(s, &h, sizeof(h), timeout_ms);

	*frame = (struct stream_frame){ 0 };
	if (ret < 0)
		return stream_fault(ret, err);
	type = get_le32(&h.type);
	if (type == 0 || type >= STREAM_N_TYPES) {
		error_add(err, "the peer does not speak Ferry's protocol: frame type %u", type);
		return -EPROTO;
	}
	*frame = (struct stream_frame){ .type = type, .len = get_le32(&h.len), .arg = get_le64(&h.arg) };
	if (frame->len < stream_types[type].min_len || frame->len > stream_types[type].max_len) {
		error_add(err, "%s frame of %u bytes, not of %u to %u", stream_type_name(type), frame->len,
			  stream_types[type].min_len, stream_types[type].max_len);
		return -EPROTO;
	}
	s->direct = frame->len >= STREAM_LONG;
	return 0;
}

int stream_read(struct stream *s, void *dst, uint32_t len, struct error *err)
{
	int ret = stream_take(s, dst, len, s->timeout_ms);

	return ret < 0 ? stream_fault(ret, err) : 0;
}

int stream_await(struct stream *s, int fd, int timeout_ms, struct error *err)
{
	int ret = channel_await(s->channel, fd, timeout_ms);

	return ret < 0 ? stream_fault(ret, err) : 0;
}

/* Takes the header of @want, or a refusal as a whole. */
static int stream_expect_type(struct stream *s, enum stream_type want, struct stream_frame *frame,
			      int timeout_ms, struct error *err)
{
	int ret = stream_receive(s, frame, timeout_ms, err);

	if (ret < 0)
		return ret;
	if (frame->type == STREAM_REFUSED && want != STREAM_REFUSED)
		return stream_take_refusal(s, frame->len, err);
	if (frame->type != want) {
		error_add(err, "%s frame of %u bytes instead of %s", stream_type_name(frame->type),
			  frame->len, stream_type_name(want));
		return -EPROTO;
	}
	return 0;
}

/* Takes the header of @want, whose payload is to be @len bytes. */
static int stream_expect_frame(struct stream *s, enum stream_type want, struct stream_frame *frame,
			       uint32_t len, int timeout_ms, struct error *err)
{
	int ret = stream_expect_type(s, want, frame, timeout_ms, err);

	if (ret < 0)
		return ret;
	if (frame->len != len) {
		error_add(err, "%s frame of %u bytes instead of %u", stream_type_name(want), frame->len, len);
		return -EPROTO;
	}
	return 0;
}

int stream_expect(struct stream *s, enum stream_type want, void *payload, uint32_t len, int timeout_ms,
		  struct error *err)
{
	struct stream_frame frame;
	int ret = stream_expect_frame(s, want, &frame, len, timeout_ms, err);

	return ret < 0 ? ret : stream_read(s, payload, len, err);
}

int stream_expect_arg(struct stream *s, enum stream_type want, uint64_t *arg, int timeout_ms,
		      struct error *err)
{
	struct stream_frame frame;
	int ret = stream_expect_frame(s, want, &frame, 0, timeout_ms, err);

	*arg = frame.arg;
	return ret;
}

static void stream_put_range(char text[48], uint64_t oldest, uint64_t newest)
{
	if (oldest == newest)
		snprintf(text, 48, "version %" PRIu64, oldest);
	else
		snprintf(text, 48, "versions %" PRIu64 " to %" PRIu64, oldest, newest);
}

int stream_agree(struct stream *s, uint64_t oldest, uint64_t newest, struct error *err)
{
	char theirs[48], ours[48];

	if (oldest <= newest && oldest <= STREAM_NEWEST && newest >= STREAM_OLDEST) {
		s->version = (uint32_t)min_u64(newest, STREAM_NEWEST);
		return 0;
	}
	stream_put_range(theirs, oldest, newest);
	stream_put_range(ours, STREAM_OLDEST, STREAM_NEWEST);
	error_add(err, "the source speaks %s of the migration protocol, this Ferry %s", theirs, ours);
	return -EPROTO;
}

int stream_send_ready(struct stream *s, uint64_t clock, struct error *err)
{
	uint8_t payload[8];

	put_le32(payload, s->version);
	put_le32(payload + 4, STREAM_TAKES_LZ4);
	/* The payload would be a fault in version 1. */
	return stream_send(s, STREAM_READY, clock, payload, s->version > 1 ? sizeof(payload) : 0, err);
}

int stream_expect_ready(struct stream *s, uint32_t oldest, uint64_t *clock, int timeout_ms, struct error *err)
{
	uint8_t payload[STREAM_READY_MAX] = { 1 };
	struct stream_frame frame;
	uint32_t version;
	int ret = stream_expect_type(s, STREAM_READY, &frame, timeout_ms, err);

	if (ret == 0)
		ret = stream_read(s, payload, frame.len, err);
	if (ret < 0)
		return ret;
	version = get_le32(payload);
	if ((frame.len > 0 && frame.len < 4) || version < oldest || version > STREAM_NEWEST) {
		error_add(err, "READY frame of %u bytes for version %u, of %u to %u", frame.len, version,
			  oldest, STREAM_NEWEST);
		return -EPROTO;
	}
	*clock = frame.arg;
	s->version = version;
	s->takes = frame.len >= 8 ? get_le32(payload + 4) : 0;
	return 0;
}
