/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host side of the UART, on the main thread: stdio or a unix socket, neither of which a vCPU waits for.
 */
#define _GNU_SOURCE
#include "devices/serial_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Written at once; PIPE_BUF, so that a pipe that is ready takes all of it. */
#define SERIAL_CHUNK 4096u
/* How long the end of the VM waits for a reader that does not read. */
#define SERIAL_LAST_MS 200
#define SERIAL_ESCAPE  0x01u /* Ctrl-A */

void serial_wake(struct serial *s)
{
	loop_signal(s->wake.fd);
}

/* Asks for @events. A client that has ended its input is still watched for hanging up. */
static void serial_watch(struct serial *s, struct serial_end *e, uint32_t events)
{
	bool watch = (events || (e->is_client && e == &s->input && s->eof)) && !e->always_ready;

	if (e->src.fd < 0 || (e->watched == watch && e->events == events))
		return;
	if (e->watched)
		loop_del(&s->vm->loop, &e->src);
	e->watched = watch && loop_add(&s->vm->loop, &e->src, events) == 0;
	e->events = events;
}

static void serial_open_end(struct serial *s, struct serial_end *e, int fd, bool is_client)
{
	struct stat st;

	e->src.fd = fd;
	e->is_client = is_client;
	e->is_socket = fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	e->watched = fd >= 0 && loop_add(&s->vm->loop, &e->src, 0) == 0;
	e->events = 0;
	e->always_ready = !e->watched;
}

static void serial_close_end(struct serial *s, struct serial_end *e)
{
	if (e->watched)
		loop_del(&s->vm->loop, &e->src);
	if (e->src.fd >= 0)
		close(e->src.fd);
	e->src.fd = -1;
	e->watched = false;
}

static void serial_hang_up(struct serial *s)
{
	serial_close_end(s, &s->input);
	serial_close_end(s, &s->output);
	/* The next one may have been waiting. */
	if (loop_add(&s->vm->loop, &s->listener, EPOLLIN | EPOLLET) < 0)
		log_warn("serial: cannot wait for the next client of %s", s->path);
}

/* Hands in what has been read, as far as the guest has room, and goes on reading or not. */
static void serial_feed(struct serial *s)
{
	bool more = s->input.always_ready && s->input.src.fd >= 0 && !s->eof;
	unsigned int n = 0;

	pthread_mutex_lock(&s->lock);
	if (serial_takes_rx(s)) {
		n = s->n_in < SERIAL_RX_MAX - s->n_rx ? s->n_in : SERIAL_RX_MAX - s->n_rx;
		serial_push_rx(s, s->in, n);
	}
	s->n_in -= n;
	memmove(s->in, s->in + n, s->n_in);
	s->rx_wanted = s->n_in > 0 || (more && s->n_rx > 0);
	if (n > 0)
		serial_update(s);
	pthread_mutex_unlock(&s->lock);
	serial_watch(s, &s->input, s->eof || s->n_in == SERIAL_IN_MAX ? 0 : EPOLLIN);
}

/* On a terminal: Ctrl-A x ends the VM, Ctrl-A twice is one. Returns how many bytes stay. */
static unsigned int serial_unescape(struct serial *s, uint8_t *data, unsigned int len)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < len; i++) {
		bool escaped = s->escaped;

		s->escaped = !escaped && data[i] == SERIAL_ESCAPE;
		if (s->escaped)
			continue;
		if (escaped && data[i] == 'x')
			vm_end(s->vm, VM_EXIT_POWER_OFF);
		else
			data[n++] = data[i];
	}
	return n;
}

static void serial_take_input(struct serial *s)
{
	uint8_t *at = s->in + s->n_in;
	ssize_t n;

	if (s->eof || s->input.src.fd < 0 || s->n_in == SERIAL_IN_MAX)
		return;
	n = read(s->input.src.fd, at, SERIAL_IN_MAX - s->n_in);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		s->eof = true;
	else
		s->n_in += s->is_tty ? serial_unescape(s, at, (unsigned int)n) : (unsigned int)n;
}

