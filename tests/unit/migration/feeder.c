/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A source that says what a test wants said: see the header. */
#define _GNU_SOURCE
#include "tests/unit/migration/feeder.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

void record(struct proxy *p, struct departure *s)
{
	struct arrival a;
	enum source_result result;

	*p = (struct proxy){ .listen = places.proxy_path, .to = places.path };
	departure_init(s);
	s->to = places.proxy_path;
	proxy_start(p);
	arrival_start(&a, NULL);
	result = departure_go(s);
	arrival_join(&a);
	proxy_join(p);
	assert_moved(&a, s, result);
	arrival_exit(&a);
}

static void *feeder_listen(void *arg)
{
	struct feeder *f = arg;
	struct iovec iov;
	ssize_t got;

	do {
		iov = (struct iovec){ f->answers + f->n_answers, sizeof(f->answers) - 1 - f->n_answers };
		got = channel_readv(&f->channel, &iov, 1, 20000);
		f->n_answers += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	return NULL;
}

/*
 * Says it all, whatever the destination says meanwhile: channel_writev() would take an answer that the
 * listener has not read yet for a refusal.
 */
static void feeder_say(struct feeder *f)
{
	struct pollfd writable = { .fd = f->channel.fd, .events = POLLOUT };
	uint64_t done = 0;

	while (done < f->len) {
		ssize_t n = send(f->channel.fd, f->bytes + done, f->len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n < 0)
			poll(&writable, 1, -1);
		else
			done += (uint64_t)n;
	}
}

static void *feeder_run(void *arg)
{
	struct feeder *f = arg;
	struct error err = { 0 };
	pthread_t listener;

	assert_int_equal(channel_adopt(&f->channel, connect_to_place(places.path), -1, &err), 0);
	pthread_create(&listener, NULL, feeder_listen, f);
	/* The destination may hang up in the middle: its answer says whether that was right. */
	feeder_say(f);
	shutdown(f->channel.fd, SHUT_WR);
	pthread_join(listener, NULL);
	channel_close(&f->channel);
	arrival_call_off(f->to);
	return NULL;
}

bool feed_keep(struct arrival *a, const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	a->cancel_fd = eventfd(0, EFD_CLOEXEC);
	*f = (struct feeder){ .bytes = bytes, .len = len, .to = a };
	/* Let go of by the source that was recorded. */
	holder = NULL;
	pthread_create(&f->thread, NULL, feeder_run, f);
	arrival_run(a);
	pthread_join(f->thread, NULL);
	if (a->ret < 0)
		assert_not_here(a);
	return a->ret == 0;
}

bool feed_to(struct arrival *a, const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	bool runs = feed_keep(a, bytes, len, f);

	arrival_exit(a);
	return runs;
}

bool feed(const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX };

	return feed_to(&a, bytes, len, f);
}

void assert_answer(const struct feeder *f, const char *why, unsigned int i)
{
	if (!memmem(f->answers, f->n_answers, why, strlen(why)))
		fail_msg("%u: %s", i, f->answers + 16);
}
