/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers of the version before: a stream that it has sent, and a destination as it was. */
#include "tests/unit/migration/feeder.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

/* All that the source of departure_init() said in Ferry 0.1. */
static const uint8_t ferry_0_1[] = {
#include "tests/unit/ferry-0.1.h"
};

static void a_stream_of_ferry_0_1_loads(void **state)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX };
	struct departure s;
	struct feeder f;

	/* Its memory and devices are those that were recorded. */
	departure_init(&s);
	assert_true(feed_keep(&a, ferry_0_1, sizeof(ferry_0_1), &f));
	assert_here(&a, &s);
	/* The answers have nothing that a source of that version would not take. */
	assert_int_equal(get_le32(f.answers), STREAM_READY);
	assert_int_equal(get_le32(f.answers + 4), 0);
	arrival_exit(&a);
	departure_exit(&s);
}

static void a_stream_of_ferry_0_1_that_is_cut_anywhere_is_refused(void **state)
{
	/* Of its frames the last is COMMIT. Before each, and within. */
	for (uint64_t at = 0; at < sizeof(ferry_0_1); at += 16 + get_le32(ferry_0_1 + at + 4)) {
		struct feeder f;

		assert_false(feed(ferry_0_1, at, &f));
		assert_false(feed(ferry_0_1, at + 15, &f));
	}
}

/* A destination as Ferry 0.1 has it. */
struct before {
	pthread_t thread;
	int listen_fd, fd;
	unsigned int n_frames[STREAM_N_TYPES];
	_Alignas(8) uint8_t payload[STATE_MAX];
};

/* Frames and their bounds, of version 1. */
static const struct {
	uint32_t min, max, answer, answer_len;
} before_types[] = {
	[1] = { 1, 4u << 20, 2, 0 },    /* HELLO, READY */
	[4] = { 4096, 1u << 20, 0, 0 }, /* RAM */
	[5] = { 8, 8, 0, 0 },           /* ZERO */
	[6] = { 0, 0, 0, 0 },           /* ROUND */
	[7] = { 0, 0, 8, 0 },           /* SYNC, SYNC_OK */
	[9] = { 1, 4u << 20, 10, 0 },   /* WARM, WARM_OK */
	[11] = { 1, 4u << 20, 12, 24 }, /* STATE, PREPARED */
	[13] = { 0, 0, 14, 24 },        /* COMMIT, RUNNING */
};

static bool before_read(struct before *b, void *at, size_t len)
{
	return len == 0 || recv(b->fd, at, len, MSG_WAITALL) == (ssize_t)len;
}

/* Version 1 knew of no version but its own, and took no notice of anything beside the tree. */
static void before_read_hello(struct before *b, const uint8_t *header)
{
	struct state_node root, vm, devices;
	struct error err = { 0 };
	uint64_t clock;

	assert_int_equal(get_le64(header + 8), 1);
	assert_int_equal(state_open(&root, b->payload, get_le32(header + 4), &err), 0);
	assert_false(state_has(&root, STATE_OPTIONAL));
	assert_int_equal(state_get_u64(&root, "clock", 1, INT64_MAX, &clock), 0);
	assert_int_equal(state_child(&vm, &root, "vm"), 0);
	assert_int_equal(state_child(&devices, &root, "devices"), 0);
	assert_int_equal(state_finish(&root), 0);
	assert_false(state_has(&vm, STATE_OPTIONAL) || state_has(&devices, STATE_OPTIONAL));
}

static void *before_run(void *arg)
{
	struct before *b = arg;
	uint8_t header[16], answer[16 + 24] = { 0 };

	b->fd = accept(b->listen_fd, NULL, NULL);
	while (b->n_frames[13] == 0 && before_read(b, header, sizeof(header))) {
		uint32_t type = get_le32(header), len = get_le32(header + 4);

		assert_in_range(type, 1, ARRAY_SIZE(before_types) - 1);
		assert_in_range(len, before_types[type].min, before_types[type].max);
		assert_true(before_read(b, b->payload, len));
		b->n_frames[type]++;
		if (type == 1)
			before_read_hello(b, header);
		put_le32(answer, before_types[type].answer);
		put_le32(answer + 4, before_types[type].answer_len);
		if (before_types[type].answer)
			assert_true(send(b->fd, answer, 16 + before_types[type].answer_len, MSG_NOSIGNAL) >
				    0);
	}
	close(b->fd);
	return NULL;
}

static void a_destination_of_ferry_0_1_is_spoken_to(void **state)
{
	struct before *b = calloc(1, sizeof(*b));
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct departure s;

	departure_init(&s);
	strcpy(sa.sun_path, places.path);
	b->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(b->listen_fd, 1), 0);
	pthread_create(&b->thread, NULL, before_run, b);
	if (departure_go(&s) != SOURCE_MOVED)
		fail_msg("%s", s.err.text);
	pthread_join(b->thread, NULL);
	assert_int_equal(s.report.stream_version, 1);
	assert_int_equal(b->n_frames[1], 1);
	assert_int_equal(b->n_frames[11], 1);
	assert_int_equal(b->n_frames[13], 1);
	close(b->listen_fd);
	unlink(places.path);
	departure_exit(&s);
	free(b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_of_ferry_0_1_loads),
		cmocka_unit_test(a_stream_of_ferry_0_1_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(a_destination_of_ferry_0_1_is_spoken_to),
	};

	return run_in_dir("versions", tests, ARRAY_SIZE(tests));
}
