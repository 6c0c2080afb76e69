/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a stream socket is, and connecting one within this host. */
#include "vmm/stream_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int stream_socket_check(int fd, struct error *err)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int), peer_len = sizeof(peer);
	int type, error;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
		error_add(err, "no socket: %s", strerror(errno));
		return -errno;
	}
	if (type != SOCK_STREAM) {
		error_add(err, "no stream socket");
		return -EPROTOTYPE;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0) {
		error_add(err, "a connection that has failed: %s", strerror(error));
		return -error;
	}
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0) {
		error_add(err, "a socket without a connection: %s", strerror(errno));
		return -errno;
	}
	return 0;
}

int stream_socket_connect(const struct sockaddr_un *addr, int timeout_ms)
{
	const struct timeval timeout = { .tv_sec = timeout_ms / 1000,
					 .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000 };
	const struct timeval none = { 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	/* connect() waits for room where as many clients wait as can. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}
