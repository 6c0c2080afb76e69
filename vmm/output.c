/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ring of bytes, and a thread that is the only one to wait for the reader. */
#define _GNU_SOURCE
#include "vmm/output.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* A chunk that is written at once has no more than PIPE_BUF, so that lines of several processes do not mix in
 * a pipe. */
#define OUTPUT_CHUNK 4096u
/* The time between two attempts where the open file is non-blocking and full. */
#define OUTPUT_RETRY_MS 10
/* The time in all where the reader takes what it is given: then it is the machine that is slow. */
#define OUTPUT_SLOW_MS 5000
/* The time that a cancelled thread gets: unless it is in the middle of a file system's call it
 * ends at once. */
#define OUTPUT_CANCEL_MS 100
/* The stack holds a chunk, a line of the log, and what the C library needs to print that. */
#define OUTPUT_STACK KIB(64)

struct output {
	int fd; /* -1: @file */
	struct output_file *file;
	const struct output_events *events;
	void *opaque;
	pthread_t thread;

	/* Protects all that follows. Nothing else is locked while it is held. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ending, ended;
	/* An event is being told, and the thread is without the lock. */
	bool calling, left;
	/* output_put() has taken less than it was given. */
	bool refused;
	/* Positions among all bytes ever put, not reduced to the ring. */
	uint64_t head, tail;
	uint8_t ring[OUTPUT_MAX];
};

static void output_free(struct output *o)
{
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	if (o->file)
		output_file_close(o->file);
	free(o);
}

static ssize_t output_try(const struct output *o, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (o->file)
		return output_file_write(o->file, data, len);
	n = write(o->fd, data, len);
	return n < 0 ? -errno : n;
}

/* Waits and writes. Only here output_close() may end the thread: no lock is held. */
static ssize_t output_write(const struct output *o, const uint8_t *data, size_t len)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };
	ssize_t n;

	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	while ((n = output_try(o, data, len)) == -EAGAIN || n == -EINTR) {
		/* EAGAIN: somebody else has made the open file non-blocking. A terminal that is nearly full
		 * may say both that it takes something, and that it does not take this. */
		poll(NULL, 0, OUTPUT_RETRY_MS);
		if (o->fd >= 0)
			poll(&p, 1, -1);
	}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return n;
}

/* Finds the next line, or as much as may go out at once. With the lock held. */
static size_t output_next(const struct output *o, uint8_t *chunk)
{
	size_t len = min_u64(o->tail - o->head, OUTPUT_CHUNK), n = 0;

	while (n < len) {
		chunk[n] = o->ring[(o->head + n) % OUTPUT_MAX];
		if (chunk[n++] == '\n')
			break;
	}
	return n;
}

/* Tells @event, or, for NULL, that a write failed with @error. With the lock held, which is given up
 * meanwhile. Whoever is told may be gone where the thread was left behind. */
static void output_tell(struct output *o, void (*event)(void *opaque), int error)
{
	if (o->left)
		return;
	o->calling = true;
	pthread_mutex_unlock(&o->lock);
	if (event)
		event(o->opaque);
	else
		o->events->failed(o->opaque, error);
	pthread_mutex_lock(&o->lock);
	o->calling = false;
	pthread_cond_broadcast(&o->changed);
}

/* Writes one line, and returns whether it was written. With the lock held, which is given up meanwhile. */
static bool output_step(struct output *o, bool failing)
{
	uint8_t chunk[OUTPUT_CHUNK];
	size_t len = output_next(o, chunk);
	ssize_t n;

	pthread_mutex_unlock(&o->lock);
	n = output_write(o, chunk, len);
	pthread_mutex_lock(&o->lock);
	o->head += n < 0 ? len : (size_t)n;
	/* For output_flush(). */
	pthread_cond_broadcast(&o->changed);
	if (n < 0)
		output_tell(o, NULL, (int)-n);
	else if (failing)
		output_tell(o, o->events->mended, 0);
	return n >= 0;
}

