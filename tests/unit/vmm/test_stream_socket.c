/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What passes for a connection, and the ways in which connecting to a unix socket ends. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/stream_socket.h"

static char dir[] = "/tmp/ferry-stream-socket-XXXXXX";
static struct sockaddr_un addr = { .sun_family = AF_UNIX };

static int listen_here(int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void assert_none(int fd, int ret, const char *why)
{
	struct error err = { 0 };

	assert_int_equal(stream_socket_check(fd, &err), ret);
	if (strncmp(err.text, why, strlen(why)) != 0)
		fail_msg("%s", err.text);
	if (fd >= 0)
		close(fd);
}

static void what_is_no_connection_is_said_in_a_word(void **state)
{
	int listener = listen_here(1);

	assert_none(-1, -EBADF, "no socket: ");
	assert_none(eventfd(0, EFD_CLOEXEC), -ENOTSOCK, "no socket: ");
	assert_none(open("/dev/null", O_RDWR | O_CLOEXEC), -ENOTSOCK, "no socket: ");
	assert_none(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), -EPROTOTYPE, "no stream socket");
	assert_none(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), -EPROTOTYPE, "no stream socket");
	assert_none(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), -ENOTCONN,
		    "a socket without a connection: ");
	assert_none(listener, -ENOTCONN, "a socket without a connection: ");
	unlink(addr.sun_path);
}

/* Its peer may have gone already: what it has said is still to be read. */
static void a_connection_is_one_in_each_family(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[2], fd;
	socklen_t len = sizeof(in);
	struct error err = { 0 };

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(stream_socket_check(fds[0], &err), 0);
	close(fds[1]);
	assert_int_equal(stream_socket_check(fds[0], &err), 0);
	close(fds[0]);
	assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* "lo" may be down, as in a new network namespace. */
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
		assert_int_equal(stream_socket_check(fd, &err), 0);
	close(fd);
	close(listener);
}

static void connecting_ends_with_a_socket_or_a_reason(void **state)
{
	int listener, fd, ret;

	assert_int_equal(stream_socket_connect(&addr, 10000), -ENOENT);
	listener = listen_here(8);
	fd = stream_socket_connect(&addr, 10000);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	close(fd);
	close(listener);
	ret = stream_socket_connect(&addr, 10000);
	assert_int_equal(ret, -ECONNREFUSED);
	unlink(addr.sun_path);
}

/* However many wait there already. */
static void a_listener_that_takes_nobody_is_given_up_in_time(void **state)
{
	int listener = listen_here(0), fds[8], n = 0, ret;
	uint64_t start_ns;

	do {
		start_ns = now_ns();
		ret = stream_socket_connect(&addr, 50);
		if (ret >= 0)
			fds[n++] = ret;
	} while (ret >= 0 && n < 8);
	assert_int_equal(ret, -EAGAIN);
	assert_in_range(now_ns() - start_ns, 40000000, 20000000000);
	while (n > 0)
		close(fds[--n]);
	close(listener);
	unlink(addr.sun_path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_connection_is_said_in_a_word),
		cmocka_unit_test(a_connection_is_one_in_each_family),
		cmocka_unit_test(connecting_ends_with_a_socket_or_a_reason),
		cmocka_unit_test(a_listener_that_takes_nobody_is_given_up_in_time),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", dir);
	ret = cmocka_run_group_tests_name("stream_socket", tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
