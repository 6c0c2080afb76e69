/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/channel.c: what becomes a channel, whole transfers, and every way a wait ends. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migration/channel.h"

union inet_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static void connected_pair(struct channel *a, struct channel *b)
{
	struct error err = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(channel_adopt(a, fds[0], -1, &err), 0);
	assert_int_equal(channel_adopt(b, fds[1], -1, &err), 0);
}

static socklen_t inet_len(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* Binds a socket to a free port of loopback, which becomes @at's. Returns it, or -1 where the host does not
 * have the family, or "lo" is down, as in a new network namespace. */
static int bind_on_loopback(int family, union inet_address *at)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    way = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = inet_len(family);
	bool bound;

	*at = (union inet_address){ .any.sa_family = (sa_family_t)family };
	if (family == AF_INET)
		at->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		at->v6.sin6_addr = in6addr_loopback;
	/* The second sends nothing. */
	bound = fd >= 0 && way >= 0 && bind(fd, &at->any, len) == 0 && getsockname(fd, &at->any, &len) == 0 &&
		connect(way, &at->any, len) == 0;
	if (way >= 0)
		close(way);
	if (bound)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Writes until nothing more fits: how that ends, and how much went out. */
static int write_until_error(struct channel *c, int timeout_ms, uint64_t *done)
{
	static uint8_t buf[8 << 20];
	struct iovec iov = { buf, sizeof(buf) };

	return channel_writev(c, &iov, 1, timeout_ms, done);
}

static void what_is_no_connection_is_not_adopted(void **state)
{
	static const struct {
		int domain, type;
		int ret;
	} cases[] = {
		{ AF_UNIX, SOCK_STREAM, -ENOTCONN },  { AF_INET, SOCK_STREAM, -ENOTCONN },
		{ AF_UNIX, SOCK_DGRAM, -EPROTOTYPE }, { AF_UNIX, SOCK_SEQPACKET, -EPROTOTYPE },
		{ AF_INET, SOCK_DGRAM, -EPROTOTYPE },
	};
	struct channel c;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int fd = socket(cases[i].domain, cases[i].type | SOCK_CLOEXEC, 0);

		assert_int_equal(channel_adopt(&c, fd, -1, &err), cases[i].ret);
		assert_int_equal(c.fd, -1);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
		assert_string_not_equal(err.text, "");
	}
	for (unsigned int i = 0; i < 2; i++) {
		struct error err = { 0 };

		assert_int_equal(channel_adopt(&c, i == 0 ? eventfd(0, EFD_CLOEXEC) : -1, -1, &err),
				 i == 0 ? -ENOTSOCK : -EBADF);
	}
}

static void a_connection_that_was_refused_is_not_adopted(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bound;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct error err = { 0 };
	union inet_address to;
	struct channel c;

	/* Nobody listens there, and nobody else can. */
	bound = bind_on_loopback(AF_INET, &to);
	if (bound < 0 || connect(fd, &to.any, sizeof(to.v4)) == 0 || errno != EINPROGRESS)
		skip();
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(channel_adopt(&c, fd, -1, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "has failed: "));
	close(bound);
}

/* Another process may have the same socket, and switch between blocking and not: no wait hangs on that. */
static void a_socket_is_adopted_with_its_flags(void **state)
{
	struct error err = { 0 };
	struct channel a, b;
	struct iovec iov;
	uint8_t byte;

	for (int flags = 0; flags < 2; flags++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | (flags ? SOCK_NONBLOCK : 0), 0, fds), 0);
		assert_int_equal(channel_adopt(&a, fds[0], -1, &err), 0);
		assert_int_equal(channel_adopt(&b, fds[1], -1, &err), 0);
		assert_int_equal(fcntl(a.fd, F_GETFL) & O_NONBLOCK, flags ? O_NONBLOCK : 0);
		iov = (struct iovec){ &byte, 1 };
		assert_int_equal(channel_readv(&a, &iov, 1, 10), -ETIMEDOUT);
		assert_int_equal(write_until_error(&a, 10, NULL), -ETIMEDOUT);
		channel_close(&a);
		channel_close(&b);
	}
}

