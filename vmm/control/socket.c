/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes over the control socket, for both its ends. All calls are non-blocking: nobody waits longer than said
 * for the other side. */
#include "vmm/control/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

/* Waits until @deadline_ns for @events. False when the time is up. */
static bool control_wait(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = now_ns();
		int n;

		if (now >= deadline_ns)
			return false;
		n = poll(&p, 1, (int)min_u64((deadline_ns - now) / 1000000u + 1, 60000));
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

int control_send_bytes(int fd, const char *bytes, size_t len, uint64_t timeout_ms)
{
	uint64_t deadline_ns = now_ns() + timeout_ms * 1000000u;
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
		else if (errno == EAGAIN && !control_wait(fd, POLLOUT, deadline_ns))
			return sent > 0 ? -EIO : -ETIMEDOUT;
	}
	return 0;
}

int control_recv_bytes(int fd, char *buf, size_t size, uint64_t deadline_ns)
{
	ssize_t n;

	for (;;) {
		n = recv(fd, buf, size, MSG_DONTWAIT);
		if (n >= 0)
			return (int)n;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (errno == EAGAIN && !control_wait(fd, POLLIN, deadline_ns))
			return -ETIMEDOUT;
	}
}

int control_address(struct sockaddr_un *addr, const char *runtime_dir, const char *name, struct error *err)
{
	int len = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s.sock", runtime_dir, name);

	addr->sun_family = AF_UNIX;
	if (len < 0 || (size_t)len >= sizeof(addr->sun_path)) {
		error_add(
			err,
			"the control socket's path %s/%s.sock has %d bytes, the kernel allows %zu: choose a "
			"shorter --runtime-dir or --name",
			runtime_dir, name, len, sizeof(addr->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	return 0;
}
