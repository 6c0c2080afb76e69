/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/stream.c: frames as bytes, read-ahead across frames, bounds of every type, and
 * a peer's refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migration/stream.h"
#include "vmm/state.h"

/* A stream on one end of a socket pair, and the other end raw. */
struct fixture {
	struct channel channel;
	struct stream stream;
	int peer;
	struct error err;
};

static void setup(struct fixture *f)
{
	int fds[2];

	*f = (struct fixture){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	f->channel = (struct channel){ .fd = fds[0], .cancel_fd = -1 };
	f->peer = fds[1];
	assert_int_equal(stream_init(&f->stream, &f->channel, 1000, &f->err), 0);
}

static void teardown(struct fixture *f)
{
	stream_exit(&f->stream);
	channel_close(&f->channel);
	if (f->peer >= 0)
		close(f->peer);
}

static void peer_write(struct fixture *f, const void *data, size_t len)
{
	assert_int_equal(write(f->peer, data, len), len);
}

static void peer_frame(struct fixture *f, uint32_t type, uint32_t len, uint64_t arg, const void *payload)
{
	uint8_t h[16];

	put_le32(h, type);
	put_le32(h + 4, len);
	put_le64(h + 8, arg);
	peer_write(f, h, sizeof(h));
	if (payload)
		peer_write(f, payload, len);
}

static void a_frame_has_the_bytes_of_its_format(void **state)
{
	static const uint8_t want[] = { 5,    0,    0,    0,    8,   0,   0,   0,   0xef, 0xcd, 0xab, 0x89,
					0x67, 0x45, 0x23, 0x01, 'p', 'a', 'y', 'l', 'o',  'a',  'd',  '!' };
	uint8_t got[sizeof(want) + 1];
	struct fixture f;

	setup(&f);
	assert_int_equal(stream_send(&f.stream, STREAM_ZERO, 0x0123456789abcdefull, "payload!", 8, &f.err),
			 0);
	assert_int_equal(read(f.peer, got, sizeof(got)), sizeof(want));
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(f.stream.bytes_sent, sizeof(want));
	teardown(&f);
}

/* Frames of all lengths, several in one read, one over several reads. */
static void frames_are_told_apart_however_they_come(void **state)
{
	static uint8_t payload[STREAM_RAM_MAX], got[STREAM_RAM_MAX];
	static const uint32_t lens[] = { 4096, 8192, 4096, 65536 - 16, 65536, 4096, 4096, 4096, 98304 };
	struct stream_frame frame;
	struct fixture f;

	for (uint32_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 2654435761u >> 23);
	setup(&f);
	/* The socket's buffer takes all of it: from here on no more is written. */
	for (unsigned int i = 0; i < 8; i++) {
		peer_frame(&f, STREAM_RAM, lens[i], i, payload + i);
		if (i % 3 == 0)
			peer_frame(&f, STREAM_ROUND, 0, 100 + i, NULL);
	}
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(stream_receive(&f.stream, &frame, 1000, &f.err), 0);
		assert_int_equal(frame.type, STREAM_RAM);
		assert_int_equal(frame.len, lens[i]);
		assert_int_equal(frame.arg, i);
		/* In two parts. */
		assert_int_equal(stream_read(&f.stream, got, 1000, &f.err), 0);
		assert_int_equal(stream_read(&f.stream, got + 1000, frame.len - 1000, &f.err), 0);
		assert_memory_equal(got, payload + i, frame.len);
		if (i % 3 != 0)
			continue;
		assert_int_equal(stream_expect(&f.stream, STREAM_ROUND, NULL, 0, 1000, &f.err), 0);
	}
	assert_int_equal(stream_receive(&f.stream, &frame, 0, &f.err), -ETIMEDOUT);
	teardown(&f);
}

