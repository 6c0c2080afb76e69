/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of bytes, of ends and of deaths on a connection that ferry-tls has made. */
#define _GNU_SOURCE
#include "tls_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes in each direction: as many MiB as the environment says, for machines that are emulated. */
#define BULK MIB(getenv("FERRY_TLS_MIB") ? strtoul(getenv("FERRY_TLS_MIB"), NULL, 10) : 100)

/* Bytes that can be told for every place of a stream: a counter, in pieces of eight. */
struct bytes {
	uint64_t seed;
	uint64_t done;
	bool ended;
};

/* Writes @len bytes of the stream @seed from @place on. */
static void fill(uint64_t seed, uint64_t place, uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len;) {
		const uint64_t v = ((place + i) / 8 + seed) * 0x9e3779b97f4a7c15u;
		const size_t skip = (size_t)((place + i) % 8);
		const size_t n = (size_t)min_u64(8 - skip, len - i);

		memcpy(buf + i, (const uint8_t *)&v + skip, n);
		i += n;
	}
}

static void send_some(int fd, struct bytes *b)
{
	uint8_t buf[65536];
	size_t len = (size_t)min_u64(sizeof(buf), BULK - b->done);
	ssize_t n;

	fill(b->seed, b->done, buf, len);
	n = send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	assert_true(n > 0 || errno == EAGAIN);
	b->done += n > 0 ? (uint64_t)n : 0;
	if (b->done == BULK) {
		assert_int_equal(shutdown(fd, SHUT_WR), 0);
		b->ended = true;
	}
}

