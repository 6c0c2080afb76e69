/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's output on its way to a reader who may never read. */
#include "devices/serial/writer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* Taken out of the UART at once, on the stack. */
#define SERIAL_CHUNK 4096u

static void serial_output_failed(void *opaque, int error)
{
	struct serial_writer *w = opaque;

	if (!w->output_failing)
		log_limited(&w->output_limit, LOG_WARN,
			    "serial: cannot write the guest's output to %s: %s; it is dropped until that "
			    "is possible again",
			    w->output_name, strerror(error));
	w->output_failing = true;
}

static void serial_output_mended(void *opaque)
{
	struct serial_writer *w = opaque;

	w->output_failing = false;
}

static void serial_output_room(void *opaque)
{
	struct serial_writer *w = opaque;

	loop_signal(w->uart->wake_fd);
}

static const struct output_events serial_output_events = {
	.failed = serial_output_failed,
	.mended = serial_output_mended,
	.room = serial_output_room,
};

int serial_writer_open_stdout(struct serial_writer *w)
{
	w->output_name = "stdout";
	return output_open(&w->output, STDOUT_FILENO, &serial_output_events, w);
}

int serial_writer_open_file(struct serial_writer *w, const char *path, uint64_t max)
{
	struct output_file *file;
	int ret = output_file_open(&file, path, max);

	if (ret < 0)
		return ret;
	w->output_name = path;
	ret = output_open_file(&w->output, file, &serial_output_events, w);
	if (ret < 0)
		output_file_close(file);
	return ret;
}

bool serial_writer_has_reader(const struct serial_writer *w)
{
	return w->end.src.fd >= 0 || w->output;
}

/* Returns how much the reader takes now, or -errno. */
static ssize_t serial_writer_put(struct serial_writer *w, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (!w->output) {
		n = w->end.is_socket ? send(w->end.src.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
				     : write(w->end.src.fd, data, len);
		return n < 0 ? -errno : n;
	}
	n = (ssize_t)output_put(w->output, data, len, OUTPUT_PART);
	return n > 0 ? n : -EAGAIN;
}

/* Writes up to SERIAL_CHUNK bytes. 1: there may be more, 0: all written, -errno: not now (EAGAIN), or the
 * reader is gone. */
static int serial_writer_flush_chunk(struct serial_writer *w)
{
	uint8_t chunk[SERIAL_CHUNK];
	uint64_t at;
	size_t len = uart_peek_output(w->uart, chunk, sizeof(chunk), &at);
	ssize_t n;

	if (len == 0)
		return 0;
	n = serial_writer_put(w, chunk, len);
	if (n < 0)
		return n == -EINTR ? 1 : (int)n;
	uart_take_output(w->uart, at + (uint64_t)n);
	return 1;
}

static void serial_writer_report_dropped(struct serial_writer *w)
{
	uint64_t n = uart_take_dropped(w->uart);

	if (n > 0)
		log_limited(&w->limit, LOG_WARN,
			    "serial: %llu bytes of the guest's output dropped, its reader is too slow",
			    (unsigned long long)n);
}

enum serial_flushed serial_writer_flush(struct serial_writer *w)
{
	int ret = 1, watching;

	if (!serial_writer_has_reader(w))
		return SERIAL_FLUSHED;
	for (uint64_t done = 0; ret == 1 && done < UART_OUT_MAX; done += SERIAL_CHUNK)
		ret = serial_writer_flush_chunk(w);
	if (ret < 0 && ret != -EAGAIN)
		return SERIAL_READER_GONE;
	watching = serial_end_watch(&w->end, ret == 0 ? 0 : EPOLLOUT);
	if (ret == 1 && w->output)
		loop_signal(w->uart->wake_fd);
	serial_writer_report_dropped(w);
	return watching < 0 ? SERIAL_UNWATCHED : SERIAL_FLUSHED;
}