/* close() of a socket that lingers would wait for a peer that takes nothing. */
static void a_socket_that_lingers_is_closed_at_once(void **state)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 60 };
	struct error err = { 0 };
	union inet_address at;
	struct channel c;
	uint64_t start_ns;
	int listener = bind_on_loopback(AF_INET, &at), fd, peer;

	if (listener < 0)
		skip();
	assert_int_equal(listen(listener, 1), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	assert_int_equal(connect(fd, &at.any, sizeof(at.v4)), 0);
	peer = accept(listener, NULL, NULL);
	assert_int_equal(channel_adopt(&c, fd, -1, &err), 0);
	assert_int_equal(write_until_error(&c, 10, NULL), -ETIMEDOUT);
	start_ns = now_ns();
	channel_close(&c);
	assert_in_range(now_ns() - start_ns, 0, 30000000000);
	close(peer);
	close(listener);
}

#define TRANSFER_LEN (6u << 20)

static void *transfer_write(void *arg)
{
	uint8_t *buf = malloc(TRANSFER_LEN);
	struct iovec iov[64];
	uint64_t done = 0, at = 0;

	for (uint32_t i = 0; i < TRANSFER_LEN; i++)
		buf[i] = (uint8_t)(i * 2654435761u >> 24);
	/* Pieces of odd sizes, empty ones among them. */
	for (unsigned int i = 0; i < ARRAY_SIZE(iov); i++) {
		uint64_t len = i == ARRAY_SIZE(iov) - 1 ? TRANSFER_LEN - at : i % 5 == 0 ? 0 : 1000 * i + 7;

		iov[i] = (struct iovec){ .iov_base = buf + at, .iov_len = len };
		at += len;
	}
	assert_int_equal(channel_writev(arg, iov, ARRAY_SIZE(iov), 10000, &done), 0);
	assert_int_equal(done, TRANSFER_LEN);
	free(buf);
	return NULL;
}

/* From @a to @b, which are closed then. */
static void transfer(struct channel a, struct channel b)
{
	uint8_t first[1000], second[30000];
	uint32_t n = 0;
	pthread_t thread;

	pthread_create(&thread, NULL, transfer_write, &a);
	while (n < TRANSFER_LEN) {
		struct iovec iov[] = { { first, sizeof(first) }, { second, sizeof(second) } };
		ssize_t got = channel_readv(&b, iov, 2, 10000);

		assert_in_range(got, 1, sizeof(first) + sizeof(second));
		for (uint32_t i = 0; i < (uint32_t)got; i++, n++) {
			uint8_t v = i < sizeof(first) ? first[i] : second[i - sizeof(first)];

			if (v != (uint8_t)(n * 2654435761u >> 24))
				fail_msg("byte %u", n);
		}
	}
	pthread_join(thread, NULL);
	assert_int_equal(channel_check(&b), 0);
	channel_close(&a);
	assert_int_equal(channel_check(&b), -EPIPE);
	assert_int_equal(channel_readv(&b, &(struct iovec){ first, 1 }, 1, 1000), -EPIPE);
	channel_close(&b);
}

static void bytes_arrive_as_they_were_over_a_unix_socket(void **state)
{
	struct channel a, b;

	connected_pair(&a, &b);
	transfer(a, b);
}

static void bytes_arrive_as_they_were_over_tcp(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (unsigned int i = 0; i < ARRAY_SIZE(families); i++) {
		struct error err = { 0 };
		union inet_address at;
		struct channel a, b;
		int listener = bind_on_loopback(families[i], &at), fd;

		if (listener < 0)
			continue;
		assert_int_equal(listen(listener, 1), 0);
		fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fd, &at.any, inet_len(families[i])), 0);
		assert_int_equal(channel_adopt(&a, fd, -1, &err), 0);
		assert_int_equal(channel_adopt(&b, accept(listener, NULL, NULL), -1, &err), 0);
		close(listener);
		transfer(a, b);
	}
}

