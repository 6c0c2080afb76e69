/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections on their way to a destination: whoever gets one puts it in here, where all are listened to side
 * by side, and the destination takes that which has first said a whole HELLO. One that says nothing, or goes
 * on saying little, is in nobody's way, and goes when its time is up.
 *
 *	QUEUED  -> TAKEN   it has said a HELLO, or has turned out to be none, and the destination was waiting
 *	QUEUED  -> ended   it said no HELLO in time, gave way to others, or the queue was closed
 *	TAKEN   -> ended   arrivals_settle()
 */
#ifndef FERRY_MIGRATION_ARRIVALS_H
#define FERRY_MIGRATION_ARRIVALS_H

#include <pthread.h>
#include <stdint.h>

#include "migration/stream.h"

/* Connections in the queue that the destination keeps when it looks, and those that can be put in until it
 * does: it is busy for a moment with one that speaks. */
#define ARRIVALS_KEPT 16u
#define ARRIVALS_MAX  48u
/* Time for the first byte of a source, and from then on for all of its HELLO. */
#define ARRIVALS_SILENT_MS 10000
#define ARRIVALS_HELLO_MS  5000

/* How an arrival has ended, for whoever waits for that. Owned by the waiter, which reads the rest once @fd is
 * readable, or arrivals_forget() has returned. */
struct arrivals_end {
	int fd; /* an eventfd of the waiter's */
	bool ended;
	int ret; /* 0: the guest runs here; else -errno with the reason */
	struct error reason;
};

struct arrivals_connection {
	int fd;
	/* Of this host's clock (clock.h): what it says was said after that. */
	uint64_t since;
	/* Of the same clock: when the last of @heard came. */
	uint64_t arrived;
	uint64_t deadline_ns;
	/* What it has said: STREAM_BUFFER bytes, of which @n_heard have come; NULL: nothing. The
	 * destination's thread alone has to do with these. */
	uint8_t *heard;
	uint32_t n_heard;
	enum stream_first first;
	struct arrivals_end *end; /* NULL: nobody waits */
};

struct arrivals {
	int event_fd; /* an eventfd: there is something new */
	pthread_mutex_t lock;
	/* Protects what follows. Only arrivals_take() and arrivals_close() take out of the queue. */
	struct error closed; /* why nobody is taken in; "" while somebody is */
	struct error broken; /* why nobody comes any more; "" while somebody may */
	unsigned int n_queued;
	struct arrivals_connection queue[ARRIVALS_MAX];
	struct arrivals_connection taken; /* the descriptor is the taker's */
};

/* Makes a queue that is closed for @reason. arrivals_exit() turns away what is in it; nobody else uses it
 * then. It does nothing for one whose @event_fd is -1. */
int __must_check arrivals_init(struct arrivals *a, const char *reason, struct error *err);
void arrivals_exit(struct arrivals *a);

/*
 * Puts in the connection @fd, which is the queue's from here on, also on an error: then the peer has been
 * told why, in a REFUSED frame, as far as it takes that at once. @end, NULL or the caller's until
 * arrivals_forget(), hears how it ends. -EBUSY: the queue is closed or full; or an error of
 * channel_check_socket(). Any thread; does not wait.
 */
int __must_check arrivals_push(struct arrivals *a, int fd, uint64_t since, struct arrivals_end *end,
			       struct error *err);

/* Nobody waits for @end any more. Returns whether it has ended. Any thread. */
bool arrivals_forget(struct arrivals *a, struct arrivals_end *end);

/* Nobody will come any more, for @reason: a wait ends. Any thread. */
void arrivals_break(struct arrivals *a, const char *reason);

/* The following are the destination's thread's. */

/* Opens the queue, and closes it for @reason: what is in it is turned away, and so is whoever comes. */
void arrivals_open(struct arrivals *a);
void arrivals_close(struct arrivals *a, const char *reason);

/*
 * Waits for a connection over which a HELLO has come, or else something that cannot become one, until
 * @cancel_fd becomes readable. Its descriptor and what was heard are the caller's, who says with
 * arrivals_settle() how it has ended before the next is taken. -ECANCELED, or -EPIPE for a queue that was
 * broken, with the reason.
 */
int __must_check arrivals_take(struct arrivals *a, int cancel_fd, struct arrivals_connection *taken,
			       struct error *err);
void arrivals_settle(struct arrivals *a, int ret, const char *reason);

#endif