static void recv_some(int fd, struct bytes *b)
{
	uint8_t buf[65536], expected[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	assert_true(n >= 0 || errno == EAGAIN);
	if (n == 0) {
		assert_true(b->done == BULK);
		b->ended = true;
	}
	if (n <= 0)
		return;
	fill(b->seed, b->done, expected, (size_t)n);
	assert_memory_equal(buf, expected, (size_t)n);
	b->done += (uint64_t)n;
}

/* Moves what can be moved between @fd and its two streams. */
static void serve(const struct pollfd *p, struct bytes *out, struct bytes *in)
{
	if (!out->ended && (p->revents & POLLOUT))
		send_some(p->fd, out);
	if (!in->ended && (p->revents & (POLLIN | POLLHUP)))
		recv_some(p->fd, in);
}

static short events_of(const struct bytes *out, const struct bytes *in)
{
	return (short)((out->ended ? 0 : POLLOUT) | (in->ended ? 0 : POLLIN));
}

static void a_hundred_mebibytes_each_way_at_once_arrive_as_they_were_sent(void **state)
{
	struct bytes a_out = { .seed = 1 }, a_in = { .seed = 2 }, b_out = { .seed = 2 }, b_in = { .seed = 1 };
	struct helper a, b;

	connect_two(&a, &b);
	while (!a_in.ended || !b_in.ended) {
		struct pollfd p[] = { { .fd = a.fd, .events = events_of(&a_out, &a_in) },
				      { .fd = b.fd, .events = events_of(&b_out, &b_in) } };

		for (unsigned int i = 0; i < 2; i++)
			p[i].fd = p[i].events ? p[i].fd : -1;
		assert_true(poll(p, 2, 60000) > 0);
		serve(&p[0], &a_out, &a_in);
		serve(&p[1], &b_out, &b_in);
	}
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
}

static void the_end_of_one_direction_leaves_the_other_open(void **state)
{
	struct helper a, b;
	char buf[16];

	connect_two(&a, &b);
	assert_int_equal(send(a.fd, "last", 4, 0), 4);
	assert_int_equal(shutdown(a.fd, SHUT_WR), 0);
	assert_int_equal(recv(b.fd, buf, sizeof(buf), MSG_WAITALL), 4);
	assert_int_equal(recv(b.fd, buf, sizeof(buf), 0), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(send(b.fd, "more", 4, 0), 4);
		assert_int_equal(recv(a.fd, buf, 4, MSG_WAITALL), 4);
	}
	close(b.fd);
	b.fd = -1;
	assert_int_equal(recv(a.fd, buf, sizeof(buf), 0), 0);
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
}

static void what_was_sent_before_a_close_arrives(void **state)
{
	char buf[65536] = { 0 };
	struct helper a, b;
	size_t sent = 0, got = 0;
	ssize_t n;

	connect_two(&a, &b);
	/* As much as there is room for, and then nobody waits for it. */
	while (sent < MIB(1) && (n = send(a.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		sent += (size_t)n;
	close(a.fd);
	a.fd = -1;
	while ((n = recv(b.fd, buf, sizeof(buf), 0)) > 0)
		got += (size_t)n;
	assert_int_equal(got, sent);
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
}

static void the_other_ends_close_ends_the_helper_of_this_one(void **state)
{
	struct helper a, b;
	char byte;

	connect_two(&a, &b);
	close(b.fd);
	b.fd = -1;
	assert_int_equal(recv(a.fd, &byte, 1, 0), 0);
	assert_int_equal(helper_end(&b), 0);
	assert_int_equal(helper_end(&a), 0);
}

static void a_killed_helper_ends_the_stream_at_both_ends(void **state)
{
	struct helper a, b;
	char byte;

	connect_two(&a, &b);
	if (a.result.outcome == TLS_PUMP) {
		kill(a.pid, SIGKILL);
		assert_true(recv(a.fd, &byte, 1, 0) <= 0);
		assert_true(recv(b.fd, &byte, 1, 0) <= 0);
		assert_int_equal(helper_end(&a), -SIGKILL);
	} else {
		assert_int_equal(helper_end(&a), 0);
	}
	assert_int_equal(helper_end(&b), 0);
}

/* Copies what comes from one end to the other and back, until there is an end. The byte at @place, counted in
 * what
 * @fd[0] has said, is changed. */
static void relay(const int fd[2], uint64_t place)
{
	uint64_t seen = 0;

	for (;;) {
		struct pollfd p[] = { { .fd = fd[0], .events = POLLIN }, { .fd = fd[1], .events = POLLIN } };

		assert_true(poll(p, 2, 60000) > 0);
		for (unsigned int i = 0; i < 2; i++) {
			uint8_t buf[4096];
			ssize_t n = p[i].revents ? recv(fd[i], buf, sizeof(buf), MSG_DONTWAIT) : -1;

			if (p[i].revents && n <= 0)
				return;
			if (n <= 0)
				continue;
			if (i == 0 && place >= seen && place < seen + (uint64_t)n)
				buf[place - seen] ^= 0x01;
			seen += i == 0 ? (uint64_t)n : 0;
			(void)!send(fd[1 - i], buf, (size_t)n, MSG_NOSIGNAL);
		}
	}
}

static void a_changed_byte_of_the_stream_never_arrives(void **state)
{
	struct helper a, b;
	int left[2], right[2];
	char buf[64];
	pid_t pid;

	tcp_pair(left);
	tcp_pair(right);
	pid = fork();
	if (pid == 0) {
		/* The handshake of a client with one small certificate is far shorter. */
		const int ends[2] = { left[1], right[0] };

		close(left[0]);
		close(right[1]);
		relay(ends, 20000);
		_exit(0);
	}
	close(left[1]);
	close(right[0]);
	helper_start(&a, "connect", "hosta", left[0], "--host", "hostb", NULL);
	helper_start(&b, "accept", "hostb", right[1], NULL);
	helper_wait(&a);
	helper_wait(&b);
	assert_string_equal(a.result.reason.text, "");
	for (unsigned int i = 0; i < 2000 && send(a.fd, "0123456789abcdef", 16, MSG_NOSIGNAL) == 16; i++)
		;
	for (;;) {
		ssize_t n = recv(b.fd, buf, 16, MSG_WAITALL);

		if (n <= 0)
			break;
		assert_int_equal(n, 16);
		assert_memory_equal(buf, "0123456789abcdef", 16);
	}
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
	stranger_end(pid);
}

static void a_changed_byte_of_the_handshake_is_refused(void **state)
{
	/* In the hello, its key share, and what is encrypted of the client. */
	static const uint64_t places[] = { 0, 3, 50, 120, 300, 500 };

	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		struct helper a, b;
		int left[2], right[2];
		pid_t pid;

		tcp_pair(left);
		tcp_pair(right);
		pid = fork();
		if (pid == 0) {
			const int ends[2] = { left[1], right[0] };

			close(left[0]);
			close(right[1]);
			relay(ends, places[i]);
			_exit(0);
		}
		close(left[1]);
		close(right[0]);
		helper_start(&a, "connect", "hosta", left[0], "--host", "hostb", "--timeout", "500", NULL);
		helper_start(&b, "accept", "hostb", right[1], "--timeout", "500", NULL);
		helper_wait(&a);
		helper_wait(&b);
		assert_int_equal(a.result.outcome, TLS_REFUSED);
		assert_int_equal(b.result.outcome, TLS_REFUSED);
		assert_int_equal(helper_end(&a), 1);
		assert_int_equal(helper_end(&b), 1);
		stranger_end(pid);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_mebibytes_each_way_at_once_arrive_as_they_were_sent),
		cmocka_unit_test(the_end_of_one_direction_leaves_the_other_open),
		cmocka_unit_test(what_was_sent_before_a_close_arrives),
		cmocka_unit_test(the_other_ends_close_ends_the_helper_of_this_one),
		cmocka_unit_test(a_killed_helper_ends_the_stream_at_both_ends),
		cmocka_unit_test(a_changed_byte_of_the_stream_never_arrives),
		cmocka_unit_test(a_changed_byte_of_the_handshake_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
