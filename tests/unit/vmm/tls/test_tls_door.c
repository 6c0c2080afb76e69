/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who comes in by a destination's door for TLS, and who keeps nobody else out. */
#define _GNU_SOURCE
#include "tls_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/tls/tcp.h"
#include "vmm/tls/door.h"

/* More than the door takes at one time. */
#define N_STRANGERS 240u

struct caller {
	int fd;
	char peer[TLS_NAME_MAX];
};

struct fixture {
	struct tls_door door;
	char place[32];
	struct tls_address address;
	int came[2]; /* a pipe of struct caller */
	int ended_fd;
	char reason[256];
};

static void came(void *opaque, int fd, const char *peer)
{
	struct fixture *f = opaque;
	struct caller caller = { .fd = fd };

	snprintf(caller.peer, sizeof(caller.peer), "%s", peer);
	assert_int_equal(write(f->came[1], &caller, sizeof(caller)), sizeof(caller));
}

static void ended(void *opaque, const char *reason)
{
	struct fixture *f = opaque;

	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	assert_int_equal(eventfd_write(f->ended_fd, 1), 0);
}

static int try_open(struct fixture *f, const char *dir, const char *peer, struct error *err)
{
	const struct tls_door_config config = {
		.place = f->place, .dir = dir, .peer = peer, .came = came, .ended = ended, .opaque = f
	};

	return tls_door_open(&f->door, &config, err);
}