static void every_wait_has_an_end(void **state)
{
	int cancel_fd = eventfd(0, EFD_CLOEXEC);
	struct channel a, b;
	struct iovec iov;
	uint8_t byte = 0;
	uint64_t done, start_ns;

	connected_pair(&a, &b);
	iov = (struct iovec){ &byte, 1 };
	assert_int_equal(channel_readv(&a, &iov, 1, 10), -ETIMEDOUT);
	assert_int_equal(write_until_error(&a, 10, &done), -ETIMEDOUT);
	assert_in_range(done, 1, (8 << 20) - 1);

	/* A deadline ends waits that have no bound of their own, and those that have a later one. */
	start_ns = now_ns();
	a.deadline_ns = start_ns + 20000000;
	assert_int_equal(channel_readv(&a, &iov, 1, -1), -ETIMEDOUT);
	assert_in_range(now_ns() - start_ns, 20000000, 5000000000);
	assert_int_equal(write_until_error(&a, 60000, &done), -ETIMEDOUT);
	assert_int_equal(done, 0);
	a.deadline_ns = 0;

	/* The operator gives up: every wait, but what needs no waiting is done. */
	assert_int_equal(channel_check(&a), 0);
	a.cancel_fd = cancel_fd;
	eventfd_write(cancel_fd, 1);
	assert_int_equal(channel_check(&a), -ECANCELED);
	assert_int_equal(channel_readv(&a, &iov, 1, -1), -ECANCELED);
	assert_int_equal(write_until_error(&a, -1, &done), -ECANCELED);
	a.cancel_fd = -1;

	/* Full, and the peer talks instead of reading. */
	iov = (struct iovec){ &byte, 1 };
	assert_int_equal(channel_writev(&b, &iov, 1, 1000, NULL), 0);
	assert_int_equal(channel_check(&a), -EPIPE);
	assert_int_equal(write_until_error(&a, -1, &done), -EPIPE);
	iov = (struct iovec){ &byte, 1 };
	assert_int_equal(channel_readv(&a, &iov, 1, -1), 1);

	/* Gone: an error, not a signal. */
	channel_close(&b);
	assert_int_equal(write_until_error(&a, -1, &done), -EPIPE);
	assert_int_equal(write_until_error(&a, -1, &done), -EPIPE);
	channel_close(&a);
	close(cancel_fd);
}

/* Takes some now and then, until the other side has gone. */
static void *read_slowly(void *arg)
{
	static uint8_t buf[65536];
	const struct timespec pause = { .tv_nsec = 2000000 };
	struct iovec iov;

	do {
		iov = (struct iovec){ buf, sizeof(buf) };
		nanosleep(&pause, NULL);
	} while (channel_readv(arg, &iov, 1, -1) > 0);
	return NULL;
}

/* Says a byte now and then, until the other side has gone. */
static void *talk_slowly(void *arg)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	struct iovec iov;
	uint8_t byte = 0;

	do {
		iov = (struct iovec){ &byte, 1 };
		nanosleep(&pause, NULL);
	} while (channel_writev(arg, &iov, 1, -1, NULL) == 0);
	return NULL;
}

/* How a read of much more than comes ends: with its time, and with the operator. */
static void a_peer_that_says_little_is_not_listened_to_for_long(void **state)
{
	static uint8_t buf[1 << 20];
	struct channel a, b;
	pthread_t thread;
	uint64_t start_ns;

	connected_pair(&a, &b);
	pthread_create(&thread, NULL, talk_slowly, &b);
	start_ns = now_ns();
	assert_int_equal(channel_read(&a, buf, sizeof(buf), 150), -ETIMEDOUT);
	a.deadline_ns = now_ns() + 150000000;
	assert_int_equal(channel_read(&a, buf, sizeof(buf), -1), -ETIMEDOUT);
	a.deadline_ns = 0;
	a.cancel_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(channel_read(&a, buf, sizeof(buf), -1), -ECANCELED);
	assert_in_range(now_ns() - start_ns, 300000000, 30000000000);
	close(a.cancel_fd);
	channel_close(&a);
	pthread_join(thread, NULL);
	channel_close(&b);
}

