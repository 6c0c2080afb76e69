/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One loop, one record of memory for each direction: nothing is read that there is no room for. */
#define _GNU_SOURCE
#include "vmm/tls/pump.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* What TLS puts into one record (RFC 8446, section 5.1). */
#define PUMP_RECORD 16384u

/* For the peer to take what the local end has sent before it was closed. */
#define PUMP_LAST_MS 10000

/* Bytes that were read from one end and not yet taken by the other. */
struct pump_way {
	unsigned char bytes[PUMP_RECORD];
	size_t begin;
	size_t end;
	/* The reading end has ended; and the other has been told. */
	bool ended;
	bool passed_on;
};

struct pump {
	struct tls_session *session;
	int local_fd;
	struct pump_way out;
	struct pump_way in;
	/* What to wait for, of the local socket and of the TCP socket. */
	short local_events;
	short tcp_events;
	bool moved;
};

static bool pump_way_empty(const struct pump_way *w)
{
	return w->begin == w->end;
}

static bool pump_way_done(const struct pump_way *w)
{
	return w->ended && w->passed_on;
}

static void pump_way_fill(struct pump_way *w, size_t n)
{
	w->begin = 0;
	w->end = n;
}

/* Notes what mbedTLS waits for. @ret, or 0 where it waits. */
static int pump_tls_wants(struct pump *p, int ret)
{
	if (ret == MBEDTLS_ERR_SSL_WANT_READ)
		p->tcp_events |= POLLIN;
	else if (ret == MBEDTLS_ERR_SSL_WANT_WRITE)
		p->tcp_events |= POLLOUT;
	else
		return ret;
	return 0;
}

/* Reads from the local end. */
static void pump_read_local(struct pump *p)
{
	struct pump_way *w = &p->out;
	ssize_t n;

	if (w->ended || !pump_way_empty(w))
		return;
	n = recv(p->local_fd, w->bytes, sizeof(w->bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		p->local_events |= POLLIN;
		return;
	}
	w->ended = n <= 0;
	pump_way_fill(w, n > 0 ? (size_t)n : 0);
	p->moved = true;
}

/* Encrypts and sends. False when the connection is broken. */
static bool pump_write_tls(struct pump *p)
{
	struct pump_way *w = &p->out;
	int ret;

	if (!pump_way_empty(w)) {
		ret = mbedtls_ssl_write(&p->session->ssl, w->bytes + w->begin, w->end - w->begin);
		if (ret <= 0)
			return pump_tls_wants(p, ret) == 0;
		w->begin += (size_t)ret;
		p->moved = true;
	}
	if (w->ended && pump_way_empty(w) && !w->passed_on) {
		shutdown(p->session->fd, SHUT_WR);
		w->passed_on = true;
	}
	return true;
}

/* Receives and opens. False when the connection is broken, or somebody has changed its bytes. */
static bool pump_read_tls(struct pump *p)
{
	struct pump_way *w = &p->in;
	int ret;

	if (w->ended || !pump_way_empty(w))
		return true;
	ret = mbedtls_ssl_read(&p->session->ssl, w->bytes, sizeof(w->bytes));
	if (ret > 0) {
		pump_way_fill(w, (size_t)ret);
	} else if (ret == 0 || ret == MBEDTLS_ERR_SSL_CONN_EOF) {
		w->ended = true;
	} else {
		return pump_tls_wants(p, ret) == 0;
	}
	p->moved = true;
	return true;
}

/* Writes to the local end. False when nobody is there any more. */
static bool pump_write_local(struct pump *p)
{
	struct pump_way *w = &p->in;
	ssize_t n;

	if (!pump_way_empty(w)) {
		n = send(p->local_fd, w->bytes + w->begin, w->end - w->begin, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			p->local_events |= POLLOUT;
			return true;
		}
		if (n < 0)
			return false;
		w->begin += (size_t)n;
		p->moved = true;
	}
	if (w->ended && pump_way_empty(w) && !w->passed_on) {
		shutdown(p->local_fd, SHUT_WR);
		w->passed_on = true;
	}
	return true;
}

/* Waits for what has been noted. True when the local end was closed, not only ended. */
static bool pump_wait(struct pump *p)
{
	struct pollfd fds[] = { { .fd = p->local_fd, .events = p->local_events },
				{ .fd = p->tcp_events ? p->session->fd : -1, .events = p->tcp_events } };

	/* The local end is watched also where nothing is wanted of it. */
	if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		return false;
	return (fds[0].revents & (POLLHUP | POLLERR)) != 0;
}

/* Sends what the local end left when it was closed, as a kernel does for a socket. */
static void pump_last(struct pump *p)
{
	uint64_t deadline_ns = end_of(PUMP_LAST_MS);

	while (!pump_way_done(&p->out)) {
		struct pollfd tcp = { .fd = p->session->fd };

		p->tcp_events = 0;
		pump_read_local(p);
		if (!pump_write_tls(p))
			return;
		tcp.events = p->tcp_events;
		if (tcp.events && poll(&tcp, 1, ms_until(deadline_ns)) == 0)
			return;
	}
}

void tls_pump_run(struct tls_session *s, int local_fd)
{
	struct pump p = { .session = s, .local_fd = local_fd };
	bool closed = false;

	while (!closed && (!pump_way_done(&p.out) || !pump_way_done(&p.in))) {
		p.local_events = 0;
		p.tcp_events = 0;
		p.moved = false;
		pump_read_local(&p);
		if (!pump_write_tls(&p) || !pump_read_tls(&p))
			return;
		closed = !pump_write_local(&p);
		if (!closed && !p.moved)
			closed = pump_wait(&p);
	}
	pump_last(&p);
}
