/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of connections on their way to a destination. */
#include "migration/arrivals.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "migration/channel.h"
#include "migration/clock.h"
#include "vmm/loop.h"
#include "vmm/shortage.h"

int arrivals_init(struct arrivals *a, const char *reason, struct error *err)
{
	*a = (struct arrivals){ .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .taken.fd = -1 };
	if (a->event_fd < 0) {
		error_add(err, "cannot create an eventfd: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	pthread_mutex_init(&a->lock, NULL);
	error_add(&a->closed, "%s", reason);
	return 0;
}

void arrivals_exit(struct arrivals *a)
{
	if (a->event_fd < 0)
		return;
	arrivals_close(a, "this Ferry ends");
	pthread_mutex_destroy(&a->lock);
	close(a->event_fd);
	a->event_fd = -1;
}

/* Tells whoever waits. With the lock held. */
static void arrivals_finish(struct arrivals_connection *c, int ret, const char *reason)
{
	struct arrivals_end *end = c->end;

	c->end = NULL;
	if (!end)
		return;
	end->ended = true;
	end->ret = ret;
	if (ret < 0)
		error_add(&end->reason, "%s", reason);
	loop_signal(end->fd);
}

/* Takes an arrival out of the queue and hangs up. With the lock held. */
static void arrivals_turn_away(struct arrivals *a, unsigned int index, int ret, const char *reason)
{
	stream_turn_away(a->queue[index].fd, reason);
	free(a->queue[index].heard);
	arrivals_finish(&a->queue[index], ret, reason);
	a->n_queued--;
	memmove(&a->queue[index], &a->queue[index + 1], (a->n_queued - index) * sizeof(a->queue[0]));
}

/* Returns why nobody is let into the queue now, or NULL. With the lock held. */
static const char *arrivals_obstacle(const struct arrivals *a)
{
	if (a->closed.text[0])
		return a->closed.text;
	return a->n_queued == ARRIVALS_MAX ? "too many connections wait already" : NULL;
}

int arrivals_push(struct arrivals *a, int fd, uint64_t since, struct arrivals_end *end, struct error *err)
{
	const char *obstacle;
	int ret = channel_check_socket(fd, err);

	if (ret < 0) {
		stream_turn_away(fd, err->text);
		return ret;
	}
	pthread_mutex_lock(&a->lock);
	obstacle = arrivals_obstacle(a);
	if (obstacle) {
		error_add(err, "%s", obstacle);
		ret = -EBUSY;
	} else {
		a->queue[a->n_queued++] = (struct arrivals_connection){
			.fd = fd, .since = since, .deadline_ns = end_of(ARRIVALS_SILENT_MS), .end = end
		};
	}
	pthread_mutex_unlock(&a->lock);
	if (ret < 0)
		stream_turn_away(fd, err->text);
	else
		loop_signal(a->event_fd);
	return ret;
}

bool arrivals_forget(struct arrivals *a, struct arrivals_end *end)
{
	bool ended;

	pthread_mutex_lock(&a->lock);
	for (unsigned int i = 0; i < a->n_queued; i++) {
		if (a->queue[i].end == end)
			a->queue[i].end = NULL;
	}
	if (a->taken.end == end)
		a->taken.end = NULL;
	ended = end->ended;
	pthread_mutex_unlock(&a->lock);
	return ended;
}

void arrivals_break(struct arrivals *a, const char *reason)
{
	pthread_mutex_lock(&a->lock);
	error_add(&a->broken, "%s", reason);
	pthread_mutex_unlock(&a->lock);
	loop_signal(a->event_fd);
}

void arrivals_open(struct arrivals *a)
{
	pthread_mutex_lock(&a->lock);
	a->closed = (struct error){ 0 };
	pthread_mutex_unlock(&a->lock);
}

void arrivals_close(struct arrivals *a, const char *reason)
{
	pthread_mutex_lock(&a->lock);
	a->closed = (struct error){ 0 };
	error_add(&a->closed, "%s", reason);
	while (a->n_queued > 0)
		arrivals_turn_away(a, 0, -EBUSY, reason);
	pthread_mutex_unlock(&a->lock);
}

void arrivals_settle(struct arrivals *a, int ret, const char *reason)
{
	pthread_mutex_lock(&a->lock);
	arrivals_finish(&a->taken, ret, reason);
	pthread_mutex_unlock(&a->lock);
}

/* Returns who goes first where there are many: who has been silent for longest, or else has begun to speak
 * first and not ended. With the lock held. */
static unsigned int arrivals_idlest(const struct arrivals *a)
{
	for (unsigned int i = 0; i < a->n_queued; i++) {
		if (!a->queue[i].heard)
			return i;
	}
	return 0;
}

/* Lets those go whose time is up, and some where there are many: nobody in the queue has said all that it
 * should. */
static void arrivals_thin(struct arrivals *a)
{
	uint64_t now = now_ns();

	pthread_mutex_lock(&a->lock);
	for (unsigned int i = a->n_queued; i-- > 0;) {
		if (a->queue[i].deadline_ns <= now)
			arrivals_turn_away(a, i, -ETIMEDOUT,
					   a->queue[i].heard ? "the source takes too long for its HELLO"
							     : "the source has said nothing for too long");
	}
	while (a->n_queued > ARRIVALS_KEPT)
		arrivals_turn_away(a, arrivals_idlest(a), -EBUSY, "another connection needed the place");
	pthread_mutex_unlock(&a->lock);
}

/* Fills in what is to be looked at: the descriptors of all in the queue. Returns their number, and until when
 * it may go on as it is. */
static unsigned int arrivals_list(struct arrivals *a, struct pollfd *fds, uint64_t *until_ns)
{
	unsigned int n;

	pthread_mutex_lock(&a->lock);
	n = a->n_queued;
	*until_ns = n > ARRIVALS_KEPT ? 0 : UINT64_MAX;
	for (unsigned int i = 0; i < n; i++) {
		const struct arrivals_connection *c = &a->queue[i];

		fds[i] =
			(struct pollfd){ .fd = c->first == STREAM_FIRST_PART ? c->fd : -1, .events = POLLIN };
		*until_ns = min_u64(*until_ns, c->first == STREAM_FIRST_PART ? c->deadline_ns : 0);
	}
	pthread_mutex_unlock(&a->lock);
	return n;
}

/* Takes in what @c has said. Where there is no memory for that its taker finds so, too. */
static void arrivals_hear(struct arrivals_connection *c)
{
	ssize_t n;

	if (!c->heard) {
		c->heard = malloc(STREAM_BUFFER);
		c->deadline_ns = end_of(ARRIVALS_HELLO_MS);
	}
	n = c->heard ? channel_hear(c->fd, c->heard + c->n_heard, STREAM_BUFFER - c->n_heard) : -ENOMEM;
	if (n > 0)
		c->n_heard += (uint32_t)n;
	c->arrived = realtime_ns();
	c->first = n < 0 ? STREAM_FIRST_OTHER : stream_look(c->heard, c->n_heard);
}

/* Returns the index of one that can be taken: of a source rather than of a stranger, who is good for a short
 * wait. -EAGAIN if there is none. On the destination's thread, which alone takes any out. */
static int arrivals_find(struct arrivals *a, unsigned int n)
{
	int found = -EAGAIN;

	for (unsigned int i = n; i-- > 0;) {
		if (a->queue[i].first == STREAM_FIRST_HELLO)
			found = (int)i;
	}
	for (unsigned int i = n; found < 0 && i-- > 0;) {
		if (a->queue[i].first == STREAM_FIRST_OTHER)
			found = (int)i;
	}
	return found;
}

/*
 * Waits for a connection that has said enough. Returns its index, or -EAGAIN when there is something else to
 * look at, or -ECANCELED. Others only add to the queue's end meanwhile.
 */
static int arrivals_await(struct arrivals *a, int cancel_fd)
{
	struct pollfd fds[2 + ARRIVALS_MAX] = { { .fd = cancel_fd, .events = POLLIN },
						{ .fd = a->event_fd, .events = POLLIN } };
	uint64_t until_ns;
	unsigned int n = arrivals_list(a, fds + 2, &until_ns);
	int found;

	if (poll(fds, 2 + n, ms_until(until_ns)) < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (fds[0].revents)
		return -ECANCELED;
	for (unsigned int i = 0; i < n; i++) {
		if (fds[2 + i].revents)
			arrivals_hear(&a->queue[i]);
	}
	found = arrivals_find(a, n);
	if (found >= 0)
		return found;
	/* The counter is emptied before the queue is looked at again. Who has come meanwhile may have spoken.
	 */
	if (fds[1].revents)
		loop_take(a->event_fd);
	else
		arrivals_thin(a);
	return -EAGAIN;
}

static bool arrivals_is_broken(struct arrivals *a, struct error *err)
{
	bool broken;

	pthread_mutex_lock(&a->lock);
	broken = a->broken.text[0];
	if (broken)
		error_add(err, "%s", a->broken.text);
	pthread_mutex_unlock(&a->lock);
	return broken;
}

int arrivals_take(struct arrivals *a, int cancel_fd, struct arrivals_connection *taken, struct error *err)
{
	int index;

	do {
		index = arrivals_await(a, cancel_fd);
		if (index == -EAGAIN && arrivals_is_broken(a, err))
			return -EPIPE;
	} while (index == -EAGAIN);
	if (index < 0) {
		error_add(err,
			  index == -ECANCELED ? "cancelled while waiting for a source"
					      : "cannot wait for a source: %s",
			  strerror(-index));
		return index;
	}
	pthread_mutex_lock(&a->lock);
	*taken = a->taken = a->queue[index];
	a->n_queued--;
	memmove(&a->queue[index], &a->queue[index + 1],
		(a->n_queued - (unsigned int)index) * sizeof(a->queue[0]));
	pthread_mutex_unlock(&a->lock);
	return 0;
}
