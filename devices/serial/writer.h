/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's output on its way to a reader, stdout, a file, a terminal or a client of the socket, who may
 * never read. */
#ifndef FERRY_DEVICES_SERIAL_WRITER_H
#define FERRY_DEVICES_SERIAL_WRITER_H

#include "devices/serial/end.h"
#include "devices/serial/uart.h"
#include "vmm/output.h"

/* Owned by the caller. All functions on the loop's thread, or while it does not run; none of them waits. */
struct serial_writer {
	struct uart *uart;
	struct serial_end end;   /* a client's, or a terminal */
	struct output *output;   /* to stdout or a file; NULL: to neither */
	const char *output_name; /* for messages */
	struct log_limit limit;  /* of lost output */
	struct log_limit output_limit;
	bool output_failing; /* the output's thread's */
};

/* Writes to stdout, by a thread that wakes the UART's host side when there is room again. 0 or -errno. */
int __must_check serial_writer_open_stdout(struct serial_writer *w);
/* The same to the file @path, which must outlive @w, with @max bytes at the most (output_file.h). */
int __must_check serial_writer_open_file(struct serial_writer *w, const char *path, uint64_t max);

bool serial_writer_has_reader(const struct serial_writer *w);

enum serial_flushed {
	/* As far as the reader takes it now: an event says when to go on. */
	SERIAL_FLUSHED,
	/* The same, but there will be no event, for descriptors or memory are short. */
	SERIAL_UNWATCHED,
	SERIAL_READER_GONE, /* the end is still to be closed */
};

/* Writes what there is, but gives other work of this thread its turn. */
enum serial_flushed __must_check serial_writer_flush(struct serial_writer *w);

#endif
