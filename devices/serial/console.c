/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Consoles at the serial port: see the header. */
#include "devices/serial/console.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Copied out of the UART at once, on the stack. */
#define SERIAL_CHUNK 4096u

static void serial_console_leave(struct serial_console *c)
{
	if (c->end.src.fd < 0)
		return;
	serial_end_close(&c->end);
	pthread_mutex_lock(&c->all->lock);
	c->all->n_held--;
	pthread_mutex_unlock(&c->all->lock);
}

/* Returns how much the console takes now, -EAGAIN for nothing, or -errno: it has gone. */
static ssize_t serial_console_put(struct serial_console *c, const void *data, size_t len)
{
	ssize_t n;

	do {
		n = send(c->end.src.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Tells where output is missing. A socket takes as little as this as a whole, or not. */
static int serial_console_tell_lost(struct serial_console *c)
{
	char text[96];
	int len = snprintf(text, sizeof(text), "\r\n[ferry: %llu bytes of output lost: too slow]\r\n",
			   (unsigned long long)c->n_lost);
	ssize_t n = serial_console_put(c, text, (size_t)len);

	if (n >= 0)
		c->n_lost = 0;
	return n < 0 ? (int)n : 0;
}

/* Writes a piece of what there is. Returns 1: there may be more, 0: that is all, or -errno as above. */
static int serial_console_put_chunk(struct serial_console *c)
{
	uint8_t chunk[SERIAL_CHUNK];
	uint64_t at = c->at;
	size_t len = uart_copy_output(c->all->uart, &at, chunk, sizeof(chunk));
	ssize_t n;
	int ret = 0;

	c->n_lost += at - c->at;
	c->at = at;
	if (c->n_lost > 0)
		ret = serial_console_tell_lost(c);
	if (ret < 0 || len == 0)
		return ret;
	n = serial_console_put(c, chunk, len);
	if (n < 0)
		return (int)n;
	c->at += (uint64_t)n;
	return 1;
}

/* Writes what there is, but gives other work of this thread its turn. Returns as the last piece. */
static int serial_console_flush(struct serial_console *c)
{
	int ret = 1;

	for (unsigned int done = 0; ret == 1 && done < UART_OUT_MAX; done += SERIAL_CHUNK)
		ret = serial_console_put_chunk(c);
	return ret;
}

/* Reads as much as there is room for. -errno: the console has gone. */
static int serial_console_read(struct serial_console *c)
{
	ssize_t n;

	if (c->eof || c->n == sizeof(c->data))
		return 0;
	n = recv(c->end.src.fd, c->data + c->n, sizeof(c->data) - c->n, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->eof = n == 0;
	c->n += (unsigned int)n;
	return 0;
}

static void serial_console_feed(struct serial_console *c)
{
	unsigned int n = uart_hand_in(c->all->uart, c->data, c->n, false);

	c->n -= n;
	memmove(c->data, c->data + n, c->n);
}

/* Passes on what can be, and watches for what cannot. -errno: that is to be tried again. */
static int serial_console_serve(struct serial_console *c)
{
	int ret;

	serial_console_feed(c);
	ret = serial_console_flush(c);
	if (ret < 0 && ret != -EAGAIN) {
		serial_console_leave(c);
		return 0;
	}
	return serial_end_watch(&c->end, EPOLLHUP | (ret != 0 ? (uint32_t)EPOLLOUT : 0) |
						 (!c->eof && c->n < sizeof(c->data) ? (uint32_t)EPOLLIN : 0));
}

static void serial_console_ready(struct loop_source *src, uint32_t events)
{
	struct serial_console *c = container_of(src, struct serial_console, end.src);

	int ret = serial_console_read(c);

	serial_console_feed(c);
	/* Nobody waits for a guest that does not listen to what was typed last by who has gone. */
	if (ret < 0 || ((events & (EPOLLHUP | EPOLLERR)) && (c->eof || c->n == sizeof(c->data)))) {
		serial_console_leave(c);
	} else if (serial_console_serve(c) < 0) {
		/* The host side's thread has it tried again, later. */
		loop_signal(c->all->uart->wake_fd);
	}
}

void serial_consoles_init(struct serial_consoles *s, struct loop *loop, struct uart *uart)
{
	*s = (struct serial_consoles){ .loop = loop, .uart = uart };
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned int i = 0; i < SERIAL_MAX_CONSOLES; i++) {
		s->consoles[i].all = s;
		serial_end_init(&s->consoles[i].end, loop, serial_console_ready);
	}
}

int serial_consoles_attach(struct serial_consoles *s, int fd, struct error *err)
{
	int family = 0, type = 0, ret = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || family != AF_UNIX ||
	    type != SOCK_STREAM) {
		error_add(err,
			  "a console is a unix stream socket, which comes with the call as a descriptor");
		return -EINVAL;
	}
	pthread_mutex_lock(&s->lock);
	if (s->n_held == SERIAL_MAX_CONSOLES) {
		error_add(err, "the guest has %u consoles already: close one of them", s->n_held);
		ret = -EBUSY;
	} else {
		s->waiting[s->n_waiting++] = fd;
		s->n_held++;
	}
	pthread_mutex_unlock(&s->lock);
	if (ret == 0)
		loop_signal(s->uart->wake_fd);
	return ret;
}

/* Takes what has been attached: there is a free place for each. */
static void serial_consoles_take(struct serial_consoles *s)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; s->n_waiting > 0 && i < SERIAL_MAX_CONSOLES; i++) {
		struct serial_console *c = &s->consoles[i];

		if (c->end.src.fd >= 0)
			continue;
		serial_end_open(&c->end, s->waiting[--s->n_waiting]);
		c->at = uart_recent_output(s->uart, SERIAL_CONSOLE_RECENT);
		c->n_lost = c->n = 0;
		c->eof = false;
	}
	pthread_mutex_unlock(&s->lock);
}

int serial_consoles_serve(struct serial_consoles *s)
{
	int ret = 0;

	serial_consoles_take(s);
	for (unsigned int i = 0; i < SERIAL_MAX_CONSOLES; i++) {
		if (s->consoles[i].end.src.fd >= 0 && serial_console_serve(&s->consoles[i]) < 0)
			ret = -EAGAIN;
	}
	return ret;
}

void serial_consoles_close(struct serial_consoles *s)
{
	serial_consoles_take(s);
	for (unsigned int i = 0; i < SERIAL_MAX_CONSOLES; i++) {
		if (s->consoles[i].end.src.fd >= 0 && serial_console_flush(&s->consoles[i]) < 0)
			log_debug("serial: a console misses the end of the guest's output");
		serial_console_leave(&s->consoles[i]);
	}
	pthread_mutex_destroy(&s->lock);
}
