/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migration's socket: addresses, accepting, and whole transfers that never block longer than was said. */
#define _GNU_SOURCE
#include "migration/channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/shortage.h"
#include "vmm/stream_socket.h"

/* Time between attempts to take a connection while the process is short of descriptors or memory. */
#define CHANNEL_RETRY_MS 100

/* A unix socket takes no more than its send buffer before its reader must run; the kernel cuts this to what
 * it allows. TCP sizes its buffers itself, as long as nobody sets them. */
#define CHANNEL_UNIX_BUFFER (4 << 20)

struct channel_address {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} sa;
	socklen_t len;
};

static int channel_parse_unix(const char *path, struct channel_address *a, struct error *err)
{
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(a->sa.un.sun_path)) {
		error_add(err, "unix:%s: the path must have 1 to %zu characters", path,
			  sizeof(a->sa.un.sun_path) - 1);
		return -EINVAL;
	}
	a->sa.un.sun_family = AF_UNIX;
	memcpy(a->sa.un.sun_path, path, len + 1);
	a->len = sizeof(a->sa.un);
	return 0;
}

static int channel_parse_port(const char *text, uint16_t *port)
{
	unsigned long v;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || v == 0 || v > UINT16_MAX)
		return -EINVAL;
	*port = htons((uint16_t)v);
	return 0;
}

