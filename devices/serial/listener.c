/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The unix socket of the serial port: one client at a time. */
#define _GNU_SOURCE
#include "devices/serial/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void serial_listener_remove_file(struct guard_undo *undo)
{
	socket_file_remove(&container_of(undo, struct serial_listener, undo)->file);
}

void serial_listener_init(struct serial_listener *l, struct loop *loop,
			  void (*fn)(struct loop_source *src, uint32_t events))
{
	*l = (struct serial_listener){ .loop = loop,
				       .src = { .fd = -1, .fn = fn },
				       .undo = { .fn = serial_listener_remove_file } };
}

/* Edge-triggered, so that a client which waits while descriptors have run out does not keep the loop busy. */
int serial_listener_watch(struct serial_listener *l)
{
	int ret = loop_add(l->loop, &l->src, EPOLLIN | EPOLLET);

	return ret == -EEXIST ? 0 : ret;
}

int serial_listener_open(struct serial_listener *l, const char *path, struct error *err)
{
	int ret;

	l->src.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->src.fd < 0) {
		error_add(err, "--serial: cannot create a socket: %s", strerror(errno));
		return -errno;
	}
	l->path = path;
	ret = socket_file_bind(&l->file, l->src.fd, AT_FDCWD, path, 0600);
	if (ret < 0) {
		error_add(err, "--serial: cannot create the socket \"%s\": %s", path, socket_file_error(ret));
		return ret;
	}
	ret = listen(l->src.fd, 1) < 0 ? -errno : serial_listener_watch(l);
	if (ret < 0) {
		error_add(err, "--serial: cannot listen on \"%s\": %s", path, strerror(-ret));
		return ret;
	}
	return 0;
}

void serial_listener_close(struct serial_listener *l)
{
	if (l->src.fd >= 0) {
		loop_del(l->loop, &l->src);
		close(l->src.fd);
		l->src.fd = -1;
	}
	socket_file_remove(&l->file);
	guard_del(&l->undo);
}

static int serial_listener_accept(struct serial_listener *l, int fds[2])
{
	int ret;

	fds[0] = accept4(l->src.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fds[0] < 0)
		return -errno;
	fds[1] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	if (fds[1] < 0) {
		ret = -errno;
		close(fds[0]);
		return ret;
	}
	return 0;
}

int serial_listener_take(struct serial_listener *l, int fds[2])
{
	int ret;

	do {
		ret = serial_listener_accept(l, fds);
	} while (ret == -EINTR || ret == -ECONNABORTED);
	if (ret < 0 && ret != -EAGAIN)
		log_limited(&l->log_limit, LOG_WARN,
			    "serial: cannot take a client of %s yet: %s; it is tried again", l->path,
			    strerror(-ret));
	if (ret == 0)
		loop_del(l->loop, &l->src);
	return ret;
}
