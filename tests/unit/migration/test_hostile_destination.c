/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source_migrate() against a destination that does not keep to the protocol, or says nothing, or has another
 * clock. */
#include "migration/clock.h"
#include "tests/unit/migration/migration_fixture.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A destination that speaks, but not sense. */
struct script {
	uint8_t bytes[4096]; /* said as soon as the connection is there */
	size_t len;
	pthread_t thread;
	int listen_fd;
};

static void *script_run(void *arg)
{
	static const struct timeval patience = { .tv_sec = 20 };
	struct script *script = arg;
	int fd = accept(script->listen_fd, NULL, NULL);
	uint8_t dropped[65536];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* The other end of one that says nothing may have gone. */
	if (script->len > 0)
		assert_int_equal(write(fd, script->bytes, script->len), script->len);
	while (read(fd, dropped, sizeof(dropped)) > 0)
		;
	close(fd);
	return NULL;
}

static void script_frame(struct script *script, uint32_t type, uint32_t len, const char *payload)
{
	uint8_t *at = script->bytes + script->len;

	put_le32(at, type);
	put_le32(at + 4, len);
	put_le64(at + 8, 0);
	memcpy(at + 16, payload, strlen(payload));
	/* What is announced and not there is zero, unless it is more than any answer has. */
	script->len += 16 + max_u64(strlen(payload), len <= STREAM_READY_MAX ? len : 0);
}

static const char *script_against_source(struct script *script, struct departure *s)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", places.path);
	script->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(script->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(script->listen_fd, 1), 0);
	pthread_create(&script->thread, NULL, script_run, script);
	assert_int_equal(departure_go(s), SOURCE_FAILED);
	pthread_join(script->thread, NULL);
	close(script->listen_fd);
	unlink(places.path);
	assert_goes_on(s);
	return s->err.text;
}

static void a_destination_that_makes_no_sense_ends_the_migration(void **state)
{
	static const struct {
		struct {
			uint32_t type, len;
			const char *payload;
		} frames[2];
		const char *why;
	} cases[] = {
		{ { { 0, 0, "" } }, "hello: the peer does not speak Ferry's protocol" },
		{ { { 0x54544820, 0, "garbage garbage" } }, "hello: the peer does not speak" },
		{ { { STREAM_READY, 1, "x" } }, "hello: READY frame of 1 bytes for version 120, of 1 to 2" },
		{ { { STREAM_READY, 3, "\1" }, { 0, 0, "" } },
		  "hello: READY frame of 3 bytes for version 1" },
		{ { { STREAM_READY, 4, "\3" }, { 0, 0, "" } },
		  "hello: READY frame of 4 bytes for version 3" },
		{ { { STREAM_READY, 65, "" } }, "hello: READY frame of 65 bytes, not of 0 to 64" },
		{ { { STREAM_REFUSED, UINT32_MAX, "" } }, "hello: REFUSED frame of 4294967295 bytes" },
		{ { { STREAM_RUNNING, 24, "" } }, "hello: RUNNING frame of 24 bytes instead of READY" },
		{ { { STREAM_HELLO, 3, "abc" } }, "hello: HELLO frame" },
		{ { { STREAM_REFUSED, 4, "busy" } }, "hello: destination refused: busy" },
		/* While memory comes, without waiting for its end. */
		{ { { STREAM_READY, 0, "" }, { STREAM_REFUSED, 7, "no room" } },
		  "memory: destination refused: no room" },
		{ { { STREAM_READY, 0, "" }, { STREAM_PREPARED, 24, "" } }, "memory: the peer has closed" },
		{ { { STREAM_READY, 0, "" }, { STREAM_WARM_OK, 0, "" } }, "memory: the peer has closed" },
	};
	struct departure s;

	departure_init(&s);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script script = { 0 };

		for (unsigned int j = 0; j < 2 && (j == 0 || cases[i].frames[j].type); j++)
			script_frame(&script, cases[i].frames[j].type, cases[i].frames[j].len,
				     cases[i].frames[j].payload);
		if (strncmp(script_against_source(&script, &s), cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("%u: %s", i, s.err.text);
	}
	assert_int_equal(s.guest.vm.gate.n_pauses, 0);
	assert_retry_works(&s);
	departure_exit(&s);
}

static void then_end_and_cancel(struct departure *s)
{
	then_end(s);
	then_cancel(s);
}

/* With the guest its Ferry ends, and calls the migration off wherever it waits: here for an answer that never
 * comes. */
static void a_guest_that_ends_calls_off_every_wait(void **state)
{
	struct script silent = { 0 };
	struct departure s;

	departure_init(&s);
	s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
	s.at = "hello";
	s.then = then_end_and_cancel;
	assert_string_equal(script_against_source(&silent, &s), "hello: the guest has ended");
	close(s.cancel_fd);
	departure_exit(&s);
}

#define SECONDS(n) ((n)*INT64_C(1000000000))

/* The other end's log has it as well. */
static void the_source_logs_that_clocks_differ(void **state)
{
	struct departure s;

	departure_init(&s);
	for (unsigned int i = 0; i < 3; i++) {
		static const struct {
			int64_t ahead;
			const char *said;
		} cases[] = { { 0, NULL }, { SECONDS(30), "ahead of" }, { -SECONDS(30), "behind" } };
		struct script script = { 0 };
		struct captured log;

		script_frame(&script, STREAM_READY, 0, "");
		/* And then no: else the source would wait for its answers. */
		script_frame(&script, STREAM_REFUSED, 4, "busy");
		put_le64(script.bytes + 8, realtime_ns() + (uint64_t)cases[i].ahead);
		capture_begin(&log);
		script_against_source(&script, &s);
		capture_end(&log);
		if (cases[i].said)
			assert_non_null(strstr(log.text, cases[i].said));
		else
			assert_null(strstr(log.text, "clock"));
	}
	departure_exit(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_destination_that_makes_no_sense_ends_the_migration),
		cmocka_unit_test(a_guest_that_ends_calls_off_every_wait),
		cmocka_unit_test(the_source_logs_that_clocks_differ),
	};

	return run_in_dir("hostile_destination", tests, ARRAY_SIZE(tests));
}
