/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/channel.c: addresses, the life of a unix socket's file, whole transfers, and every way a wait
 * ends. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "migration/channel.h"

static char dir[] = "/tmp/ferry-channel-XXXXXX";
static char path[64], address[80];

/* Waits for one connection alone. */
static int accept_one(struct channel *c, const char *at, int cancel_fd, struct error *err)
{
	struct channel_listener l;
	int ret = channel_listen(&l, at, cancel_fd, err);

	if (ret < 0)
		return ret;
	ret = channel_take(&l, c, err);
	channel_unlisten(&l);
	return ret;
}

static void an_address_that_is_none_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		const char *address;
		const char *why;
	} bad[] = {
		{ "", "no migration address" },
		{ "ssh:host", "no migration address" },
		{ "unix:", "1 to 107" },
		{ "unix:/"
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "xxxxx"
		  "xxxxxxxxxxxxxxxx",
		  "1 to 107" },
		{ "tcp:", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1", "tcp:HOST:PORT" },
		{ "tcp::1", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:0", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:65536", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:-1", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:+1", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:1x", "tcp:HOST:PORT" },
		{ "tcp:127.0.0.1:99999999999999999999", "tcp:HOST:PORT" },
		{ "tcp:192.168.0.1:4444", "loopback" },
		{ "tcp:0.0.0.0:4444", "loopback" },
		{ "tcp:128.0.0.1:4444", "loopback" },
		{ "tcp:localhost:4444", "loopback" },
		{ "tcp:::1:4444", "loopback" },
		{ "tcp:[::]:4444", "loopback" },
		{ "tcp:[::1:4444", "loopback" },
		{ "tcp:[:4444", "loopback" },
		{ "tcp:[]:4444", "loopback" },
		{ "tcp:[fe80::1]:4444", "loopback" },
		{ "tcp:[::ffff:127.0.0.1]:4444", "loopback" },
		{ "tcp:127.0.0.1.127.0.0.1.127.0.0.1.127.0.0.1.127.0.0.1.127.0.0.1:4444", "tcp:HOST:PORT" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		struct channel c;
		struct error err = { 0 };

		assert_int_equal(accept_one(&c, bad[i].address, -1, &err), -EINVAL);
		if (!strstr(err.text, bad[i].why))
			fail_msg("%s: %s", bad[i].address, err.text);
	}
}

struct acceptor {
	pthread_t thread;
	struct channel c;
	const char *address;
	int cancel_fd;
	int ret;
	struct error err;
};

static void *acceptor_run(void *arg)
{
	struct acceptor *a = arg;

	a->ret = accept_one(&a->c, a->address, a->cancel_fd, &a->err);
	return NULL;
}

static void acceptor_start(struct acceptor *a, const char *at, int cancel_fd)
{
	*a = (struct acceptor){ .address = at, .cancel_fd = cancel_fd };
	pthread_create(&a->thread, NULL, acceptor_run, a);
}

union any_address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Connects as soon as somebody listens. */
static void connect_to(struct channel *c, const union any_address *to, socklen_t len)
{
	struct error err = { 0 };
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	while (connect(fd, &to->any, len) < 0)
		sched_yield();
	assert_int_equal(channel_adopt(c, fd, -1, &err), 0);
}

static void connect_to_path(struct channel *c)
{
	union any_address to = { .un.sun_family = AF_UNIX };

	snprintf(to.un.sun_path, sizeof(to.un.sun_path), "%s", path);
	connect_to(c, &to, sizeof(to.un));
}

static void connected_pair(struct channel *a, struct channel *b)
{
	struct error err = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(channel_adopt(a, fds[0], -1, &err), 0);
	assert_int_equal(channel_adopt(b, fds[1], -1, &err), 0);
}

static int make_socket(bool listening)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void the_socket_of_a_dead_process_is_replaced(void **state)
{
	struct acceptor acceptor;
	struct channel c;
	struct stat st;

	/* A dead process has left this one. */
	close(make_socket(true));
	acceptor_start(&acceptor, address, -1);
	connect_to_path(&c);
	pthread_join(acceptor.thread, NULL);
	assert_int_equal(acceptor.ret, 0);
	/* The file is gone once the connection is there. */
	assert_int_equal(lstat(path, &st), -1);
	channel_close(&c);
	channel_close(&acceptor.c);
	assert_int_equal(acceptor.c.fd, -1);
}

static void a_socket_is_for_its_owner_alone(void **state)
{
	int cancel_fd = eventfd(0, EFD_CLOEXEC);
	mode_t old = umask(0);
	struct acceptor acceptor;
	struct stat st;

	acceptor_start(&acceptor, address, cancel_fd);
	while (lstat(path, &st) < 0)
		sched_yield();
	umask(old);
	assert_int_equal(st.st_mode & 07777, 0600);
	eventfd_write(cancel_fd, 1);
	pthread_join(acceptor.thread, NULL);
	assert_int_equal(acceptor.ret, -ECANCELED);
	assert_non_null(strstr(acceptor.err.text, "cancelled"));
	assert_int_equal(lstat(path, &st), -1);
	close(cancel_fd);
}

static void a_path_that_is_in_use_stays_as_it_is(void **state)
{
	struct error err = { 0 };
	struct channel c;
	struct stat st;
	FILE *file;
	int fd;

	fd = make_socket(true);
	assert_int_equal(accept_one(&c, address, -1, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, path));
	/* The one that listens there has not noticed. */
	assert_int_equal(accept4(fd, NULL, NULL, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	unlink(path);

	/* Bound, and about to listen. */
	fd = make_socket(false);
	assert_int_equal(accept_one(&c, address, -1, &err), -EADDRINUSE);
	close(fd);
	unlink(path);

	/* Not ours to remove. */
	file = fopen(path, "w");
	fclose(file);
	err = (struct error){ 0 };
	assert_int_equal(accept_one(&c, address, -1, &err), -EEXIST);
	assert_non_null(strstr(err.text, "not a socket"));
	assert_int_equal(lstat(path, &st), 0);
	unlink(path);
}

/* Whether there is a way: "lo" may be down, as in a new network namespace. Sends nothing. */
static bool has_route(const union any_address *to, socklen_t len)
{
	int fd = socket(to->any.sa_family, SOCK_DGRAM, 0);
	bool has = fd >= 0 && connect(fd, &to->any, len) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

/* A port of loopback that was free a moment ago, or 0 where the host does not have the family. */
static uint16_t free_port(int family)
{
	union any_address sa = { .any.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET ? sizeof(sa.v4) : sizeof(sa.v6);
	int fd = socket(family, SOCK_STREAM, 0);
	uint16_t port = 0;

	if (family == AF_INET)
		sa.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		sa.v6.sin6_addr = in6addr_loopback;
	if (fd >= 0 && bind(fd, &sa.any, len) == 0 && getsockname(fd, &sa.any, &len) == 0 &&
	    has_route(&sa, len))
		port = ntohs(family == AF_INET ? sa.v4.sin_port : sa.v6.sin6_port);
	if (fd >= 0)
		close(fd);
	return port;
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
	/* Who listens has no peer. */
	assert_int_equal(channel_adopt(&c, make_socket(true), -1, &(struct error){ 0 }), -ENOTCONN);
	unlink(path);
}

static void a_connection_that_was_refused_is_not_adopted(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	struct error err = { 0 };
	struct channel c;

	to.sin_port = htons(free_port(AF_INET));
	if (to.sin_port == 0)
		skip();
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno != EINPROGRESS)
		skip();
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(channel_adopt(&c, fd, -1, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "has failed: "));
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
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, peer;
	socklen_t len = sizeof(at);
	struct error err = { 0 };
	struct channel c;
	uint64_t start_ns;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	if (free_port(AF_INET) == 0)
		skip();
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
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
	struct acceptor acceptor;
	struct channel c;

	acceptor_start(&acceptor, address, -1);
	connect_to_path(&c);
	pthread_join(acceptor.thread, NULL);
	assert_int_equal(acceptor.ret, 0);
	transfer(c, acceptor.c);
}

static void bytes_arrive_as_they_were_over_tcp(void **state)
{
	static const struct {
		int family;
		const char *host, *plain;
	} hosts[] = { { AF_INET, "127.0.0.1", "127.0.0.1" },
		      { AF_INET, "127.8.9.1", "127.8.9.1" },
		      { AF_INET6, "[::1]", "::1" } };

	for (unsigned int i = 0; i < ARRAY_SIZE(hosts); i++) {
		bool v4 = hosts[i].family == AF_INET;
		uint16_t port = free_port(hosts[i].family);
		union any_address to = { .any.sa_family = (sa_family_t)hosts[i].family };
		struct acceptor acceptor;
		struct channel c;
		char at[64];

		if (port == 0)
			continue;
		snprintf(at, sizeof(at), "tcp:%s:%u", hosts[i].host, port);
		if (v4)
			to.v4.sin_port = htons(port);
		else
			to.v6.sin6_port = htons(port);
		assert_int_equal(inet_pton(hosts[i].family, hosts[i].plain,
					   v4 ? (void *)&to.v4.sin_addr : (void *)&to.v6.sin6_addr),
				 1);
		acceptor_start(&acceptor, at, -1);
		connect_to(&c, &to, v4 ? sizeof(to.v4) : sizeof(to.v6));
		pthread_join(acceptor.thread, NULL);
		assert_int_equal(acceptor.ret, 0);
		transfer(c, acceptor.c);
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
		cmocka_unit_test(an_address_that_is_none_is_refused_with_what_would_be_right),
		cmocka_unit_test(the_socket_of_a_dead_process_is_replaced),
		cmocka_unit_test(a_socket_is_for_its_owner_alone),
		cmocka_unit_test(a_path_that_is_in_use_stays_as_it_is),
		cmocka_unit_test(bytes_arrive_as_they_were_over_a_unix_socket),
		cmocka_unit_test(bytes_arrive_as_they_were_over_tcp),
		cmocka_unit_test(every_wait_has_an_end),
		cmocka_unit_test(what_is_no_connection_is_not_adopted),
		cmocka_unit_test(a_connection_that_was_refused_is_not_adopted),
		cmocka_unit_test(a_socket_is_adopted_with_its_flags),
		cmocka_unit_test(a_socket_that_lingers_is_closed_at_once),
		cmocka_unit_test(a_peer_that_is_slow_holds_nobody_up),
		cmocka_unit_test(the_last_bytes_reach_a_peer_that_is_hung_up_on),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(address, sizeof(address), "unix:%s", path);
	ret = cmocka_run_group_tests_name("channel", tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