static int channel_parse_tcp(const char *text, struct channel_address *a, struct error *err)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + sizeof("[]")];
	size_t len = colon ? (size_t)(colon - text) : 0;
	bool loopback;
	uint16_t port;

	if (len == 0 || len >= sizeof(host) || channel_parse_port(colon + 1, &port) < 0) {
		error_add(err, "tcp:%s: give tcp:HOST:PORT, for example tcp:127.0.0.1:4444", text);
		return -EINVAL;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		a->sa.in6.sin6_family = AF_INET6;
		a->sa.in6.sin6_port = port;
		a->len = sizeof(a->sa.in6);
		loopback = inet_pton(AF_INET6, host + 1, &a->sa.in6.sin6_addr) == 1 &&
			   IN6_IS_ADDR_LOOPBACK(&a->sa.in6.sin6_addr);
	} else {
		a->sa.in.sin_family = AF_INET;
		a->sa.in.sin_port = port;
		a->len = sizeof(a->sa.in);
		loopback = inet_pton(AF_INET, host, &a->sa.in.sin_addr) == 1 &&
			   ntohl(a->sa.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	if (!loopback) {
		error_add(err,
			  "tcp:%s: migrations are not authenticated yet, so HOST must be a literal loopback "
			  "address (127.0.0.1, [::1]); tunnel it to other hosts, for example with ssh -L",
			  text);
		return -EINVAL;
	}
	return 0;
}

static const struct {
	const char *prefix;
	int (*parse)(const char *text, struct channel_address *a, struct error *err);
} channel_kinds[] = {
	{ "unix:", channel_parse_unix },
	{ "tcp:", channel_parse_tcp },
};

static int channel_parse(const char *address, struct channel_address *a, struct error *err)
{
	*a = (struct channel_address){ 0 };
	for (unsigned int i = 0; i < ARRAY_SIZE(channel_kinds); i++) {
		size_t len = strlen(channel_kinds[i].prefix);

		if (strncmp(address, channel_kinds[i].prefix, len) == 0)
			return channel_kinds[i].parse(address + len, a, err);
	}
	error_add(err, "\"%s\" is no migration address: give unix:PATH or tcp:HOST:PORT", address);
	return -EINVAL;
}

static int channel_socket(const struct channel_address *a)
{
	int fd = socket(a->sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* A failure does not matter: the socket is only slower without these options. */
static void channel_tune(int fd, int family)
{
	const struct linger none = { 0 };
	const int one = 1, size = CHANNEL_UNIX_BUFFER;

	/* Whoever made the socket may have close() wait for the peer; the guest may stand still then. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
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

/* Returns 0, or an error of socket_file_bind(). */
static int channel_bind(struct channel_listener *l, const struct channel_address *a)
{
	const int one = 1;
	int ret;

	if (l->family == AF_UNIX)
		ret = socket_file_bind(&l->file, l->socket.fd, AT_FDCWD, a->sa.un.sun_path, 0600);
	else if (setsockopt(l->socket.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		ret = -errno;
	else
		ret = bind(l->socket.fd, &a->sa.any, a->len) < 0 ? -errno : 0;
	if (ret < 0)
		return ret;
	return listen(l->socket.fd, 1) < 0 ? -errno : 0;
}

int channel_listen(struct channel_listener *l, const char *address, int cancel_fd, struct error *err)
{
	struct channel_address a;
	int ret;

	*l = (struct channel_listener){ .socket = { .fd = -1, .cancel_fd = cancel_fd }, .address = address };
	ret = channel_parse(address, &a, err);
	if (ret < 0)
		return ret;
	l->family = a.sa.any.sa_family;
	l->socket.fd = channel_socket(&a);
	if (l->socket.fd < 0) {
		error_add(err, "cannot open a socket for %s: %s%s", address, strerror(-l->socket.fd),
			  shortage_advice(l->socket.fd));
		return l->socket.fd;
	}
	ret = channel_bind(l, &a);
	if (ret < 0) {
		error_add(err, "cannot listen on %s: %s", address, socket_file_error(ret));
		channel_unlisten(l);
	}
	return ret;
}

void channel_unlisten(struct channel_listener *l)
{
	socket_file_remove(&l->file);
	channel_close(&l->socket);
}

/* Whether the connection @fd comes from our own user or root, as far as that can be known: not over TCP. */
static bool channel_is_stranger(struct channel_listener *l, int fd)
{
	uid_t uid = 0;

	if (l->family != AF_UNIX || socket_file_check_peer(fd, &uid) == 0)
		return false;
	log_limited(&l->limit, LOG_WARN, "a connection to %s was turned away: it is of the user with id %u",
		    l->address, (unsigned int)uid);
	return true;
}

/* Takes one connection. Returns its descriptor, -EAGAIN where there is none after all, or -errno. */
static int channel_take_one(struct channel_listener *l)
{
	int ret = channel_wait(&l->socket, POLLIN, -1), fd;

	if (ret < 0)
		return ret;
	fd = accept4(l->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0 && !channel_is_stranger(l, fd))
		return fd;
	if (fd >= 0) {
		close(fd);
		return -EAGAIN;
	}
	switch (errno) {
	case EAGAIN: /* the client has gone again */
	case EINTR:
	case ECONNABORTED:
		return -EAGAIN;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		/* Descriptors and memory come back, and nothing tells when. */
		log_limited(&l->limit, LOG_WARN, "cannot take a connection to %s yet: %s%s", l->address,
			    strerror(errno), shortage_advice(-errno));
		ret = channel_wait(&(struct channel){ .fd = -1, .cancel_fd = l->socket.cancel_fd }, 0,
				   CHANNEL_RETRY_MS);
		return ret == -ETIMEDOUT ? -EAGAIN : ret;
	default:
		return -errno;
	}
}

bool channel_is_pending(const struct channel_listener *l)
{
	return channel_wait(&l->socket, POLLIN, 0) > 0;
}

int channel_take(struct channel_listener *l, struct channel *c, struct error *err)
{
	int ret;

	*c = (struct channel){ .fd = -1, .cancel_fd = l->socket.cancel_fd };
	do {
		ret = channel_take_one(l);
	} while (ret == -EAGAIN);
	if (ret == -ECANCELED) {
		error_add(err, "cancelled while waiting for a source on %s", l->address);
		return ret;
	}
	if (ret < 0) {
		error_add(err, "cannot accept a connection on %s: %s", l->address, strerror(-ret));
		return ret;
	}
	c->fd = ret;
	channel_tune(c->fd, l->family);
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
