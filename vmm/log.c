/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to stderr and the texts of errors. */
#include "vmm/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/output.h"
#include "vmm/text.h"

#define LOG_LINE_MAX 2048

enum log_level log_level = LOG_INFO;

/* The process has one stderr, and a message does not know whose it is: so this state is the
 * program's, too. */
static struct log_writer {
	/* The process whose messages go through @output, 0 for none. */
	_Atomic pid_t pid;
	struct output *output;
	/* Protects what follows. Taken before the output's. */
	pthread_mutex_t lock;
	unsigned int n_dropped;
	unsigned int n_failed;
	int error; /* The error of the last that failed. */
} log_writer = { .lock = PTHREAD_MUTEX_INITIALIZER };

int log_keep_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* The file gets the lowest number that is free, which is this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return -errno;
	}
	return 0;
}

/* Tells the counts of what was lost, a line for each. With the lock held; a line that finds no room leaves
 * its count as it is. */
static void log_report_lost(struct log_writer *w)
{
	char line[LOG_LINE_MAX];
	int len;

	if (w->n_dropped > 0) {
		len = snprintf(line, sizeof(line),
			       "ferry: %u messages were not written, because nobody read them\n",
			       w->n_dropped);
		if (output_put(w->output, line, (size_t)len, OUTPUT_WHOLE) > 0)
			w->n_dropped = 0;
	}
	if (w->n_failed > 0) {
		len = snprintf(line, sizeof(line), "ferry: %u messages could not be written: %s\n",
			       w->n_failed, strerror(w->error));
		if (output_put(w->output, line, (size_t)len, OUTPUT_WHOLE) > 0)
			w->n_failed = 0;
	}
}

static void log_failed(void *opaque, int error)
{
	struct log_writer *w = opaque;

	pthread_mutex_lock(&w->lock);
	w->n_failed++;
	w->error = error;
	pthread_mutex_unlock(&w->lock);
}

static void log_again(void *opaque)
{
	struct log_writer *w = opaque;

	pthread_mutex_lock(&w->lock);
	log_report_lost(w);
	pthread_mutex_unlock(&w->lock);
}

static const struct output_events log_events = {
	.failed = log_failed,
	.mended = log_again,
	.room = log_again,
};

int log_start(void)
{
	struct log_writer *w = &log_writer;
	int ret = output_open(&w->output, STDERR_FILENO, &log_events, w);

	if (ret == 0)
		atomic_store(&w->pid, getpid());
	return ret;
}

void log_flush(void)
{
	if (atomic_load(&log_writer.pid) == getpid())
		output_flush(log_writer.output, OUTPUT_LAST_MS);
}

void log_stop(void)
{
	struct log_writer *w = &log_writer;
	struct output *output = w->output;

	atomic_store(&w->pid, 0);
	output_close(output, OUTPUT_LAST_MS);
	pthread_mutex_lock(&w->lock);
	w->output = NULL;
	w->n_dropped = w->n_failed = 0;
	pthread_mutex_unlock(&w->lock);
}

static void log_put(const char *line, size_t len)
{
	struct log_writer *w = &log_writer;

	if (atomic_load(&w->pid) != getpid()) {
		/* Nowhere is left to report that stderr is gone. */
		if (write(STDERR_FILENO, line, len) < 0)
			return;
		return;
	}
	pthread_mutex_lock(&w->lock);
	/* After the first message that is dropped all are, until their number has been told in
	 * their place. */
	if (w->n_dropped > 0 || output_put(w->output, line, len, OUTPUT_WHOLE) == 0)
		w->n_dropped++;
	pthread_mutex_unlock(&w->lock);
}

static void log_line(const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	size_t len = (size_t)snprintf(line, sizeof(line), "ferry: ");
	int n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);

	if (n < 0)
		return;
	len += min_u64((uint64_t)n, sizeof(line) - len - 2);
	text_clean(line, len);
	line[len++] = '\n';
	log_put(line, len);
}

void log_message(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

/* Begins a new interval where the last is over, and tells what was left out in it. */
static void log_begin_interval(struct log_limit *limit, enum log_level level)
{
	uint64_t now = now_ns(), start = atomic_load(&limit->start_ns);
	unsigned int n_dropped;

	/* The difference is signed: another thread may have begun an interval since this one asked for the
	 * time. */
	if (start != 0 && (int64_t)(now - start) <= (int64_t)LOG_INTERVAL_NS)
		return;
	if (!atomic_compare_exchange_strong(&limit->start_ns, &start, now))
		return;
	atomic_store(&limit->n_logged, 0);
	n_dropped = atomic_exchange(&limit->n_dropped, 0);
	if (n_dropped > 0)
		log_message(level, "%u messages like the following were left out", n_dropped);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level)
		return;
	log_begin_interval(limit, level);
	if (atomic_load(&limit->n_logged) >= LOG_BURST) {
		atomic_fetch_add(&limit->n_dropped, 1);
		return;
	}
	atomic_fetch_add(&limit->n_logged, 1);
	va_start(ap, fmt);
	log_line(fmt, ap);
	va_end(ap);
}

/* Room below which a further reason is not begun: little of it would be to be read. */
#define ERROR_PART_LEAST 64u

/* Writes @fmt to @text, of @size bytes with the NUL, and marks where it was cut. */
static void __attribute__((format(printf, 3, 0)))
error_put(char *text, size_t size, const char *fmt, va_list ap)
{
	static const char cut[] = "...";

	if ((size_t)vsnprintf(text, size, fmt, ap) >= size)
		memcpy(text + size - sizeof(cut), cut, sizeof(cut));
}

/* Ends the text with the number of reasons that are not in it. */
static void error_put_more(struct error *err)
{
	char *end = err->n_left_out > 1 ? strrchr(err->text, ';') : NULL;
	size_t len = end ? (size_t)(end - err->text) : strlen(err->text);

	/* A first reason may have taken all there was. */
	len = min_u64(len, sizeof(err->text) - sizeof("; and 4294967295 more"));
	snprintf(err->text + len, sizeof(err->text) - len, "; and %u more", err->n_left_out);
}

void error_add(struct error *err, const char *fmt, ...)
{
	size_t len = strlen(err->text);
	va_list ap;

	if (len == 0)
		err->n_left_out = 0;
	if (err->n_left_out > 0 || len + ERROR_PART_LEAST > ERROR_LIST_MAX) {
		err->n_left_out++;
		error_put_more(err);
		return;
	}
	if (len > 0)
		len += (size_t)snprintf(err->text + len, sizeof(err->text) - len, "; ");
	va_start(ap, fmt);
	error_put(err->text + len, (len > 0 ? ERROR_LIST_MAX : sizeof(err->text)) - len, fmt, ap);
	va_end(ap);
}
