/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes over the control socket, for both its ends. All calls are non-blocking: nobody waits longer than said
 * for the other side. */
#include "vmm/control/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Descriptors that one recvmsg() can bring in; the kernel drops what is beyond. One more than a call may
 * have, so that too many are told from none for which there was room. */
#define CONTROL_DESCRIPTORS 2u

/* Room for CONTROL_DESCRIPTORS as ancillary data. */
union control_ancillary {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(CONTROL_DESCRIPTORS * sizeof(int))];
};

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

/* Sends some of @len bytes, with @passed_fd beside them unless that is -1. Returns what sendmsg() does. */
static ssize_t control_send_some(int fd, const char *bytes, size_t len, int passed_fd)
{
	union control_ancillary ancillary = { 0 };
	struct iovec iov = { .iov_base = (char *)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (passed_fd >= 0) {
		msg.msg_control = ancillary.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		ancillary.head.cmsg_len = CMSG_LEN(sizeof(int));
		ancillary.head.cmsg_level = SOL_SOCKET;
		ancillary.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&ancillary.head), &passed_fd, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int control_send_with(int fd, const char *bytes, size_t len, int passed_fd, uint64_t timeout_ms)
{
	uint64_t deadline_ns = now_ns() + timeout_ms * 1000000u;
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = control_send_some(fd, bytes + sent, len - sent, sent > 0 ? -1 : passed_fd);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
		else if (errno == EAGAIN && !control_wait(fd, POLLOUT, deadline_ns))
			return sent > 0 ? -EIO : -ETIMEDOUT;
	}
	return 0;
}

int control_send_bytes(int fd, const char *bytes, size_t len, uint64_t timeout_ms)
{
	return control_send_with(fd, bytes, len, -1, timeout_ms);
}

/* Takes the descriptors that came with @msg out of it. Returns their number, at most CONTROL_DESCRIPTORS. */
static unsigned int control_descriptors(struct msghdr *msg, int fds[CONTROL_DESCRIPTORS])
{
	unsigned int n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < len / sizeof(int) && n < CONTROL_DESCRIPTORS; i++)
			memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return n;
}

int control_recv_with(int fd, char *buf, size_t size, int *passed_fd)
{
	union control_ancillary ancillary;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ancillary.bytes };
	int fds[CONTROL_DESCRIPTORS];
	unsigned int n_fds;
	ssize_t n;

	*passed_fd = -1;
	msg.msg_controllen = sizeof(ancillary);
	do {
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	n_fds = control_descriptors(&msg, fds);
	if (n_fds == 1 && !(msg.msg_flags & MSG_CTRUNC)) {
		*passed_fd = fds[0];
		return (int)n;
	}
	for (unsigned int i = 0; i < n_fds; i++)
		close(fds[i]);
	if (n_fds > 0)
		return -E2BIG;
	return msg.msg_flags & MSG_CTRUNC ? -EMFILE : (int)n;
}

int control_recv_call(int fd, char *buf, size_t size, int *passed_fd)
{
	const char *nul;
	ssize_t n;

	*passed_fd = -1;
	do {
		n = recv(fd, buf, size, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	nul = memchr(buf, '\0', (size_t)n);
	return control_recv_with(fd, buf, nul ? (size_t)(nul - buf) + 1 : (size_t)n, passed_fd);
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
	int len = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s/control", runtime_dir, name);

	addr->sun_family = AF_UNIX;
	if (len < 0 || (size_t)len >= sizeof(addr->sun_path)) {
		error_add(err,
			  "the control socket's path %s/%s/control has %d bytes, the kernel allows %zu: "
			  "choose a "
			  "shorter --runtime-dir or --name",
			  runtime_dir, name, len, sizeof(addr->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	return 0;
}