static void serial_input_ready(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, input.src);

	serial_take_input(s);
	if (s->input.is_client && s->eof && ((events & (EPOLLHUP | EPOLLERR)) || s->output.src.fd < 0))
		serial_hang_up(s);
	serial_feed(s);
}

static ssize_t serial_put(const struct serial_end *e, const uint8_t *data, uint64_t len)
{
	return e->is_socket ? send(e->src.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
			    : write(e->src.fd, data, len);
}

/* Writes up to SERIAL_CHUNK bytes. 1: there may be more, 0: all written, -errno: not now, or the reader is
 * gone.
 */
static int serial_flush_chunk(struct serial *s)
{
	uint8_t chunk[SERIAL_CHUNK];
	uint64_t head, len;
	ssize_t n;

	pthread_mutex_lock(&s->lock);
	head = s->out_head;
	len = min_u64(s->out_tail - head, sizeof(chunk));
	for (uint64_t i = 0; i < len; i++)
		chunk[i] = s->out[(head + i) % SERIAL_OUT_MAX];
	pthread_mutex_unlock(&s->lock);
	if (len == 0)
		return 0;
	n = serial_put(&s->output, chunk, len);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	pthread_mutex_lock(&s->lock);
	/* Meanwhile a part may have been dropped. */
	s->out_head = max_u64(s->out_head, head + (uint64_t)n);
	pthread_mutex_unlock(&s->lock);
	return 1;
}

static void serial_report_dropped(struct serial *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->n_dropped;
	s->n_dropped = 0;
	pthread_mutex_unlock(&s->lock);
	if (n > 0)
		log_limited(&s->limit, LOG_WARN,
			    "serial: %llu bytes of the guest's output dropped, its reader is too slow",
			    (unsigned long long)n);
}

/* Writes what there is, but gives other work of this thread its turn. */
static void serial_flush(struct serial *s)
{
	int ret = 1;

	if (s->output.src.fd < 0)
		return;
	for (uint64_t done = 0; ret == 1 && done < SERIAL_OUT_MAX; done += SERIAL_CHUNK)
		ret = serial_flush_chunk(s);
	if (ret == 0 || ret == 1 || ret == -EAGAIN) {
		serial_watch(s, &s->output, ret == 0 ? 0 : EPOLLOUT);
		if (ret == 1 && s->output.always_ready)
			serial_wake(s);
		serial_report_dropped(s);
	} else if (s->output.is_client && s->eof) {
		serial_hang_up(s);
	} else if (s->output.is_client) {
		/* It may have left without waiting for what it sent to be taken. */
		serial_close_end(s, &s->output);
	} else {
		log_warn("serial: cannot write the guest's output to stdout: %s; it is dropped from here on",
			 strerror(-ret));
		serial_close_end(s, &s->output);
	}
}

static void serial_output_ready(struct loop_source *src, uint32_t events)
{
	serial_flush(container_of(src, struct serial, output.src));
}

static void serial_woken(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, wake);
	uint64_t count;

	/* Only empties the counter: both are looked at. */
	if (read(src->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	serial_flush(s);
	if (s->input.always_ready && s->n_in == 0)
		serial_take_input(s);
	serial_feed(s);
}

static void serial_accept(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, listener);
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	/* Edge-triggered: where descriptors have run out, the waiting client does not keep the loop busy. */
	if (fd < 0) {
		if (errno != EAGAIN)
			log_warn("serial: cannot take a client of %s: %s", s->path, strerror(errno));
		return;
	}
	/* The next one waits in the backlog. */
	loop_del(&s->vm->loop, src);
	pthread_mutex_lock(&s->lock);
	s->n_dropped = 0;
	pthread_mutex_unlock(&s->lock);
	s->eof = false;
	serial_open_end(s, &s->input, fd, true);
	/* A second descriptor, because epoll knows each but once. */
	serial_open_end(s, &s->output, fcntl(fd, F_DUPFD_CLOEXEC, 0), true);
	serial_feed(s);
	serial_flush(s);
}

static int serial_listen(struct serial *s, const char *path, struct error *err)
{
	int ret;

	s->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener.fd < 0)
		return error_add(err, -errno, "--serial: cannot create a socket: %s", strerror(errno));
	s->path = path;
	ret = socket_file_bind(&s->file, s->listener.fd, AT_FDCWD, path);
	if (ret < 0)
		return error_add(err, ret, "--serial: cannot create the socket \"%s\": %s", path,
				 socket_file_error(ret));
	ret = listen(s->listener.fd, 1) < 0 ? -errno
					    : loop_add(&s->vm->loop, &s->listener, EPOLLIN | EPOLLET);
	return ret < 0 ? error_add(err, ret, "--serial: cannot listen on \"%s\": %s", path, strerror(-ret))
		       : 0;
}

