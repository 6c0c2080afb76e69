/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ways in to a destination. */
#include "migration/entrance.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "migration/clock.h"
#include "vmm/control/interface.h"
#include "vmm/shortage.h"

/* Time for which what a source says can have been on its way to a call: it speaks when ssh is through, and
 * ssh has yet to start a shell and "ferry connect" here. */
#define ENTRANCE_WAY_NS UINT64_C(10000000000)

int entrance_init(struct entrance *e, const char *reason, struct error *err)
{
	return arrivals_init(&e->arrivals, reason, err);
}

void entrance_exit(struct entrance *e)
{
	entrance_close_doors(e);
	arrivals_exit(&e->arrivals);
}

static void entrance_came(void *opaque, int fd)
{
	struct entrance *e = opaque;
	struct error err = { 0 };

	if (arrivals_push(&e->arrivals, fd, realtime_ns(), NULL, &err) < 0)
		log_limited(&e->limit, LOG_WARN, "a connection to %s was turned away: %s",
			    e->door.config.path, err.text);
}

static void entrance_came_over_tls(void *opaque, int fd, const char *peer)
{
	struct entrance *e = opaque;
	struct error err = { 0 };

	if (arrivals_push(&e->arrivals, fd, realtime_ns(), NULL, &err) < 0)
		log_limited(&e->limit, LOG_WARN, "a connection of %s to tls:%s was turned away: %s", peer,
			    e->tls_door.config.place, err.text);
}

static void entrance_ended(void *opaque, const char *reason)
{
	struct entrance *e = opaque;

	arrivals_break(&e->arrivals, reason);
}

int entrance_open(struct entrance *e, const char *path, uid_t peer_uid, struct guard *guard,
		  struct error *err)
{
	const struct door_config config = { .path = path,
					    .peer_uid = peer_uid,
					    .guard = guard,
					    .came = entrance_came,
					    .ended = entrance_ended,
					    .opaque = e };

	return door_open(&e->door, &config, err);
}

int entrance_open_tls(struct entrance *e, const char *place, const char *dir, const char *peer,
		      struct error *err)
{
	const struct tls_door_config config = { .place = place,
						.dir = dir,
						.peer = peer,
						.came = entrance_came_over_tls,
						.ended = entrance_ended,
						.opaque = e };

	return tls_door_open(&e->tls_door, &config, err);
}

void entrance_close_doors(struct entrance *e)
{
	door_close(&e->door);
	tls_door_close(&e->tls_door);
}

/* Waits until the arrival has ended, or the client hangs up, or the process is to end. */
static void entrance_await(struct entrance *e, struct control_call *call, struct arrivals_end *end)
{
	struct pollfd fds[] = {
		{ .fd = end->fd, .events = POLLIN },
		{ .fd = control_call_fd(call), .events = POLLIN },
	};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
		;
	if (!arrivals_forget(&e->arrivals, end))
		control_fail(call, CLIENT_ERROR_FAILED, "this Ferry has ended meanwhile");
	else if (end->ret < 0)
		control_fail(call, end->ret == -EBUSY ? CLIENT_ERROR_BUSY : CLIENT_ERROR_FAILED,
			     end->reason.text);
	else
		control_reply(call, "{}");
}

void entrance_connect(struct entrance *e, struct control_call *call)
{
	struct arrivals_end end = { .fd = eventfd(0, EFD_CLOEXEC) };
	struct error err = { 0 };
	int fd = control_take_fd(call), ret;

	if (fd < 0) {
		control_fail(call, CLIENT_ERROR_CONNECTION,
			     "the connection to the source is missing: a connected stream socket is to come "
			     "with the call, as a descriptor");
	} else if (end.fd < 0) {
		error_add(&err, "cannot create an eventfd: %s%s", strerror(errno), shortage_advice(-errno));
		close(fd);
		control_fail(call, CLIENT_ERROR_BUSY, err.text);
	} else {
		ret = arrivals_push(&e->arrivals, fd, realtime_ns() - ENTRANCE_WAY_NS, &end, &err);
		if (ret < 0)
			control_fail(call, ret == -EBUSY ? CLIENT_ERROR_BUSY : CLIENT_ERROR_CONNECTION,
				     err.text);
		else
			entrance_await(e, call, &end);
	}
	if (end.fd >= 0)
		close(end.fd);
}