static void a_piece_is_read_as_a_whole_or_not_at_all(void **state)
{
	static uint8_t out[1 << 16], in[1 << 16];
	struct channel a, b;
	struct iovec iov;

	connected_pair(&a, &b);
	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i % 251);
	/* Whoever has made the socket may have it never wait. */
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(fcntl(a.fd, F_SETFL, i == 0 ? 0 : O_NONBLOCK), 0);
		memset(in, 0, sizeof(in));
		iov = (struct iovec){ out, sizeof(out) };
		assert_int_equal(channel_writev(&b, &iov, 1, 10000, NULL), 0);
		assert_int_equal(channel_read(&a, in, sizeof(in), 10000), 0);
		assert_memory_equal(in, out, sizeof(out));
		assert_int_equal(channel_read(&a, in, sizeof(in), 1), -ETIMEDOUT);
	}
	iov = (struct iovec){ out, 100 };
	assert_int_equal(channel_writev(&b, &iov, 1, 10000, NULL), 0);
	channel_close(&b);
	assert_int_equal(channel_read(&a, in, sizeof(in), -1), -EPIPE);
	channel_close(&a);
}

/* A peer that is just quick enough not to be called silent holds nobody up for longer than was said. */
static void a_peer_that_is_slow_holds_nobody_up(void **state)
{
	const int size = 65536;
	struct channel a, b;
	pthread_t thread;
	uint64_t done;

	connected_pair(&a, &b);
	assert_int_equal(setsockopt(a.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	pthread_create(&thread, NULL, read_slowly, &b);
	assert_int_equal(write_until_error(&a, 100, &done), -ETIMEDOUT);
	assert_in_range(done, 1, (8 << 20) - 1);
	channel_close(&a);
	pthread_join(thread, NULL);
	channel_close(&b);
}

static void the_last_bytes_reach_a_peer_that_is_hung_up_on(void **state)
{
	static uint8_t buf[100000];
	struct channel a, b;
	struct iovec iov = { buf, sizeof(buf) };
	uint64_t start_ns = now_ns();

	connected_pair(&a, &b);
	assert_int_equal(channel_writev(&a, &iov, 1, 1000, NULL), 0);
	/* Bounded by time while the peer stays, */
	channel_linger(&b, 20);
	assert_in_range(now_ns() - start_ns, 20000000, 5000000000);
	/* and the peer sees that nothing more comes. */
	iov = (struct iovec){ buf, 1 };
	assert_int_equal(channel_readv(&a, &iov, 1, 1000), -EPIPE);
	channel_close(&a);
	/* Ended by the peer's going. */
	start_ns = now_ns();
	channel_linger(&b, 60000);
	assert_in_range(now_ns() - start_ns, 0, 30000000000);
	channel_close(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_as_they_were_over_a_unix_socket),
		cmocka_unit_test(bytes_arrive_as_they_were_over_tcp),
		cmocka_unit_test(every_wait_has_an_end),
		cmocka_unit_test(what_is_no_connection_is_not_adopted),
		cmocka_unit_test(a_connection_that_was_refused_is_not_adopted),
		cmocka_unit_test(a_socket_is_adopted_with_its_flags),
		cmocka_unit_test(a_socket_that_lingers_is_closed_at_once),
		cmocka_unit_test(a_peer_that_says_little_is_not_listened_to_for_long),
		cmocka_unit_test(a_piece_is_read_as_a_whole_or_not_at_all),
		cmocka_unit_test(a_peer_that_is_slow_holds_nobody_up),
		cmocka_unit_test(the_last_bytes_reach_a_peer_that_is_hung_up_on),
	};

	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