/*
 * A descriptor for stdout on which a slow reader cannot hold us up: O_NONBLOCK is a matter of the open file,
 * which the shell and others share, so a terminal or pipe is opened anew. Where that is not allowed, and for
 * files, which do not make one wait, the file is shared.
 */
static int serial_open_stdout(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDOUT_FILENO, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* A background job neither reads the terminal nor changes it: the kernel would stop it for either. */
static bool serial_in_background(void)
{
	pid_t foreground = tcgetpgrp(STDIN_FILENO);

	return foreground >= 0 && foreground != getpgrp();
}

void serial_take_terminal(struct serial *s)
{
	struct termios raw = s->termios;

	if (!s->is_tty)
		return;
	cfmakeraw(&raw);
	/* Messages to stderr still want their line ends. */
	raw.c_oflag |= OPOST;
	tcsetattr(s->input.src.fd, TCSANOW, &raw);
}

static void serial_open_stdio(struct serial *s)
{
	serial_open_end(s, &s->output, serial_open_stdout(), false);
	if (isatty(STDIN_FILENO) && serial_in_background())
		return;
	serial_open_end(s, &s->input, fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), false);
	if (s->input.src.fd < 0 || tcgetattr(s->input.src.fd, &s->termios) < 0)
		return;
	s->is_tty = true;
}

int serial_host_open(struct serial *s, const struct vm_config *config, struct error *err)
{
	int ret;

	s->input.src = (struct loop_source){ .fd = -1, .fn = serial_input_ready };
	s->output.src = (struct loop_source){ .fd = -1, .fn = serial_output_ready };
	s->listener = (struct loop_source){ .fd = -1, .fn = serial_accept };
	s->wake = (struct loop_source){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .fn = serial_woken };
	ret = s->wake.fd < 0 ? -errno : loop_add(&s->vm->loop, &s->wake, EPOLLIN);
	if (ret < 0)
		return error_add(err, ret, "cannot set up the serial port: %s", strerror(-ret));
	if (config->serial == SERIAL_UNIX)
		return serial_listen(s, config->serial_path, err);
	if (config->serial == SERIAL_STDIO)
		serial_open_stdio(s);
	/* While a guest arrives nobody reads what is typed: Ctrl-C is still the operator's. */
	if (!config->from)
		serial_take_terminal(s);
	/* The first look at input that cannot be watched. */
	serial_wake(s);
	return 0;
}

/* The guest's last words, as long as somebody takes them. */
static void serial_drain(struct serial *s)
{
	uint64_t end = now_ns() + SERIAL_LAST_MS * 1000000u;

	while (s->output.src.fd >= 0 && s->out_head != s->out_tail && now_ns() < end) {
		struct pollfd p = { .fd = s->output.src.fd, .events = POLLOUT };

		if (poll(&p, 1, SERIAL_LAST_MS) > 0)
			serial_flush(s);
	}
}

static void serial_close_source(struct serial *s, struct loop_source *src)
{
	if (src->fd < 0)
		return;
	loop_del(&s->vm->loop, src);
	close(src->fd);
}

void serial_host_close(struct serial *s)
{
	serial_drain(s);
	if (s->is_tty)
		tcsetattr(s->input.src.fd, TCSANOW, &s->termios);
	serial_close_end(s, &s->input);
	serial_close_end(s, &s->output);
	serial_close_source(s, &s->listener);
	serial_close_source(s, &s->wake);
	socket_file_remove(&s->file);
}
