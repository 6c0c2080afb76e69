/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host side of the UART, on the main thread: stdio or a unix socket, neither of which a vCPU waits for.
 */
#define _GNU_SOURCE
#include "devices/serial/serial_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Taken out of the ring at once, on the stack. */
#define SERIAL_CHUNK  4096u
#define SERIAL_ESCAPE 0x01u /* Ctrl-A */
/* Time until descriptors or memory that were short are asked for again: nothing tells when there are some. */
#define SERIAL_RETRY_MS 1000

void serial_wake(struct serial *s)
{
	loop_signal(s->wake.fd);
}

static void serial_retry(struct serial *s)
{
	loop_timer_arm(&s->retry, end_of(SERIAL_RETRY_MS));
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
	if (watch && !e->watched)
		serial_retry(s);
}

static void serial_open_end(struct serial *s, struct serial_end *e, int fd, bool is_client)
{
	struct stat st;
	int ret = -EBADF;

	e->src.fd = fd;
	e->is_client = is_client;
	if (fd < 0 || fstat(fd, &st) < 0)
		st.st_mode = 0;
	e->is_fifo = S_ISFIFO(st.st_mode);
	e->is_socket = S_ISSOCK(st.st_mode);
	if (fd >= 0)
		ret = loop_add(&s->vm->loop, &e->src, 0);
	e->watched = ret == 0;
	e->events = 0;
	/* Any other error is a shortage: see serial_watch(). */
	e->always_ready = ret == -EPERM;
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
		serial_retry(s);
}

/* Events of the input to be watched: while it has not ended, there is room, and it is for the guest. */
static uint32_t serial_input_events(struct serial *s)
{
	if (s->terminal.fd >= 0 && !terminal_check(&s->terminal))
		return 0;
	/* The writer of a FIFO has gone; another may come. */
	if (s->eof && s->input.is_fifo)
		return EPOLLIN | EPOLLET;
	return s->eof || s->n_in == SERIAL_IN_MAX ? 0 : EPOLLIN;
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
	serial_watch(s, &s->input, serial_input_events(s));
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
			gate_end(&s->vm->gate, VM_EXIT_POWER_OFF);
		else
			data[n++] = data[i];
	}
	return n;
}

