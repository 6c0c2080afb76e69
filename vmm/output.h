/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Output to a descriptor whose reader may never read: a thread of its own waits for the reader, and nobody
 * else does. */
#ifndef FERRY_VMM_OUTPUT_H
#define FERRY_VMM_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/output_file.h"

/* How many bytes can wait to be written; a power of two. A pipe holds as much. */
#define OUTPUT_MAX 65536u
/* The time in milliseconds that the end of a process waits for its last words to be read. */
#define OUTPUT_LAST_MS 500

struct output;

/* Calls that tell what became of bytes that were put. They come on the writer's thread, with no lock held,
 * and may call output_put(). */
struct output_events {
	/* A line, or a piece of one, is lost: write() said @error. What comes next is tried all the same: a
	 * full disk, or a FIFO without a reader, may be found better. */
	void (*failed)(void *opaque, int error);
	/* A line was written after one was lost. */
	void (*mended)(void *opaque);
	/* output_put() had taken less than it was given, and half of the ring is free by now. */
	void (*room)(void *opaque);
};

/*
 * Starts a thread that writes to @fd. The descriptor stays the caller's, is open until output_close(), and
 * keeps its flags: an O_NONBLOCK set here would be set for all processes that share the open file. Each line
 * goes out in one write(), unless it is longer than a pipe takes at once. The thread takes no signals; a
 * terminal that keeps background jobs from writing (TOSTOP) does not stop the process. 0 or -errno.
 */
int __must_check output_open(struct output **output, int fd, const struct output_events *events,
			     void *opaque);

/* Does the same with a file, which is the output's from here on unless this fails. */
int __must_check output_open_file(struct output **output, struct output_file *file,
				  const struct output_events *events, void *opaque);

enum output_part { OUTPUT_WHOLE, OUTPUT_PART };

/*
 * Takes as many bytes of @data as there is room for, with OUTPUT_WHOLE all or none, and returns their number.
 * Never waits for the reader. Any thread, but not in the child of a fork(), which has no writer.
 */
size_t output_put(struct output *output, const void *data, size_t len, enum output_part part);

/*
 * Waits until what has been put is written or lost, but @timeout_ms at most; where the writer is slow and not
 * its reader, up to five seconds. Any thread but the writer's.
 */
void output_flush(struct output *output, int timeout_ms);

/*
 * Does as output_flush(), and ends the thread. A write that cannot be ended, to a file on a file system that
 * stands still, keeps its thread and @output until the process ends. Nobody else uses @output any more; NULL
 * is allowed.
 */
void output_close(struct output *output, int timeout_ms);

#endif
