/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migration's socket: what it has to be, and whole transfers that never block longer than was said. */
#define _GNU_SOURCE
#include "migration/channel.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/stream_socket.h"

/* A unix socket takes no more than its send buffer before its reader must run; the kernel cuts this to what
 * it allows. TCP sizes its buffers itself, as long as nobody sets them. */
#define CHANNEL_UNIX_BUFFER (4 << 20)

/* Between two looks whether bytes have been taken: little beside the way to another host. */
#define CHANNEL_DRAIN_STEP_MS 5

/* The longest wait within a call that takes bytes, before the operator and the deadline are looked at. */
#define CHANNEL_WAIT_US 100000

/* A failure does not matter: the socket is only slower without these options. */
static void channel_tune(int fd, int family)
{
	const struct linger none = { 0 };
	const struct timeval wait = { .tv_usec = CHANNEL_WAIT_US };
	const int one = 1, size = CHANNEL_UNIX_BUFFER;

	/* Whoever made the socket may have close() wait for the peer; the guest may stand still then. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (family == AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	else
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/*
 * Waits until one of @fds, at least two, is ready; sets the second to the operator's cancel_fd. 0, or -errno.
 */
static int channel_poll(const struct channel *c, struct pollfd *fds, nfds_t n_fds, int timeout_ms)
{
	uint64_t end_ns = end_of(timeout_ms);

	fds[1] = (struct pollfd){ .fd = c->cancel_fd, .events = POLLIN | POLLRDHUP };
	if (c->deadline_ns != 0)
		end_ns = min_u64(end_ns, c->deadline_ns);
	for (;;) {
		int n = poll(fds, n_fds, ms_until(end_ns));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && now_ns() >= end_ns)
			return -ETIMEDOUT;
		if (n > 0)
			return fds[1].revents ? -ECANCELED : 0;
	}
}

/* Waits for @events on the socket. Returns poll()'s events, or -errno. */
static int channel_wait(const struct channel *c, short events, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = c->fd, .events = events } };
	int ret = channel_poll(c, fds, ARRAY_SIZE(fds), timeout_ms);

	return ret < 0 ? ret : fds[0].revents;
}

int channel_await(struct channel *c, int fd, int timeout_ms)
{
	struct pollfd fds[3] = {
		[0] = { .fd = c->fd, .events = POLLRDHUP }, [2] = { .fd = fd, .events = POLLIN }
	};
	int ret = channel_poll(c, fds, ARRAY_SIZE(fds), timeout_ms);

	if (ret < 0)
		return ret;
	return fds[2].revents ? 0 : -EPIPE;
}

int channel_check_socket(int fd, struct error *err)
{
	struct error reason = { 0 };
	int ret = stream_socket_check(fd, &reason);

	if (ret < 0)
		error_add(err, "a migration needs a connected stream socket, and what was passed is %s",
			  reason.text);
	return ret;
}

int channel_adopt(struct channel *c, int fd, int cancel_fd, struct error *err)
{
	int ret = channel_check_socket(fd, err), family = AF_UNSPEC;
	socklen_t len = sizeof(family);

	*c = (struct channel){ .fd = fd, .cancel_fd = cancel_fd };
	if (ret < 0) {
		channel_close(c);
		return ret;
	}
	/* The family only decides on options that do not matter much. */
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0)
		channel_tune(fd, family);
	return 0;
}

