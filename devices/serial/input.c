/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input for the guest: from stdin, a terminal perhaps, or from a client of the socket. */
#include "devices/serial/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERIAL_ESCAPE 0x01u /* Ctrl-A */

/*
 * Another process may read what the loop has been told of. So a pipe is opened anew, where that is allowed,
 * for an O_NONBLOCK on the open file would be set for all who share it. terminal.h says what is done for
 * terminals.
 */
int serial_input_open_stdin(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDIN_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* Input is watched while it has not ended, there is room, and it is for the guest. */
static uint32_t serial_input_events(const struct serial_input *in)
{
	if (in->terminal->fd >= 0 && !terminal_check(in->terminal))
		return 0;
	/* The writer of a FIFO has gone, and another may come. */
	if (in->eof && in->end.is_fifo)
		return EPOLLIN | EPOLLET;
	if (in->eof)
		return in->is_client ? EPOLLHUP : 0;
	return in->n < SERIAL_IN_MAX ? EPOLLIN : 0;
}

int serial_input_feed(struct serial_input *in)
{
	bool more = in->end.always_ready && in->end.src.fd >= 0 && !in->eof;
	unsigned int n = uart_hand_in(in->uart, in->data, in->n, more);

	in->n -= n;
	memmove(in->data, in->data + n, in->n);
	return serial_end_watch(&in->end, serial_input_events(in));
}

bool serial_input_due(const struct serial_input *in)
{
	return in->end.always_ready && in->n == 0;
}

/* On a terminal Ctrl-A x ends the VM, and Ctrl-A twice is one. Returns how many bytes stay. */
static unsigned int serial_unescape(struct serial_input *in, uint8_t *data, unsigned int len)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < len; i++) {
		bool escaped = in->escaped;

		in->escaped = !escaped && data[i] == SERIAL_ESCAPE;
		if (in->escaped)
			continue;
		if (escaped && data[i] == 'x')
			gate_end(in->gate, VM_EXIT_POWER_OFF);
		else
			data[n++] = data[i];
	}
	return n;
}

/* Whether @ret of a read, 0 or -errno, is the input's end. */
static bool serial_input_ended(const struct serial_input *in, int ret)
{
	struct pollfd p = { .fd = in->end.src.fd };

	if (ret == -EAGAIN || ret == -EINTR)
		return false;
	if (in->terminal->fd < 0)
		return true;
	/* A read in the background is EIO, and one where nothing is there is 0 at any time. A terminal that
	 * has gone answers the same, but hangs up. */
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* Reads without waiting, for another process may have read what the loop has been told of. */
static ssize_t serial_input_get(const struct serial_end *e, void *at, size_t len)
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

int serial_input_read(struct serial_input *in)
{
	uint8_t *at = in->data + in->n;
	bool is_tty = in->terminal->fd >= 0;
	ssize_t n;

	if (in->end.src.fd < 0 || in->n == SERIAL_IN_MAX || (is_tty && !terminal_check(in->terminal)) ||
	    (in->eof && !in->end.is_fifo))
		return 0;
	n = serial_input_get(&in->end, at, SERIAL_IN_MAX - in->n);
	if (n <= 0) {
		int ret = n < 0 ? -errno : 0;

		if (!serial_input_ended(in, ret))
			return 0;
		in->eof = true;
		return ret;
	}
	in->eof = false;
	in->n += is_tty ? serial_unescape(in, at, (unsigned int)n) : (unsigned int)n;
	return 0;
}