static void *output_thread(void *arg)
{
	struct output *o = arg;
	bool failing = false;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_mutex_lock(&o->lock);
	for (;;) {
		if (o->refused && o->tail - o->head <= OUTPUT_MAX / 2) {
			o->refused = false;
			output_tell(o, o->events->room, 0);
		} else if (o->head != o->tail) {
			failing = !output_step(o, failing);
		} else if (!o->ending) {
			pthread_cond_wait(&o->changed, &o->lock);
		} else {
			break;
		}
	}
	o->ended = true;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

static int output_start(struct output *o)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, OUTPUT_STACK);
	sigfillset(&all);
	/* The thread inherits the mask, so signals are blocked before it starts. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = -pthread_create(&o->thread, &attr, output_thread, o);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

static int output_begin(struct output **output, int fd, struct output_file *file,
			const struct output_events *events, void *opaque)
{
	struct output *o = calloc(1, sizeof(*o));
	pthread_condattr_t attr;
	int ret;

	if (!o)
		return -ENOMEM;
	o->fd = fd;
	o->file = file;
	o->events = events;
	o->opaque = opaque;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->changed, &attr);
	pthread_condattr_destroy(&attr);
	ret = output_start(o);
	if (ret < 0) {
		o->file = NULL;
		output_free(o);
		return ret;
	}
	pthread_setname_np(o->thread, "output");
	*output = o;
	return 0;
}

int output_open(struct output **output, int fd, const struct output_events *events, void *opaque)
{
	return output_begin(output, fd, NULL, events, opaque);
}

int output_open_file(struct output **output, struct output_file *file, const struct output_events *events,
		     void *opaque)
{
	return output_begin(output, -1, file, events, opaque);
}

size_t output_put(struct output *o, const void *data, size_t len, enum output_part part)
{
	size_t n;

	pthread_mutex_lock(&o->lock);
	n = min_u64(len, OUTPUT_MAX - (o->tail - o->head));
	if (n < len) {
		o->refused = true;
		n = part == OUTPUT_WHOLE ? 0 : n;
	}
	for (size_t i = 0; i < n; i++)
		o->ring[o->tail++ % OUTPUT_MAX] = ((const uint8_t *)data)[i];
	if (n > 0)
		pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
	return n;
}

static struct timespec output_time(clockid_t clock, int after_ms)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	ts.tv_sec += after_ms / 1000;
	ts.tv_nsec += (long)(after_ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}

static bool output_done(const struct output *o, uint64_t tail)
{
	return o->ending ? o->ended : o->head >= tail;
}

/* Waits until all is done, or written up to @tail, and returns whether it is. With the lock held, which is
 * given up meanwhile. */
static bool output_wait(struct output *o, uint64_t tail, int timeout_ms)
{
	uint64_t slow_ns = end_of(OUTPUT_SLOW_MS);
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };

	do {
		struct timespec end = output_time(CLOCK_MONOTONIC, timeout_ms);

		while (!output_done(o, tail) && pthread_cond_timedwait(&o->changed, &o->lock, &end) == 0)
			;
	} while (!output_done(o, tail) && now_ns() < slow_ns && poll(&p, 1, 0) > 0 && (p.revents & POLLOUT));
	return output_done(o, tail);
}

void output_flush(struct output *o, int timeout_ms)
{
	pthread_mutex_lock(&o->lock);
	output_wait(o, o->tail, timeout_ms);
	pthread_mutex_unlock(&o->lock);
}

void output_close(struct output *o, int timeout_ms)
{
	struct timespec end;
	bool ended;

	if (!o)
		return;
	pthread_mutex_lock(&o->lock);
	o->ending = true;
	pthread_cond_broadcast(&o->changed);
	ended = output_wait(o, o->tail, timeout_ms);
	pthread_mutex_unlock(&o->lock);
	if (!ended)
		pthread_cancel(o->thread);
	end = output_time(CLOCK_REALTIME, OUTPUT_CANCEL_MS);
	if (ended ? pthread_join(o->thread, NULL) == 0 : pthread_timedjoin_np(o->thread, NULL, &end) == 0) {
		output_free(o);
		return;
	}
	pthread_mutex_lock(&o->lock);
	o->left = true;
	while (o->calling)
		pthread_cond_wait(&o->changed, &o->lock);
	pthread_detach(o->thread);
	pthread_mutex_unlock(&o->lock);
}