/* Whether @ret of a read, 0 or -errno, is the input's end. */
static bool serial_input_ended(struct serial *s, int ret)
{
	struct pollfd p = { .fd = s->input.src.fd };

	if (ret == -EAGAIN || ret == -EINTR)
		return false;
	if (s->terminal.fd < 0)
		return true;
	/* In the background it is EIO, and at any time nothing may be there; where the terminal has gone it
	 * is either of both. */
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* Reads without waiting, for another process may have read what the loop has been told of. */
static ssize_t serial_get_input(const struct serial_end *e, void *at, size_t len)
{
	struct pollfd p = { .fd = e->src.fd, .events = POLLIN };

	if (e->is_socket)
		return recv(e->src.fd, at, len, MSG_DONTWAIT);
	if (poll(&p, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return read(e->src.fd, at, len);
}

static void serial_take_input(struct serial *s)
{
	uint8_t *at = s->in + s->n_in;
	bool is_tty = s->terminal.fd >= 0;
	ssize_t n;

	if (s->input.src.fd < 0 || s->n_in == SERIAL_IN_MAX || (is_tty && !terminal_check(&s->terminal)) ||
	    (s->eof && !s->input.is_fifo))
		return;
	n = serial_get_input(&s->input, at, SERIAL_IN_MAX - s->n_in);
	if (n <= 0) {
		int ret = n < 0 ? -errno : 0;

		if (!serial_input_ended(s, ret))
			return;
		s->eof = true;
		if (ret < 0 && !s->input.is_client)
			log_limited(&s->stdin_limit, LOG_WARN,
				    "serial: cannot read stdin: %s; the guest hears nothing from it any more",
				    strerror(-ret));
		return;
	}
	s->eof = false;
	s->n_in += is_tty ? serial_unescape(s, at, (unsigned int)n) : (unsigned int)n;
}

static void serial_input_ready(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, input.src);

	serial_take_input(s);
	if (s->input.is_client && s->eof && ((events & (EPOLLHUP | EPOLLERR)) || s->output.src.fd < 0))
		serial_hang_up(s);
	serial_feed(s);
}

static ssize_t serial_put(struct serial *s, const uint8_t *data, uint64_t len)
{
	size_t n;

	if (!s->writer)
		return send(s->output.src.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	n = output_put(s->writer, data, len, OUTPUT_PART);
	if (n == 0)
		errno = EAGAIN;
	return n > 0 ? (ssize_t)n : -1;
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
	n = serial_put(s, chunk, len);
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

	if (s->output.src.fd < 0 && !s->writer)
		return;
	for (uint64_t done = 0; ret == 1 && done < SERIAL_OUT_MAX; done += SERIAL_CHUNK)
		ret = serial_flush_chunk(s);
	if (ret == 0 || ret == 1 || ret == -EAGAIN) {
		serial_watch(s, &s->output, ret == 0 ? 0 : EPOLLOUT);
		if (ret == 1 && s->writer)
			serial_wake(s);
		serial_report_dropped(s);
	} else if (s->eof) {
		serial_hang_up(s);
	} else {
		/* The client may have left without waiting for its last input to be taken: go on reading
		 * that. */
		serial_close_end(s, &s->output);
	}
}

static void serial_output_ready(struct loop_source *src, uint32_t events)
{
	serial_flush(container_of(src, struct serial, output.src));
}

void serial_take_terminal(struct serial *s)
{
	s->terminal_due = false;
	terminal_take(&s->terminal);
}

static void serial_woken(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, wake);

	loop_take(src->fd);
	/* Not before the loop runs: while the VM is set up, and that takes long, Ctrl-C is the operator's. */
	if (s->terminal_due)
		serial_take_terminal(s);
	serial_flush(s);
	if (s->input.always_ready && s->n_in == 0)
		serial_take_input(s);
	serial_feed(s);
}

/* A client's two directions: a second descriptor, because epoll knows each but once. */
static int serial_take_client(struct serial *s)
{
	int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), second, ret;

	if (fd < 0)
		return -errno;
	second = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (second < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	serial_open_end(s, &s->input, fd, true);
	serial_open_end(s, &s->output, second, true);
	return 0;
}

static void serial_accept(struct loop_source *src, uint32_t events)
{
	struct serial *s = container_of(src, struct serial, listener);
	int ret;

	do {
		ret = serial_take_client(s);
	} while (ret == -EINTR || ret == -ECONNABORTED);
	/* Edge-triggered: where descriptors have run out, the waiting client does not keep the loop busy. */
	if (ret < 0) {
		if (ret == -EAGAIN)
			return;
		log_limited(&s->client_limit, LOG_WARN,
			    "serial: cannot take a client of %s yet: %s; it is tried again", s->path,
			    strerror(-ret));
		serial_retry(s);
		return;
	}
	/* The next one waits in the backlog. */
	loop_del(&s->vm->loop, src);
	pthread_mutex_lock(&s->lock);
	s->n_dropped = 0;
	pthread_mutex_unlock(&s->lock);
	s->eof = false;
	serial_feed(s);
	serial_flush(s);
}

static void serial_tried_again(struct loop_timer *timer)
{
	struct serial *s = container_of(timer, struct serial, retry);
	int ret;

	serial_flush(s);
	serial_feed(s);
	if (s->listener.fd < 0 || s->input.src.fd >= 0)
		return;
	ret = loop_add(&s->vm->loop, &s->listener, EPOLLIN | EPOLLET);
	if (ret < 0 && ret != -EEXIST)
		serial_retry(s);
	else
		serial_accept(&s->listener, EPOLLIN);
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

static void serial_stdout_failed(void *opaque, int error)
{
	struct serial *s = opaque;

	if (!s->stdout_failing)
		log_limited(&s->stdout_limit, LOG_WARN,
			    "serial: cannot write the guest's output to stdout: %s; it is dropped until that "
			    "is possible again",
			    strerror(error));
	s->stdout_failing = true;
}

static void serial_stdout_mended(void *opaque)
{
	struct serial *s = opaque;

	s->stdout_failing = false;
}

static void serial_stdout_room(void *opaque)
{
	serial_wake(opaque);
}

static const struct output_events serial_stdout_events = {
	.failed = serial_stdout_failed,
	.mended = serial_stdout_mended,
	.room = serial_stdout_room,
};

static void serial_got_terminal(struct terminal *t)
{
	serial_feed(container_of(t, struct serial, terminal));
}

/*
 * A descriptor for stdin. Another process may read what the loop has been told of, so a pipe is opened anew,
 * where that is allowed: O_NONBLOCK on the open file would be set for all who share it. See terminal.h for
 * terminals.
 */
static int serial_open_stdin(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDIN_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static int serial_open_stdio(struct serial *s)
{
	int ret = output_open(&s->writer, STDOUT_FILENO, &serial_stdout_events, s);

	if (ret < 0)
		return ret;
	serial_open_end(s, &s->input, serial_open_stdin(), false);
	return terminal_open(&s->terminal, &s->vm->loop, s->input.src.fd, serial_got_terminal);
}

static void serial_remove_file(struct guard_undo *undo)
{
	socket_file_remove(&container_of(undo, struct serial, file_undo)->file);
}

int serial_host_open(struct serial *s, const struct vm_config *config, struct error *err)
{
	int ret;

	s->input.src = (struct loop_source){ .fd = -1, .fn = serial_input_ready };
	s->output.src = (struct loop_source){ .fd = -1, .fn = serial_output_ready };
	s->listener = (struct loop_source){ .fd = -1, .fn = serial_accept };
	s->file_undo.fn = serial_remove_file;
	ret = terminal_open(&s->terminal, &s->vm->loop, -1, serial_got_terminal);
	s->wake = (struct loop_source){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .fn = serial_woken };
	if (ret == 0)
		ret = s->wake.fd < 0 ? -errno : loop_add(&s->vm->loop, &s->wake, EPOLLIN);
	if (ret == 0)
		ret = loop_timer_open(&s->retry, &s->vm->loop, serial_tried_again);
	if (ret == 0 && config->serial == SERIAL_STDIO)
		ret = serial_open_stdio(s);
	if (ret < 0)
		return error_add(err, ret, "cannot set up the serial port: %s", strerror(-ret));
	if (config->serial == SERIAL_UNIX)
		return serial_listen(s, config->serial_path, err);
	/* A guest that arrives gets the terminal when it is here: serial_take_terminal(). */
	s->terminal_due = !config->from;
	/* The first look at input that cannot be watched. */
	serial_wake(s);
	return 0;
}

/* The guest's last words, as long as somebody takes them. */
static void serial_drain(struct serial *s)
{
	uint64_t end_ns = end_of(OUTPUT_LAST_MS);
	struct pollfd p = { .fd = s->writer ? s->wake.fd : s->output.src.fd,
			    .events = s->writer ? POLLIN : POLLOUT };

	serial_flush(s);
	while ((s->writer || s->output.src.fd >= 0) && s->out_head != s->out_tail && now_ns() < end_ns) {
		if (poll(&p, 1, ms_until(end_ns)) <= 0)
			continue;
		if (s->writer && !loop_take(s->wake.fd))
			continue;
		serial_flush(s);
	}
	output_close(s->writer, ms_until(end_ns));
	s->writer = NULL;
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
	terminal_close(&s->terminal);
	serial_close_end(s, &s->input);
	serial_close_end(s, &s->output);
	serial_close_source(s, &s->listener);
	loop_timer_close(&s->retry);
	serial_close_source(s, &s->wake);
	socket_file_remove(&s->file);
	guard_del(&s->file_undo);
}
