/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control socket, methods to be called, and clients that are not ours: see the header. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/control_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fake/descriptors.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"

/* Methods */

static void method_echo(struct control_call *call, void *opaque)
{
	char text[1024], quoted[4096], reply[4200];
	uint64_t n = 0;

	if (!control_get_string(call, "text", text, sizeof(text))) {
		control_fail(call, "alt.ferry.InvalidParameter", "no \"text\"");
		return;
	}
	control_get_number(call, "n", &n);
	json_quote(text, quoted, sizeof(quoted));
	snprintf(reply, sizeof(reply), "{\"text\":%s,\"n\":%llu}", quoted, (unsigned long long)n);
	control_reply(call, reply);
}

static void method_progress(struct control_call *call, void *opaque)
{
	char reply[64];

	for (unsigned int i = 0; i < N_PROGRESS; i++) {
		snprintf(reply, sizeof(reply), "{\"round\":%u}", i);
		control_progress(call, reply);
	}
	control_reply(call, "{\"round\":99}");
}

static void method_flood(struct control_call *call, void *opaque)
{
	struct fixture *f = opaque;

	for (unsigned int i = 0; i < N_FLOOD; i++)
		control_progress(call, "{\"text\":\"0123456789012345678901234567890123456789\"}");
	assert_int_equal(eventfd_write(f->flooded_fd, 1), 0);
	control_reply(call, "{}");
}

static void method_hold(struct control_call *call, void *opaque)
{
	struct fixture *f = opaque;
	struct pollfd p = { .fd = control_call_fd(call), .events = POLLIN };

	atomic_fetch_add(&f->n_running, 1);
	control_progress(call, "{}");
	poll(&p, 1, -1);
	atomic_fetch_sub(&f->n_running, 1);
	control_fail(call, "alt.ferry.Cancelled", "hung up");
}

static void method_take(struct control_call *call, void *opaque)
{
	int fd = control_take_fd(call);

	if (fd < 0) {
		control_fail(call, "alt.ferry.InvalidParameter", "no descriptor");
		return;
	}
	assert_int_equal(control_take_fd(call), -1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	control_reply(call, "{}");
}

static void method_leave(struct control_call *call, void *opaque)
{
	control_reply(call, "{}");
}

static const char *const echo_parameters[] = { "text", "n", NULL };

static const struct control_method methods[] = {
	{ .name = "Echo", .fn = method_echo, .parameters = echo_parameters },
	{ .name = "Progress", .fn = method_progress },
	{ .name = "Flood", .fn = method_flood },
	{ .name = "Hold", .fn = method_hold },
	{ .name = "Take", .fn = method_take },
	{ .name = "Leave", .fn = method_leave },
	{ .name = "Watch", .fn = method_progress, .mode = CONTROL_NEEDS_MORE },
	{ .name = "Later" },
};

static const struct control_interface interface = {
	.name = CLIENT_INTERFACE,
	.description = "interface " CLIENT_INTERFACE "\n\n# \"Words\"\nmethod Later() -> ()\n",
	.methods = methods,
	.n_methods = ARRAY_SIZE(methods),
};

int create_in(struct fixture *f, const char *dir, const char *name, struct control **control,
	      struct error *err)
{
	const struct control_config config = {
		.runtime_dir = dir, .name = name, .offers = &f->offer, .n_offers = 1, .guard = &f->guard
	};

	*err = (struct error){ 0 };
	return control_create(control, &config, err);
}

int create(struct fixture *f, const char *name, struct control **control, struct error *err)
{
	return create_in(f, f->dir, name, control, err);
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	assert_int_equal(guard_init(&f->guard, &err), 0);
	strcpy(f->dir, "/tmp/ferry-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	strcat(f->dir, "/run");
	snprintf(f->path, sizeof(f->path), "%s/web1/control", f->dir);
	f->offer = (struct control_offer){ &interface, f };
	f->flooded_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(create(f, "web1", &f->control, &err), 0);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->control)
		control_destroy(f->control);
	assert_int_equal(guard_exit(&f->guard), 0);
	close(f->flooded_fd);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	*strrchr(f->dir, '/') = '\0';
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

int raw_connect(struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

size_t raw_drain(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, buf + len, size - 1 - len, 0)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return len;
}

size_t raw_finish(int fd, char *buf, size_t size)
{
	shutdown(fd, SHUT_WR);
	return raw_drain(fd, buf, size);
}

/* Has the server refuse a call that is too long, which it does on its loop's thread, after all that came
 * before. */
static void await_loop(struct fixture *f)
{
	static char call[CONTROL_MESSAGE_MAX];
	char answer[256];
	int fd = raw_connect(f);

	memset(call, 'x', sizeof(call));
	assert_int_equal(send(fd, call, sizeof(call), MSG_NOSIGNAL), sizeof(call));
	assert_true(raw_drain(fd, answer, sizeof(answer)) > 0);
	close(fd);
}

unsigned int count_descriptors(struct fixture *f)
{
	await_loop(f);
	return fake_count_descriptors();
}

void await_descriptors(struct fixture *f, unsigned int n)
{
	while (count_descriptors(f) != n)
		;
}
