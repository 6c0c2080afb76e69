/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names and addresses, by the resolver of libc. */
#define _GNU_SOURCE
#include "vmm/tls/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections that wait until somebody asks for them: no more than a door takes in good time (listen.c). */
#define TLS_BACKLOG 512
/* And those that have said nothing yet: about as long as a handshake may take. */
#define TLS_SILENT_S 10

/* A host that vanishes, rather than closes, is found out after 15 s without traffic and 6 probes of 5 s. */
#define TLS_KEEPALIVE_IDLE_S     15
#define TLS_KEEPALIVE_INTERVAL_S 5
#define TLS_KEEPALIVE_PROBES     6

/* Asks for the host's addresses, which the caller frees with freeaddrinfo(). */
static int tls_resolve(const struct tls_address *a, int flags, struct addrinfo **list, struct error *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
					.ai_protocol = IPPROTO_TCP,
					.ai_flags = flags | AI_NUMERICSERV };
	int ret = getaddrinfo(a->host, a->port, &hints, list);

	if (ret == 0)
		return 0;
	error_add(err, "%s: %s", a->host, ret == EAI_SYSTEM ? strerror(errno) : gai_strerror(ret));
	return -EHOSTUNREACH;
}

/* Waits until @fd is connected. 0, or what befell it. */
static int tls_await_connect(int fd, int timeout_ms)
{
	const uint64_t end_ns = end_of(timeout_ms);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int error = 0, n;

	do {
		n = poll(&p, 1, ms_until(end_ns));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

static void tls_set(int fd, int level, int option, int value)
{
	/* Each of them only helps. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* Has short messages sent at once, and a host that has vanished found out. */
static void tls_tune(int fd)
{
	/* A migration's last messages are short, and the guest stands still for them. */
	tls_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	tls_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, TLS_KEEPALIVE_IDLE_S);
	tls_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, TLS_KEEPALIVE_INTERVAL_S);
	tls_set(fd, IPPROTO_TCP, TCP_KEEPCNT, TLS_KEEPALIVE_PROBES);
	tls_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static int tls_connect_one(const struct addrinfo *to, int timeout_ms)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, to->ai_protocol);
	int ret = 0;
	int off = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
		ret = errno == EINPROGRESS ? tls_await_connect(fd, timeout_ms) : -errno;
	/* The others take the socket as it comes: blocking. */
	if (ret == 0 && ioctl(fd, FIONBIO, &off) < 0)
		ret = -errno;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	tls_tune(fd);
	return fd;
}

static const char *tls_address_text(char text[INET6_ADDRSTRLEN], const struct addrinfo *to)
{
	const struct sockaddr_in6 *six = (const void *)to->ai_addr;
	const struct sockaddr_in *four = (const void *)to->ai_addr;
	const void *address = to->ai_family == AF_INET6 ? (const void *)&six->sin6_addr : &four->sin_addr;

	return inet_ntop(to->ai_family, address, text, INET6_ADDRSTRLEN);
}

int tls_tcp_connect(const struct tls_address *a, int timeout_ms, struct error *err)
{
	const uint64_t end_ns = end_of(timeout_ms);
	struct error reasons = { 0 };
	struct addrinfo *list;
	int ret = tls_resolve(a, 0, &list, err);
	int n_left = 0;

	if (ret < 0)
		return ret;
	for (const struct addrinfo *to = list; to; to = to->ai_next)
		n_left++;
	for (const struct addrinfo *to = list; to; to = to->ai_next) {
		char text[INET6_ADDRSTRLEN];

		ret = tls_connect_one(to, ms_until(end_ns) / n_left--);
		if (ret >= 0)
			break;
		error_add(&reasons, "%s: %s", tls_address_text(text, to), strerror(-ret));
	}
	freeaddrinfo(list);
	if (ret < 0)
		error_add(err, "cannot connect to %s, port %s: %s; is \"ferry receive\" waiting there?",
			  a->host, a->port, reasons.text);
	return ret;
}

int tls_tcp_listen(const struct tls_address *a, struct error *err)
{
	struct addrinfo *list;
	int ret = tls_resolve(a, AI_PASSIVE, &list, err);
	int fd;

	if (ret < 0)
		return ret;
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, list->ai_protocol);
	if (fd >= 0)
		tls_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, TLS_BACKLOG) < 0) {
		ret = -errno;
		error_add(err, "cannot listen on %s, port %s: %s", a->host, a->port, strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	freeaddrinfo(list);
	if (ret < 0)
		return ret;
	/* Those that are accepted inherit it. */
	tls_tune(fd);
	/* A client of TLS speaks first: who says nothing costs nobody anything but the kernel. */
	tls_set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, TLS_SILENT_S);
	return fd;
}
