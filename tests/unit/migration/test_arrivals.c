/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of connections on their way to a destination: who is taken, who is not, and who hears of it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migration/arrivals.h"
#include "migration/stream.h"

struct fixture {
	struct arrivals arrivals;
	int cancel_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	assert_int_equal(arrivals_init(&f->arrivals, "not yet", &err), 0);
	arrivals_open(&f->arrivals);
	f->cancel_fd = eventfd(0, EFD_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	arrivals_exit(&f->arrivals);
	close(f->cancel_fd);
	free(f);
	return 0;
}

/* Puts a connection in, and returns the source's end of it. */
static int push(struct fixture *f, struct arrivals_end *end, int expected)
{
	struct error err = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(arrivals_push(&f->arrivals, fds[1], 7, end, &err), expected);
	assert_int_equal(err.text[0] != '\0', expected < 0);
	return fds[0];
}

/* A HELLO, as far as a queue looks at it: the header, and a byte. */
struct word {
	struct stream_header header;
	uint8_t payload;
};

static struct word make_word(enum stream_type type, uint32_t len)
{
	struct word w = { .payload = 'x' };

	stream_header_put(&w.header, type, len, 0);
	return w;
}

#define WORD_LEN (sizeof(struct stream_header) + 1)

static void say(int fd, enum stream_type type, uint32_t len, size_t n_bytes)
{
	struct word w = make_word(type, len);

	assert_int_equal(send(fd, &w, n_bytes, MSG_NOSIGNAL), n_bytes);
}

static void speak(int fd)
{
	say(fd, STREAM_HELLO, 1, WORD_LEN);
}

/* Fails unless the source has been told @why, and hung up on. */
static void assert_refused(int fd, const char *why)
{
	struct stream_header header;
	char text[ERROR_TEXT_MAX + 1];
	uint32_t len;

	assert_int_equal(recv(fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(get_le32(&header.type), STREAM_REFUSED);
	len = get_le32(&header.len);
	assert_in_range(len, 1, ERROR_TEXT_MAX);
	assert_int_equal(recv(fd, text, len, MSG_WAITALL), len);
	text[len] = '\0';
	assert_non_null(strstr(text, why));
	assert_true(recv(fd, text, 1, 0) <= 0);
	close(fd);
}

/* Takes one, and sees that it is the other end of @source. */
static int take(struct fixture *f, int source)
{
	struct arrivals_connection taken;
	struct error err = { 0 };
	char byte = 0;

	assert_int_equal(arrivals_take(&f->arrivals, f->cancel_fd, &taken, &err), 0);
	assert_int_equal(taken.since, 7);
	free(taken.heard);
	assert_int_equal(send(taken.fd, "y", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(source, &byte, 1, MSG_DONTWAIT), 1);
	assert_int_equal(byte, 'y');
	return taken.fd;
}

static void who_speaks_first_is_taken_first(void **state)
{
	struct fixture *f = *state;
	int sources[5];

	for (unsigned int i = 0; i < ARRAY_SIZE(sources); i++)
		sources[i] = push(f, NULL, 0);
	speak(sources[3]);
	close(take(f, sources[3]));
	speak(sources[4]);
	close(take(f, sources[4]));
	speak(sources[0]);
	close(take(f, sources[0]));
	arrivals_close(&f->arrivals, "enough");
	assert_refused(sources[1], "enough");
	assert_refused(sources[2], "enough");
	for (unsigned int i = 0; i < ARRAY_SIZE(sources); i += i == 0 ? 3 : 1)
		close(sources[i]);
}

static void a_closed_queue_turns_away_by_name(void **state)
{
	struct fixture *f = *state;

	arrivals_close(&f->arrivals, "another source was faster");
	assert_refused(push(f, NULL, -EBUSY), "another source was faster");
	arrivals_open(&f->arrivals);
	close(push(f, NULL, 0));
}

static void what_is_no_connection_is_closed(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	int fds[2];
	char byte;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(arrivals_push(&f->arrivals, fds[1], 0, NULL, &err), -ENOTSOCK);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(arrivals_push(&f->arrivals, fds[1], 0, NULL, &err), -EPROTOTYPE);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
	close(fds[0]);
	fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(arrivals_push(&f->arrivals, fds[0], 0, NULL, &err), -ENOTCONN);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	/* A list of reasons, as there is one for each. */
	assert_non_null(strstr(err.text, "no socket"));
	assert_non_null(strstr(err.text, "no stream socket"));
	assert_non_null(strstr(err.text, "not connected"));
}

/* The taker finds out what it is: nothing. */
static void one_that_hangs_up_does_not_stay(void **state)
{
	struct fixture *f = *state;
	struct arrivals_connection taken;
	struct error err = { 0 };
	char byte;

	close(push(f, NULL, 0));
	assert_int_equal(arrivals_take(&f->arrivals, f->cancel_fd, &taken, &err), 0);
	assert_int_equal(taken.n_heard, 0);
	assert_int_equal(recv(taken.fd, &byte, 1, 0), 0);
	close(taken.fd);
	free(taken.heard);
}

/* However many others have begun to speak, or speak of something else: a true source waits for none of them.
 */
static void a_whole_hello_passes_by_those_that_are_none(void **state)
{
	struct fixture *f = *state;
	int slow[ARRIVALS_KEPT - 2], stranger, source;
	uint64_t start_ns = now_ns();

	for (unsigned int i = 0; i < ARRAY_SIZE(slow); i++) {
		slow[i] = push(f, NULL, 0);
		say(slow[i], STREAM_HELLO, 1, i % WORD_LEN);
	}
	stranger = push(f, NULL, 0);
	say(stranger, STREAM_RAM, 1, WORD_LEN);
	source = push(f, NULL, 0);
	speak(source);
	close(take(f, source));
	/* Then the stranger, of whom the taker finds out what he is. */
	close(take(f, stranger));
	assert_true(now_ns() - start_ns < ARRIVALS_HELLO_MS * UINT64_C(1000000));
	close(source);
	close(stranger);
	arrivals_close(&f->arrivals, "enough");
	for (unsigned int i = 0; i < ARRAY_SIZE(slow); i++)
		assert_refused(slow[i], "enough");
}

struct waiter {
	struct fixture *f;
	pthread_t thread;
	int ret;
	struct error err;
};

static void *wait_for_one(void *arg)
{
	struct waiter *w = arg;
	struct arrivals_connection taken;

	w->ret = arrivals_take(&w->f->arrivals, w->f->cancel_fd, &taken, &w->err);
	return NULL;
}

static void who_has_begun_has_a_deadline_and_outstays_the_silent(void **state)
{
	struct waiter w = { .f = *state };
	struct fixture *f = *state;
	int slow = push(f, NULL, 0), silent[ARRIVALS_KEPT];

	say(slow, STREAM_HELLO, 1, 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(silent); i++)
		silent[i] = push(f, NULL, 0);
	pthread_create(&w.thread, NULL, wait_for_one, &w);
	assert_refused(silent[0], "another connection needed the place");
	assert_refused(slow, "the source takes too long for its HELLO");
	eventfd_write(f->cancel_fd, 1);
	pthread_join(w.thread, NULL);
	for (unsigned int i = 1; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
}

static void assert_ended(struct fixture *f, struct arrivals_end *end, int ret, const char *reason)
{
	eventfd_t count;

	assert_int_equal(eventfd_read(end->fd, &count), 0);
	assert_true(arrivals_forget(&f->arrivals, end));
	assert_int_equal(end->ret, ret);
	assert_string_equal(end->reason.text, reason);
	*end = (struct arrivals_end){ .fd = end->fd };
}

static void whoever_waits_hears_how_it_ended(void **state)
{
	struct arrivals_end end = { .fd = eventfd(0, EFD_CLOEXEC) };
	struct fixture *f = *state;
	int source;

	source = push(f, &end, 0);
	speak(source);
	close(take(f, source));
	assert_false(end.ended);
	arrivals_settle(&f->arrivals, 0, "");
	assert_ended(f, &end, 0, "");
	close(source);

	source = push(f, &end, 0);
	speak(source);
	close(take(f, source));
	arrivals_settle(&f->arrivals, -EPROTO, "a RAM frame instead of HELLO");
	assert_ended(f, &end, -EPROTO, "a RAM frame instead of HELLO");
	close(source);

	source = push(f, &end, 0);
	arrivals_close(&f->arrivals, "over");
	assert_ended(f, &end, -EBUSY, "over");
	assert_refused(source, "over");
	close(end.fd);
}

static void whoever_has_gone_hears_nothing(void **state)
{
	struct arrivals_end *end = calloc(1, sizeof(*end));
	struct fixture *f = *state;
	int source = push(f, end, 0);

	/* In the queue, and taken out of it: the end is gone before. */
	assert_false(arrivals_forget(&f->arrivals, end));
	free(end);
	speak(source);
	close(take(f, source));
	arrivals_settle(&f->arrivals, 0, "");
	close(source);
	end = calloc(1, sizeof(*end));
	source = push(f, end, 0);
	speak(source);
	close(take(f, source));
	assert_false(arrivals_forget(&f->arrivals, end));
	free(end);
	arrivals_settle(&f->arrivals, 0, "");
	close(source);
}

static void the_silent_give_way_where_there_are_many(void **state)
{
	struct arrivals_end end = { .fd = eventfd(0, EFD_CLOEXEC) };
	struct waiter w = { .f = *state };
	struct fixture *f = *state;
	int sources[ARRIVALS_MAX];

	for (unsigned int i = 0; i < ARRIVALS_MAX; i++)
		sources[i] = push(f, i == 1 ? &end : NULL, 0);
	assert_refused(push(f, NULL, -EBUSY), "too many connections");
	/* Not one that has spoken. */
	speak(sources[0]);
	close(take(f, sources[0]));
	pthread_create(&w.thread, NULL, wait_for_one, &w);
	for (unsigned int i = 1; i < ARRIVALS_MAX - ARRIVALS_KEPT; i++)
		assert_refused(sources[i], "another connection needed the place");
	assert_true(arrivals_forget(&f->arrivals, &end));
	assert_int_equal(end.ret, -EBUSY);
	eventfd_write(f->cancel_fd, 1);
	pthread_join(w.thread, NULL);
	arrivals_close(&f->arrivals, "enough");
	for (unsigned int i = ARRIVALS_MAX - ARRIVALS_KEPT; i < ARRIVALS_MAX; i++)
		assert_refused(sources[i], "enough");
	close(sources[0]);
	close(end.fd);
}

static void a_wait_is_called_off(void **state)
{
	struct waiter w = { .f = *state };
	int source = push(w.f, NULL, 0);

	pthread_create(&w.thread, NULL, wait_for_one, &w);
	eventfd_write(w.f->cancel_fd, 1);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.ret, -ECANCELED);
	assert_string_equal(w.err.text, "cancelled while waiting for a source");
	close(source);
}

static void a_wait_that_nobody_can_end_any_more_ends(void **state)
{
	struct waiter w = { .f = *state };

	pthread_create(&w.thread, NULL, wait_for_one, &w);
	arrivals_break(&w.f->arrivals, "the door has ended");
	pthread_join(w.thread, NULL);
	assert_int_equal(w.ret, -EPIPE);
	assert_string_equal(w.err.text, "the door has ended");
}

#define N_PUSHERS 4u
#define N_PUSHES  50u

/* Room in the queue. */
static sem_t room;

static void *push_many(void *arg)
{
	for (unsigned int i = 0; i < N_PUSHES; i++) {
		struct error err = { 0 };
		int fds[2];

		sem_wait(&room);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
		speak(fds[0]);
		assert_int_equal(arrivals_push(arg, fds[1], 0, NULL, &err), 0);
		close(fds[0]);
	}
	return NULL;
}

static void all_come_in_from_any_thread(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[N_PUSHERS];

	assert_int_equal(sem_init(&room, 0, ARRIVALS_MAX), 0);
	for (unsigned int i = 0; i < N_PUSHERS; i++)
		pthread_create(&threads[i], NULL, push_many, &f->arrivals);
	for (unsigned int i = 0; i < N_PUSHERS * N_PUSHES; i++) {
		struct arrivals_connection taken;
		struct error err = { 0 };
		char byte;

		assert_int_equal(arrivals_take(&f->arrivals, f->cancel_fd, &taken, &err), 0);
		sem_post(&room);
		assert_int_equal(taken.n_heard, WORD_LEN);
		assert_int_equal(recv(taken.fd, &byte, 1, 0), 0);
		close(taken.fd);
		free(taken.heard);
	}
	for (unsigned int i = 0; i < N_PUSHERS; i++)
		pthread_join(threads[i], NULL);
}

#define ARRIVALS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ARRIVALS_TEST(who_speaks_first_is_taken_first),
		ARRIVALS_TEST(a_closed_queue_turns_away_by_name),
		ARRIVALS_TEST(what_is_no_connection_is_closed),
		ARRIVALS_TEST(the_silent_give_way_where_there_are_many),
		ARRIVALS_TEST(one_that_hangs_up_does_not_stay),
		ARRIVALS_TEST(a_whole_hello_passes_by_those_that_are_none),
		ARRIVALS_TEST(who_has_begun_has_a_deadline_and_outstays_the_silent),
		ARRIVALS_TEST(whoever_waits_hears_how_it_ended),
		ARRIVALS_TEST(whoever_has_gone_hears_nothing),
		ARRIVALS_TEST(a_wait_is_called_off),
		ARRIVALS_TEST(a_wait_that_nobody_can_end_any_more_ends),
		ARRIVALS_TEST(all_come_in_from_any_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
