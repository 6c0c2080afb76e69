/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of "--to tls:HOST:PORT", from the place to a connection or a reason. */
#define _GNU_SOURCE
#include "tls_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/descriptors.h"
#include "vmm/control/transport.h"
#include "vmm/tls/tcp.h"

/* Listens on a free port of 127.0.0.1, and writes the place that leads there by the name @host. */
static int listen_as(const char *host, char place[64])
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	snprintf(place, 64, "tls:%s:%u", host, ntohs(addr.sin_port));
	return fd;
}

/* A process that takes one connection as @dir, and gives back what comes. */
static pid_t serve(int listener, const char *dir)
{
	pid_t pid = fork();
	char byte;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct helper h;

		helper_start(&h, "accept", dir, accept4(listener, NULL, NULL, SOCK_CLOEXEC), NULL);
		helper_wait(&h);
		while (h.fd >= 0 && recv(h.fd, &byte, 1, 0) == 1)
			(void)!send(h.fd, &byte, 1, MSG_NOSIGNAL);
		helper_end(&h);
		_exit(0);
	}
	close(listener);
	return pid;
}

static const struct transport_options *as(struct transport_options *o, const char *dir, const char *peer)
{
	*o = (struct transport_options){
		.name = "web1", .tls_dir = dir, .peer = peer, .peer_uid = TRANSPORT_ANY_UID
	};
	return o;
}

static void a_connection_to_the_host_that_was_named_carries_bytes(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	const unsigned int before = fake_count_descriptors();

	for (unsigned int i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct transport_options o;
		struct error err = { 0 };
		struct transport t;
		char place[64], byte = 0;
		pid_t pid = serve(listen_as(hosts[i], place), "local");

		assert_int_equal(
			transport_open(&t, place, as(&o, "hosta", i == 1 ? "127.0.0.1" : NULL), &err), 0);
		assert_non_null(strstr(t.note, t.child > 0 ? "(127.0.0.1; ferry-tls encrypts)"
							   : "(127.0.0.1; the kernel encrypts)"));
		assert_int_equal(send(t.fd, "x", 1, 0), 1);
		assert_int_equal(recv(t.fd, &byte, 1, 0), 1);
		assert_int_equal(byte, 'x');
		assert_int_equal(transport_close(&t, &err), 0);
		stranger_end(pid);
		assert_int_equal(fake_count_descriptors(), before);
	}
}

/* Whatever goes wrong: a reason, and nothing left. */
static void refused(const char *place, const struct transport_options *o, int ret, const char *words)
{
	const unsigned int before = fake_count_descriptors();
	struct error err = { 0 };
	struct transport t;

	if (transport_open(&t, place, o, &err) != ret || !strstr(err.text, words))
		fail_msg("%s: %s", place, err.text);
	assert_int_equal(t.fd, -1);
	assert_int_equal(t.child, 0);
	assert_int_equal(fake_count_descriptors(), before);
}

static void a_host_of_another_name_is_refused_in_words(void **state)
{
	struct transport_options o;
	char place[64];
	pid_t pid = serve(listen_as("127.0.0.1", place), "hostb");

	refused(place, as(&o, "hosta", NULL), -EACCES,
		"the certificate is of hostb, and 127.0.0.1 is wanted");
	stranger_end(pid);
	pid = serve(listen_as("127.0.0.1", place), "local");
	refused(place, as(&o, "hosta", "hostb"), -EACCES,
		"the certificate is of 127.0.0.1, and hostb is wanted");
	stranger_end(pid);
	pid = serve(listen_as("127.0.0.1", place), "local");
	refused(place, as(&o, "expired", NULL), -EACCES, "refuses this one: the certificate has expired");
	stranger_end(pid);
	pid = serve(listen_as("127.0.0.1", place), "local");
	refused(place, as(&o, "readable", NULL), -EACCES, "users other than its owner may access this key");
	stranger_end(pid);
}

static void a_host_where_nobody_listens_is_named(void **state)
{
	struct transport_options o;
	char place[64];

	close(listen_as("127.0.0.1", place));
	refused(place, as(&o, "hosta", NULL), -ECONNREFUSED, "127.0.0.1: Connection refused");
}

static void a_place_that_is_none_is_refused(void **state)
{
	static const char *const places[] = { "tls:",          "tls:host",    "tls:host:",
					      "tls::7000",     "tls:host:0",  "tls:host:65536",
					      "tls:host:7x",   "tls:host:-1", "tls:[::1:7000",
					      "tls:[::1]7000", "tls:[]:7000", "tls:fe80::1:7000" };
	struct transport_options o;

	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
		refused(places[i], as(&o, "hosta", NULL), -EINVAL,
			"give tls:HOST:PORT, with an IPv6 address in brackets");
	refused("tls:host:7000", as(&o, NULL, NULL), -EINVAL, "--tls says which folder");
}

static void an_ipv6_address_is_in_brackets(void **state)
{
	struct error err = { 0 };
	struct tls_address a;

	assert_int_equal(tls_address_parse(&a, "[2001:db8::1]:7000", &err), 0);
	assert_string_equal(a.host, "2001:db8::1");
	assert_string_equal(a.port, "7000");
}

static void a_listener_takes_connections_and_the_next_one_gets_its_address(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct tls_address a = { .host = "127.0.0.1" };
		struct error err = { 0 };
		char place[64];
		int fd, client;

		close(listen_as("127.0.0.1", place));
		strcpy(a.port, strrchr(place, ':') + 1);
		fd = tls_tcp_listen(&a, &err);
		assert_true(fd >= 0);
		client = tls_tcp_connect(&a, 1000, &err);
		assert_true(client >= 0);
		/* The second listener of one address is told so. */
		assert_int_equal(tls_tcp_listen(&a, &err), -EADDRINUSE);
		assert_non_null(strstr(err.text, "cannot listen on 127.0.0.1"));
		close(client);
		close(fd);
	}
}

static void without_ferry_tls_the_reason_says_so(void **state)
{
	struct transport_options o;
	char *path = strdup(getenv("PATH"));

	setenv("PATH", "/nowhere:relative", 1);
	refused("tls:localhost:7000", as(&o, "hosta", NULL), -ENOENT, "there is no ferry-tls");
	setenv("PATH", path, 1);
	free(path);
}

static int setup(void **state)
{
	tls_program_to_path();
	return tls_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_to_the_host_that_was_named_carries_bytes),
		cmocka_unit_test(a_host_of_another_name_is_refused_in_words),
		cmocka_unit_test(a_host_where_nobody_listens_is_named),
		cmocka_unit_test(a_place_that_is_none_is_refused),
		cmocka_unit_test(an_ipv6_address_is_in_brackets),
		cmocka_unit_test(a_listener_takes_connections_and_the_next_one_gets_its_address),
		cmocka_unit_test(without_ferry_tls_the_reason_says_so),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, setup, tls_teardown);
}
