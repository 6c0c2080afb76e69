/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways in to a destination: the call that brings a connection, and what becomes of it; the door. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "migration/entrance.h"
#include "migration/stream.h"
#include "vmm/control/client.h"
#include "vmm/control/interface.h"
#include "vmm/control/server.h"

struct fixture {
	char dir[32];
	struct guard guard;
	struct entrance entrance;
	pid_t door_pid;
	struct control *control;
	struct control_offer offer;
	int cancel_fd;
};

static void method_connect(struct control_call *call, void *opaque)
{
	entrance_connect(opaque, call);
}

static const struct control_method methods[] = { { .name = "Connect", .fn = method_connect } };

static const struct control_interface interface = {
	.name = CLIENT_INTERFACE,
	.methods = methods,
	.n_methods = ARRAY_SIZE(methods),
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };
	const struct control_config config = {
		.runtime_dir = f->dir, .name = "web1", .offers = &f->offer, .n_offers = 1, .guard = &f->guard
	};

	f->offer = (struct control_offer){ &interface, &f->entrance };
	strcpy(f->dir, "/tmp/ferry-entrance-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(door_fork(&f->entrance.door, &err), 0);
	f->door_pid = f->entrance.door.pid;
	assert_int_equal(guard_init(&f->guard, &err), 0);
	assert_int_equal(entrance_init(&f->entrance, "still starting", &err), 0);
	assert_int_equal(control_create(&f->control, &config, &err), 0);
	f->cancel_fd = eventfd(0, EFD_CLOEXEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->control)
		control_destroy(f->control);
	entrance_exit(&f->entrance);
	assert_int_equal(guard_exit(&f->guard), 0);
	close(f->cancel_fd);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* Calls, with one end of a new connection; the other is *@source. */
static void call(struct fixture *f, struct control_client *c, int *source)
{
	struct error err = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(control_connect(c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(c, "alt.ferry.Connect", "{}", CONTROL_RESULT, fds[1], &err), 0);
	close(fds[1]);
	*source = fds[0];
}

static void assert_answer(struct control_client *c, const char *error, const char *reason)
{
	struct error err = { 0 };
	const char *parameters;

	assert_int_equal(control_receive(c, &parameters, &err), *error ? -EREMOTEIO : 0);
	assert_string_equal(c->error, error);
	assert_non_null(strstr(err.text, reason));
	control_disconnect(c);
}

/* Takes the connection, once the source has spoken. */
static void take(struct fixture *f, int source)
{
	uint8_t hello[sizeof(struct stream_header) + 1] = { 0 };
	struct arrivals_connection taken;
	struct stream_header header;
	struct error err = { 0 };

	stream_header_put(&header, STREAM_HELLO, 1, 0);
	memcpy(hello, &header, sizeof(header));
	assert_int_equal(send(source, hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
	assert_int_equal(arrivals_take(&f->entrance.arrivals, f->cancel_fd, &taken, &err), 0);
	free(taken.heard);
	close(taken.fd);
}

static void a_call_without_a_connection_is_refused(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	int pipe_fds[2];

	arrivals_open(&f->entrance.arrivals);
	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Connect", "{}", CONTROL_RESULT, -1, &err), 0);
	assert_answer(&c, CLIENT_ERROR_CONNECTION, "the connection to the source is missing");
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Connect", "{}", CONTROL_RESULT, pipe_fds[0], &err), 0);
	assert_answer(&c, CLIENT_ERROR_CONNECTION, "no socket");
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* The source and the caller both hear it. */
static void who_comes_too_early_or_too_late_is_told_so(void **state)
{
	struct fixture *f = *state;
	struct stream_header header;
	struct control_client c;
	int source;

	call(f, &c, &source);
	assert_answer(&c, CLIENT_ERROR_BUSY, "still starting");
	assert_int_equal(recv(source, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(get_le32(&header.type), STREAM_REFUSED);
	close(source);

	arrivals_open(&f->entrance.arrivals);
	call(f, &c, &source);
	take(f, source);
	arrivals_settle(&f->entrance.arrivals, 0, "");
	assert_answer(&c, "", "");
	close(source);

	arrivals_close(&f->entrance.arrivals, "another source was faster");
	call(f, &c, &source);
	assert_answer(&c, CLIENT_ERROR_BUSY, "another source was faster");
	close(source);
}

static void the_answer_comes_when_the_connection_has_ended(void **state)
{
	struct fixture *f = *state;
	struct pollfd come = { .fd = f->entrance.arrivals.event_fd, .events = POLLIN };
	struct control_client c;
	int source;

	arrivals_open(&f->entrance.arrivals);
	call(f, &c, &source);
	take(f, source);
	arrivals_settle(&f->entrance.arrivals, -EPROTO, "a RAM frame out of order");
	assert_answer(&c, CLIENT_ERROR_FAILED, "a RAM frame out of order");
	close(source);
	/* One that has come, and that nobody has listened to yet. */
	loop_take(f->entrance.arrivals.event_fd);
	call(f, &c, &source);
	assert_int_equal(poll(&come, 1, -1), 1);
	control_destroy(f->control);
	f->control = NULL;
	assert_answer(&c, CLIENT_ERROR_FAILED, "has ended meanwhile");
	close(source);
}

/* Nothing of its call is left to be told. */
static void a_caller_that_goes_is_not_told(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	int source;

	arrivals_open(&f->entrance.arrivals);
	call(f, &c, &source);
	take(f, source);
	control_disconnect(&c);
	control_destroy(f->control);
	f->control = NULL;
	arrivals_settle(&f->entrance.arrivals, 0, "");
	close(source);
}

static int knock(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void who_comes_through_the_door_is_among_the_arrivals(void **state)
{
	struct fixture *f = *state;
	struct stream_header header;
	struct error err = { 0 };
	char path[64];
	int source;

	snprintf(path, sizeof(path), "%s/door", f->dir);
	arrivals_open(&f->entrance.arrivals);
	assert_int_equal(entrance_open(&f->entrance, path, geteuid(), &f->guard, &err), 0);
	source = knock(path);
	take(f, source);
	close(source);
	/* Somebody else has been faster. */
	arrivals_close(&f->entrance.arrivals, "too late");
	source = knock(path);
	assert_int_equal(recv(source, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	assert_int_equal(get_le32(&header.type), STREAM_REFUSED);
	close(source);
}

static void a_door_that_dies_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	struct arrivals_connection taken;
	struct error err = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "%s/door", f->dir);
	arrivals_open(&f->entrance.arrivals);
	assert_int_equal(entrance_open(&f->entrance, path, geteuid(), &f->guard, &err), 0);
	kill(f->door_pid, SIGKILL);
	assert_int_equal(arrivals_take(&f->entrance.arrivals, f->cancel_fd, &taken, &err), -EPIPE);
	assert_non_null(strstr(err.text, path));
	assert_non_null(strstr(err.text, "signal 9"));
}

#define ENTRANCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ENTRANCE_TEST(a_call_without_a_connection_is_refused),
		ENTRANCE_TEST(who_comes_too_early_or_too_late_is_told_so),
		ENTRANCE_TEST(the_answer_comes_when_the_connection_has_ended),
		ENTRANCE_TEST(a_caller_that_goes_is_not_told),
		ENTRANCE_TEST(who_comes_through_the_door_is_among_the_arrivals),
		ENTRANCE_TEST(a_door_that_dies_ends_the_wait),
	};

	log_level = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