static void open_door(struct fixture *f, const char *peer)
{
	struct error err = { 0 };

	if (try_open(f, "hostb", peer, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct fixture *f = calloc(1, sizeof(*f));
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A port that is free, or was a moment ago. */
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	close(fd);
	snprintf(f->place, sizeof(f->place), "127.0.0.1:%u", ntohs(addr.sin_port));
	assert_int_equal(tls_address_parse(&f->address, f->place, &(struct error){ 0 }), 0);
	assert_int_equal(pipe2(f->came, O_CLOEXEC), 0);
	f->ended_fd = eventfd(0, EFD_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tls_door_close(&f->door);
	close(f->came[0]);
	close(f->came[1]);
	close(f->ended_fd);
	free(f);
	/* Nothing of the door is left, and nothing that did not prove who it was. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	return 0;
}

static int knock(struct fixture *f)
{
	struct error err = { 0 };
	int fd = tls_tcp_connect(&f->address, 10000, &err);

	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

/* Comes as @dir, and has a connection with the destination. */
static void come_in(struct fixture *f, struct helper *h, const char *dir, struct caller *caller)
{
	char byte = 0;

	helper_start(h, "connect", dir, knock(f), "--host", "hostb", NULL);
	helper_wait(h);
	assert_string_equal(h->result.reason.text, "");
	assert_int_equal(read(f->came[0], caller, sizeof(*caller)), sizeof(*caller));
	assert_int_equal(send(h->fd, "x", 1, 0), 1);
	assert_int_equal(recv(caller->fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
}

static void leave(struct helper *h, struct caller *caller)
{
	close(caller->fd);
	assert_int_equal(helper_end(h), 0);
}

static void several_sources_come_in_one_after_the_other_and_at_once(void **state)
{
	struct caller callers[3];
	struct helper h[3];

	open_door(*state, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		come_in(*state, &h[i], "hosta", &callers[i]);
		assert_string_equal(callers[i].peer, "hosta");
	}
	for (unsigned int i = 0; i < 3; i++)
		leave(&h[i], &callers[i]);
}

static void a_source_of_another_name_is_turned_away_and_the_next_comes_in(void **state)
{
	struct fixture *f = *state;
	struct caller caller;
	struct helper h;

	open_door(f, "192.0.2.1");
	helper_start(&h, "connect", "local", knock(f), "--host", "hostb", NULL);
	helper_wait(&h);
	assert_non_null(
		strstr(h.result.reason.text, "the certificate is of 127.0.0.1, and 192.0.2.1 is wanted"));
	assert_int_equal(helper_end(&h), 1);
	come_in(f, &h, "hosta", &caller);
	assert_string_equal(caller.peer, "192.0.2.1");
	leave(&h, &caller);
}

static void silent_slow_and_lying_strangers_keep_nobody_out(void **state)
{
	struct fixture *f = *state;
	int strangers[N_STRANGERS];
	struct caller caller;
	struct helper h;
	uint64_t start;

	open_door(f, NULL);
	for (unsigned int i = 0; i < N_STRANGERS; i++) {
		strangers[i] = knock(f);
		/* One in three says nothing, one is no TLS, one begins a record and stops. */
		if (i % 3 == 1)
			assert_int_equal(send(strangers[i], "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
		if (i % 3 == 2)
			assert_int_equal(send(strangers[i], "\x16\x03\x01\x40\x00\x01", 6, MSG_NOSIGNAL), 6);
	}
	start = now_ns();
	for (unsigned int i = 0; i < 3; i++) {
		come_in(f, &h, "hosta", &caller);
		leave(&h, &caller);
	}
	/* The slow ones have ten seconds each, if nobody else comes. */
	assert_true(ms_since(start) < 10000);
	for (unsigned int i = 0; i < N_STRANGERS; i++)
		close(strangers[i]);
}

static void each_connection_has_randomness_of_its_own(void **state)
{
	/* A client's hello as openssl sends it would do; ours is what ferry-tls sends. Of the server's hello,
	 * bytes 11 to 42 are random (RFC 8446, section 4.1.3). */
	struct fixture *f = *state;
	uint8_t random[2][43];

	open_door(f, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		int tcp[2], server = knock(f);
		uint8_t hello[2048];
		struct helper h;
		ssize_t n;

		tcp_pair(tcp);
		helper_start(&h, "connect", "hosta", tcp[0], "--host", "hostb", NULL);
		n = recv(tcp[1], hello, sizeof(hello), 0);
		assert_true(n > 0);
		assert_int_equal(send(server, hello, (size_t)n, 0), n);
		assert_int_equal(recv(server, random[i], sizeof(random[i]), MSG_WAITALL), sizeof(random[i]));
		assert_int_equal(random[i][0], 0x16);
		assert_int_equal(random[i][5], 0x02);
		close(server);
		close(tcp[1]);
		helper_wait(&h);
		helper_end(&h);
	}
	assert_memory_not_equal(random[0] + 11, random[1] + 11, 32);
}

static void connections_outlive_the_door(void **state)
{
	struct fixture *f = *state;
	struct caller caller;
	struct helper h;
	char byte = 0;

	open_door(f, NULL);
	come_in(f, &h, "hosta", &caller);
	tls_door_close(&f->door);
	assert_int_equal(send(caller.fd, "y", 1, 0), 1);
	assert_int_equal(recv(h.fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'y');
	leave(&h, &caller);
	assert_int_equal(tls_tcp_connect(&f->address, 1000, &(struct error){ 0 }), -ECONNREFUSED);
}

static void the_doors_death_is_told(void **state)
{
	struct fixture *f = *state;
	eventfd_t count;

	open_door(f, NULL);
	kill(f->door.child.pid, SIGKILL);
	assert_int_equal(eventfd_read(f->ended_fd, &count), 0);
	assert_non_null(strstr(f->reason, "ferry-tls, which takes connections, has ended"));
}

static void a_door_that_cannot_be_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	struct fixture other = { .ended_fd = -1 };

	assert_int_equal(try_open(f, "readable", NULL, &err), -EACCES);
	assert_non_null(strstr(err.text, "users other than its owner may access this key"));
	open_door(f, NULL);
	strcpy(other.place, f->place);
	err = (struct error){ 0 };
	assert_int_equal(try_open(&other, "hostb", NULL, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "cannot listen on 127.0.0.1"));
}

static int group_setup(void **state)
{
	tls_program_to_path();
	return tls_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(several_sources_come_in_one_after_the_other_and_at_once,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_source_of_another_name_is_turned_away_and_the_next_comes_in,
						setup, teardown),
		cmocka_unit_test_setup_teardown(silent_slow_and_lying_strangers_keep_nobody_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(each_connection_has_randomness_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_outlive_the_door, setup, teardown),
		cmocka_unit_test_setup_teardown(the_doors_death_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_door_that_cannot_be_is_refused_at_once, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, group_setup, tls_teardown);
}
