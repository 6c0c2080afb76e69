/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's end of the serial port: what happens there, and who is told. */
#include "devices/serial/host.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* Time until descriptors or memory that were short are asked for again, for nothing tells when there are
 * some. */
#define SERIAL_RETRY_MS 1000

static void serial_host_retry(struct serial_host *h)
{
	loop_timer_arm(&h->retry, end_of(SERIAL_RETRY_MS));
}

static void serial_host_feed(struct serial_host *h)
{
	if (serial_input_feed(&h->input) < 0)
		serial_host_retry(h);
}

static void serial_host_serve_consoles(struct serial_host *h)
{
	if (serial_consoles_serve(&h->consoles) < 0)
		serial_host_retry(h);
}

static void serial_host_read(struct serial_host *h)
{
	int ret = serial_input_read(&h->input);

	if (ret < 0 && !h->input.is_client)
		log_limited(&h->stdin_limit, LOG_WARN,
			    "serial: cannot read stdin: %s; the guest hears nothing from it any more",
			    strerror(-ret));
}

static void serial_host_hang_up(struct serial_host *h)
{
	serial_end_close(&h->input.end);
	serial_end_close(&h->writer.end);
	/* The next client may have been waiting. */
	if (serial_listener_watch(&h->listener) < 0)
		serial_host_retry(h);
}

static void serial_host_flush(struct serial_host *h)
{
	switch (serial_writer_flush(&h->writer)) {
	case SERIAL_FLUSHED:
		break;
	case SERIAL_UNWATCHED:
		serial_host_retry(h);
		break;
	case SERIAL_READER_GONE:
		/* A client may leave without waiting for its last input to be taken, which is still read. */
		if (h->input.eof)
			serial_host_hang_up(h);
		else
			serial_end_close(&h->writer.end);
		break;
	}
}

static void serial_host_input_ready(struct loop_source *src, uint32_t events)
{
	struct serial_host *h = container_of(src, struct serial_host, input.end.src);
	struct serial_input *in = &h->input;

	serial_host_read(h);
	if (in->is_client && in->eof &&
	    ((events & (EPOLLHUP | EPOLLERR)) || !serial_writer_has_reader(&h->writer)))
		serial_host_hang_up(h);
	serial_host_feed(h);
}

static void serial_host_output_ready(struct loop_source *src, uint32_t events)
{
	serial_host_flush(container_of(src, struct serial_host, writer.end.src));
}

static void serial_host_woken(struct loop_source *src, uint32_t events)
{
	struct serial_host *h = container_of(src, struct serial_host, wake);

	loop_take(src->fd);
	/* The terminal waits for the loop to run, because setting up a VM takes long and Ctrl-C is the
	 * operator's meanwhile. */
	if (h->terminal_due)
		serial_host_take_terminal(h);
	serial_host_flush(h);
	if (serial_input_due(&h->input))
		serial_host_read(h);
	serial_host_feed(h);
	serial_host_serve_consoles(h);
}

static void serial_host_accept(struct loop_source *src, uint32_t events)
{
	struct serial_host *h = container_of(src, struct serial_host, listener.src);
	int fds[2], ret = serial_listener_take(&h->listener, fds);

	if (ret < 0) {
		if (ret != -EAGAIN)
			serial_host_retry(h);
		return;
	}
	serial_end_open(&h->input.end, fds[0]);
	serial_end_open(&h->writer.end, fds[1]);
	/* A client is not told of output that was dropped before it came. */
	uart_take_dropped(h->uart);
	h->input.eof = false;
	serial_host_feed(h);
	serial_host_flush(h);
}

static void serial_host_tried_again(struct loop_timer *timer)
{
	struct serial_host *h = container_of(timer, struct serial_host, retry);

	serial_host_flush(h);
	serial_host_feed(h);
	serial_host_serve_consoles(h);
	if (h->listener.src.fd < 0 || h->input.end.src.fd >= 0)
		return;
	if (serial_listener_watch(&h->listener) < 0)
		serial_host_retry(h);
	else
		serial_host_accept(&h->listener.src, EPOLLIN);
}

static void serial_host_got_terminal(struct terminal *t)
{
	serial_host_feed(container_of(t, struct serial_host, terminal));
}

void serial_host_take_terminal(struct serial_host *h)
{
	h->terminal_due = false;
	terminal_take(&h->terminal);
}