static void a_length_beyond_the_bound_of_its_type_is_refused(void **state)
{
	static const struct {
		uint32_t min, max;
	} bounds[] = {
		[STREAM_HELLO] = { 1, STATE_MAX },
		[STREAM_READY] = { 0, STREAM_READY_MAX },
		[STREAM_REFUSED] = { 0, ERROR_TEXT_MAX },
		[STREAM_RAM] = { 4096, STREAM_RAM_MAX },
		[STREAM_ZERO] = { 8, 8 },
		[STREAM_ROUND] = { 0, 0 },
		[STREAM_SYNC] = { 0, 0 },
		[STREAM_SYNC_OK] = { 0, 0 },
		[STREAM_WARM] = { 1, STATE_MAX },
		[STREAM_WARM_OK] = { 0, 0 },
		[STREAM_STATE] = { 1, STATE_MAX },
		[STREAM_PREPARED] = { 24, 24 },
		[STREAM_COMMIT] = { 0, 0 },
		[STREAM_RUNNING] = { 24, 24 },
		[STREAM_BOOT] = { 1, STREAM_RAM_MAX },
		[STREAM_LZ4] = { 5, 65540 },
		[STREAM_N_TYPES] = { 1, 0 },
		[STREAM_N_TYPES + 1] = { 1, 0 },
	};

	for (uint32_t type = 0; type < ARRAY_SIZE(bounds); type++) {
		uint32_t min = bounds[type].min, max = bounds[type].max;
		const uint32_t lens[] = { 0, min - 1, min, max, max + 1, UINT32_MAX };
		bool known = type > 0 && type < STREAM_N_TYPES;

		assert_string_not_equal(stream_type_name(type), known ? "unknown" : "");
		for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
			bool good = known && lens[i] >= min && lens[i] <= max;
			struct stream_frame frame;
			struct fixture f;

			setup(&f);
			peer_frame(&f, type, lens[i], 0, NULL);
			assert_int_equal(stream_receive(&f.stream, &frame, 1000, &f.err), good ? 0 : -EPROTO);
			assert_int_equal(f.err.text[0] == '\0', good);
			teardown(&f);
		}
	}
}

static void a_frame_that_is_cut_short_is_no_frame(void **state)
{
	static const uint8_t h[16] = { STREAM_ZERO, 0, 0, 0, 8 };
	uint8_t payload[8];

	for (size_t len = 0; len < 24; len++) {
		struct stream_frame frame;
		struct fixture f;
		int ret;

		setup(&f);
		if (len > 0)
			peer_write(&f, h, len < 16 ? len : 16);
		if (len > 16)
			peer_write(&f, h, len - 16);
		close(f.peer);
		f.peer = -1;
		ret = stream_receive(&f.stream, &frame, 1000, &f.err);
		assert_int_equal(ret, len < 16 ? -EPIPE : 0);
		if (ret == 0)
			assert_int_equal(stream_read(&f.stream, payload, 8, &f.err), -EPIPE);
		assert_non_null(strstr(f.err.text, "closed"));
		teardown(&f);
	}
}

static void another_frame_than_the_one_expected_is_refused(void **state)
{
	static const uint8_t timings[24] = { 7 };
	uint8_t got[24];
	struct fixture f;

	setup(&f);
	peer_frame(&f, STREAM_PREPARED, 24, 0, timings);
	assert_int_equal(stream_expect(&f.stream, STREAM_PREPARED, got, 24, 1000, &f.err), 0);
	assert_memory_equal(got, timings, 24);
	peer_frame(&f, STREAM_COMMIT, 0, 0, NULL);
	assert_int_equal(stream_expect(&f.stream, STREAM_PREPARED, got, 24, 1000, &f.err), -EPROTO);
	assert_non_null(strstr(f.err.text, "COMMIT frame of 0 bytes instead of PREPARED"));
	f.err = (struct error){ 0 };
	assert_int_equal(stream_expect(&f.stream, STREAM_READY, NULL, 0, 1, &f.err), -ETIMEDOUT);
	assert_non_null(strstr(f.err.text, "does not answer"));
	teardown(&f);
}

struct drops {
	int fd;
	_Atomic unsigned int n; /* bytes, so that however late their reader is there is no whole frame */
};