void channel_close(struct channel *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* The end of a connection is -EPIPE, whichever way the kernel noticed. */
static int channel_errno(void)
{
	return errno == ECONNRESET ? -EPIPE : -errno;
}

/* Drops the first @n bytes of @msg. */
static void channel_advance(struct msghdr *msg, size_t n)
{
	while (msg->msg_iovlen > 0 && n >= msg->msg_iov->iov_len) {
		n -= msg->msg_iov->iov_len;
		msg->msg_iov++;
		msg->msg_iovlen--;
	}
	if (n > 0) {
		msg->msg_iov->iov_base = (uint8_t *)msg->msg_iov->iov_base + n;
		msg->msg_iov->iov_len -= n;
	}
}

int channel_writev(struct channel *c, struct iovec *iov, int n, int timeout_ms, uint64_t *done)
{
	struct msghdr msg = { .msg_iov = iov };
	uint64_t end_ns = end_of(timeout_ms), total = 0;
	int ret = 0;

	msg.msg_iovlen = (__typeof__(msg.msg_iovlen))n;
	channel_advance(&msg, 0);
	while (msg.msg_iovlen > 0) {
		ssize_t sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0) {
			total += (uint64_t)sent;
			channel_advance(&msg, (size_t)sent);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			ret = channel_errno();
			break;
		}
		/* The limit is for all of it: a peer that takes a byte now and then is none to wait for. */
		ret = channel_wait(c, POLLIN | POLLOUT, ms_until(end_ns));
		/* A peer that talks now is not reading any more: it has refused. */
		if (ret >= 0)
			ret = ret & (POLLOUT | POLLERR | POLLHUP) ? 0 : -EPIPE;
		if (ret < 0)
			break;
	}
	if (done)
		*done = total;
	return ret;
}

ssize_t channel_readv(struct channel *c, struct iovec *iov, int n, int timeout_ms)
{
	struct msghdr msg = { .msg_iov = iov };

	msg.msg_iovlen = (__typeof__(msg.msg_iovlen))n;
	for (;;) {
		ssize_t got = recvmsg(c->fd, &msg, MSG_DONTWAIT);
		int ret;

		if (got != 0 && (got > 0 || (errno != EAGAIN && errno != EINTR)))
			return got > 0 ? got : channel_errno();
		if (got == 0)
			return -EPIPE;
		ret = channel_wait(c, POLLIN, timeout_ms);
		if (ret < 0)
			return ret;
	}
}

int channel_read(struct channel *c, void *dst, size_t len, int timeout_ms)
{
	uint64_t end_ns = end_of(timeout_ms);
	uint8_t *at = dst;

	for (;;) {
		/* The kernel waits for the rest by itself, for as long as channel_tune() has told it. */
		ssize_t got = recv(c->fd, at, len, MSG_WAITALL);
		int ret;

		if (got == 0)
			return -EPIPE;
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return channel_errno();
		if (got > 0) {
			at += got;
			len -= (size_t)got;
		}
		if (len == 0)
			return 0;
		ret = channel_wait(c, POLLIN, ms_until(end_ns));
		/* A peer that sends a byte now and then is none to wait for. */
		if (ret >= 0 && now_ns() >= end_ns)
			ret = -ETIMEDOUT;
		if (ret < 0)
			return ret;
	}
}

int channel_drain(struct channel *c, int timeout_ms)
{
	uint64_t end_ns = end_of(timeout_ms);
	int left, ret;

	if (c->deadline_ns != 0)
		end_ns = min_u64(end_ns, c->deadline_ns);
	do {
		if (ioctl(c->fd, SIOCOUTQ, &left) < 0 || left == 0)
			return 0;
		/* The kernel does not tell when a queue has become empty. */
		ret = channel_wait(c, POLLIN | POLLRDHUP, CHANNEL_DRAIN_STEP_MS);
	} while (ret == -ETIMEDOUT && now_ns() < end_ns);
	return ret < 0 ? ret : 0;
}

ssize_t channel_hear(int fd, void *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n > 0 ? n : -EPIPE;
}

int channel_check(struct channel *c)
{
	int ret = channel_wait(c, POLLIN | POLLRDHUP, 0);

	if (ret > 0)
		return -EPIPE;
	return ret == -ETIMEDOUT ? 0 : ret;
}

void channel_linger(struct channel *c, int timeout_ms)
{
	uint64_t end_ns = end_of(timeout_ms);
	struct iovec iov;
	uint8_t dropped[4096];

	shutdown(c->fd, SHUT_WR);
	do {
		iov = (struct iovec){ .iov_base = dropped, .iov_len = sizeof(dropped) };
	} while (channel_readv(c, &iov, 1, ms_until(end_ns)) > 0 && now_ns() < end_ns);
}