static void serial_host_init(struct serial_host *h, struct uart *uart, struct vm *vm)
{
	struct loop *loop = &vm->loop;

	*h = (struct serial_host){ .loop = loop, .uart = uart };
	h->pty.slave = -1;
	h->input.uart = uart;
	h->input.gate = &vm->gate;
	h->input.terminal = &h->terminal;
	h->writer.uart = uart;
	serial_end_init(&h->input.end, loop, serial_host_input_ready);
	serial_end_init(&h->writer.end, loop, serial_host_output_ready);
	serial_listener_init(&h->listener, loop, serial_host_accept);
	serial_consoles_init(&h->consoles, loop, uart);
	h->wake = (struct loop_source){ .fd = uart->wake_fd, .fn = serial_host_woken };
}

static int serial_host_open_stdio(struct serial_host *h)
{
	int ret = serial_writer_open_stdout(&h->writer);

	if (ret < 0)
		return ret;
	serial_end_open(&h->input.end, serial_input_open_stdin());
	return terminal_open(&h->terminal, h->loop, h->input.end.src.fd, serial_host_got_terminal);
}

static int serial_host_open_file(struct serial_host *h, const struct vm_config *config, struct error *err)
{
	int ret = serial_writer_open_file(&h->writer, config->serial_path, config->serial_max);

	if (ret < 0) {
		error_add(err, "--serial: cannot write to \"%s\": %s", config->serial_path,
			  ret == -ENOTSUP ? "it is no regular file"
			  : ret == -ELOOP ? "it is a symbolic link"
					  : strerror(-ret));
		return ret;
	}
	return 0;
}

static int serial_host_open_pty(struct serial_host *h, struct error *err)
{
	int fds[2], ret = serial_pty_open(&h->pty, fds, err);

	if (ret < 0)
		return ret;
	serial_end_open(&h->input.end, fds[0]);
	serial_end_open(&h->writer.end, fds[1]);
	/* What is typed is watched for once the loop runs. */
	loop_signal(h->wake.fd);
	log_info("serial: the guest's line is at %s", h->pty.name);
	return 0;
}

/* Opens what is not stdio. */
static int serial_host_open_other(struct serial_host *h, const struct vm_config *config, struct error *err)
{
	switch (config->serial) {
	case SERIAL_UNIX:
		h->input.is_client = true;
		return serial_listener_open(&h->listener, config->serial_path, err);
	case SERIAL_FILE:
		return serial_host_open_file(h, config, err);
	case SERIAL_PTY:
		return serial_host_open_pty(h, err);
	case SERIAL_STDIO:
	case SERIAL_NONE:
		break;
	}
	return 0;
}

int serial_host_open(struct serial_host *h, struct uart *uart, struct vm *vm, const struct vm_config *config,
		     struct error *err)
{
	struct loop *loop = &vm->loop;
	int ret;

	serial_host_init(h, uart, vm);
	ret = terminal_open(&h->terminal, loop, -1, serial_host_got_terminal);
	if (ret == 0)
		ret = loop_add(loop, &h->wake, EPOLLIN);
	if (ret == 0)
		ret = loop_timer_open(&h->retry, loop, serial_host_tried_again);
	if (ret == 0 && config->serial == SERIAL_STDIO)
		ret = serial_host_open_stdio(h);
	if (ret < 0) {
		error_add(err, "cannot set up the serial port: %s", strerror(-ret));
		return ret;
	}
	if (config->serial != SERIAL_STDIO)
		return serial_host_open_other(h, config, err);
	/* A guest that arrives gets the terminal when it is here: serial_host_take_terminal(). */
	h->terminal_due = !config->receives;
	/* Input that cannot be watched is looked at once the loop runs. */
	loop_signal(uart->wake_fd);
	return 0;
}

static void serial_host_drain(struct serial_host *h)
{
	uint64_t end_ns = end_of(OUTPUT_LAST_MS);
	struct output *output = h->writer.output;
	struct pollfd p = { .fd = output ? h->wake.fd : h->writer.end.src.fd,
			    .events = output ? POLLIN : POLLOUT };

	serial_host_flush(h);
	while (serial_writer_has_reader(&h->writer) && uart_has_output(h->uart) && now_ns() < end_ns) {
		if (poll(&p, 1, ms_until(end_ns)) <= 0)
			continue;
		if (output && !loop_take(h->wake.fd))
			continue;
		serial_host_flush(h);
	}
	output_close(output, ms_until(end_ns));
	h->writer.output = NULL;
	serial_pty_close(&h->pty, end_ns);
}

void serial_host_close(struct serial_host *h)
{
	serial_consoles_close(&h->consoles);
	serial_host_drain(h);
	terminal_close(&h->terminal);
	serial_end_close(&h->input.end);
	serial_end_close(&h->writer.end);
	serial_listener_close(&h->listener);
	loop_timer_close(&h->retry);
	loop_del(h->loop, &h->wake);
}

void serial_host_guard(struct serial_host *h, struct guard *guard)
{
	guard_add(guard, &h->terminal.undo);
	guard_add(guard, &h->listener.undo);
}