/* Sends a byte now and then, until nobody listens any more. */
static void *dribble(void *arg)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	struct drops *d = arg;

	while (d->n == 0 || send(d->fd, "\3", 1, MSG_NOSIGNAL) == 1) {
		if (d->n > 0)
			d->n--;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* The limit holds for a header and for a payload: a guest may be standing still. */
static void a_frame_that_comes_in_drops_is_not_waited_for_for_ever(void **state)
{
	struct stream_frame frame;
	uint8_t payload[100];
	struct fixture f;
	struct drops drops = { .n = sizeof(struct stream_header) - 1 };
	pthread_t thread;

	setup(&f);
	drops.fd = f.peer;
	pthread_create(&thread, NULL, dribble, &drops);
	assert_int_equal(stream_receive(&f.stream, &frame, 50, &f.err), -ETIMEDOUT);
	f.stream.timeout_ms = 50;
	drops.n = sizeof(payload) - sizeof(struct stream_header);
	assert_int_equal(stream_read(&f.stream, payload, sizeof(payload), &f.err), -ETIMEDOUT);
	shutdown(f.channel.fd, SHUT_RDWR);
	/* One more finds nobody. */
	drops.n = UINT_MAX;
	pthread_join(thread, NULL);
	teardown(&f);
}

/* Text for people, whatever the peer has put into it. */
static void a_refusal_is_text_for_people(void **state)
{
	char longest[ERROR_TEXT_MAX];
	struct fixture f;

	setup(&f);
	peer_frame(&f, STREAM_REFUSED, 19, 0, "net0: \033[2Jno\n\0queue");
	assert_int_equal(stream_expect(&f.stream, STREAM_READY, NULL, 0, 1000, &f.err), -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: net0: ?[2Jno??queue");
	/* As one character and as one byte, and cut off behind a first byte. */
	peer_frame(&f, STREAM_REFUSED, 12, 0, "no\302\2332J \2332K \303");
	f.err = (struct error){ 0 };
	assert_int_equal(stream_expect(&f.stream, STREAM_READY, NULL, 0, 1000, &f.err), -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: no??2J ?2K ?");
	peer_frame(&f, STREAM_REFUSED, 0, 0, NULL);
	f.err = (struct error){ 0 };
	assert_int_equal(stream_expect(&f.stream, STREAM_READY, NULL, 0, 1000, &f.err), -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: no reason given");
	memset(longest, 'x', sizeof(longest));
	peer_frame(&f, STREAM_REFUSED, sizeof(longest), 0, longest);
	f.err = (struct error){ 0 };
	assert_int_equal(stream_expect(&f.stream, STREAM_READY, NULL, 0, 1000, &f.err), -ECONNREFUSED);
	assert_int_equal(strlen(f.err.text), ERROR_TEXT_MAX - 1);
	teardown(&f);
}

/* A sender learns the reason too. */
static void who_sends_learns_why_it_was_refused(void **state)
{
	static uint8_t payload[STREAM_RAM_MAX];
	struct fixture f;

	setup(&f);
	peer_frame(&f, STREAM_REFUSED, 6, 0, "no room");
	assert_int_equal(stream_check(&f.stream, &f.err), -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: no roo");
	/* The socket's buffer full, the peer not reading: */
	peer_frame(&f, STREAM_REFUSED, 7, 0, "no room");
	f.err = (struct error){ 0 };
	assert_int_equal(stream_send(&f.stream, STREAM_RAM, 0, payload, sizeof(payload), &f.err),
			 -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: no room");
	assert_in_range(f.stream.bytes_sent, 1, sizeof(payload));
	/* and the peer gone, its last words still there. */
	peer_frame(&f, STREAM_REFUSED, 3, 0, "bye");
	close(f.peer);
	f.peer = -1;
	f.err = (struct error){ 0 };
	assert_int_equal(stream_send(&f.stream, STREAM_ROUND, 0, NULL, 0, &f.err), -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: bye");
	f.err = (struct error){ 0 };
	assert_int_equal(stream_send(&f.stream, STREAM_ROUND, 0, NULL, 0, &f.err), -EPIPE);
	assert_string_equal(f.err.text, "the peer has closed the connection");
	teardown(&f);
}

static void a_refusal_behind_another_frame_is_noticed(void **state)
{
	struct fixture f;

	setup(&f);
	peer_frame(&f, STREAM_READY, 0, 0, NULL);
	peer_frame(&f, STREAM_REFUSED, 4, 0, "late");
	assert_int_equal(stream_expect(&f.stream, STREAM_READY, NULL, 0, 1000, &f.err), 0);
	assert_int_equal(stream_check(&f.stream, &f.err), -ECONNREFUSED);
	assert_string_equal(f.err.text, "destination refused: late");
	f.err = (struct error){ 0 };
	assert_int_equal(stream_check(&f.stream, &f.err), 0);
	teardown(&f);
}

static void a_payload_beyond_its_bound_is_not_sent(void **state)
{
	struct fixture f;

	setup(&f);
	assert_int_equal(stream_send(&f.stream, STREAM_RAM, 0, "", STREAM_RAM_MAX + 1, &f.err), -E2BIG);
	assert_int_equal(f.stream.bytes_sent, 0);
	teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_has_the_bytes_of_its_format),
		cmocka_unit_test(frames_are_told_apart_however_they_come),
		cmocka_unit_test(a_length_beyond_the_bound_of_its_type_is_refused),
		cmocka_unit_test(a_frame_that_is_cut_short_is_no_frame),
		cmocka_unit_test(another_frame_than_the_one_expected_is_refused),
		cmocka_unit_test(a_frame_that_comes_in_drops_is_not_waited_for_for_ever),
		cmocka_unit_test(a_refusal_is_text_for_people),
		cmocka_unit_test(who_sends_learns_why_it_was_refused),
		cmocka_unit_test(a_refusal_behind_another_frame_is_noticed),
		cmocka_unit_test(a_payload_beyond_its_bound_is_not_sent),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
