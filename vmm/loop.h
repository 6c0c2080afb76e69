/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An epoll loop that one thread runs, and the way for other threads to have work done on that thread. */
#ifndef FERRY_VMM_LOOP_H
#define FERRY_VMM_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm/util.h"

/* Events of one round: more wait in the kernel for the next. */
#define LOOP_EVENTS 32

/* Signals @eventfd, -1 for nobody. A counter that is full has a signal waiting already. Any thread. */
static inline void loop_signal(int eventfd)
{
	const uint64_t one = 1;

	if (eventfd >= 0 && write(eventfd, &one, sizeof(one)) < 0)
		return;
}

/* Empties the counter of @fd, an eventfd or timerfd that does not block. False if there was nothing in it:
 * who else reads @fd was faster, or what was signalled has been called off. Any thread. */
static inline bool loop_take(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* A descriptor to watch. Owned by the caller, it must outlive loop_del(). @fn runs on the loop's thread. */
struct loop_source {
	int fd;
	void (*fn)(struct loop_source *src, uint32_t events);
};

/* A call of a function on a loop's thread. Owned by the caller, and the loop's from loop_post() until it is
 * done. */
struct loop_call {
	int (*fn)(void *arg);
	void *arg;
	int ret; /* of @fn, once @done */
	bool done;
	struct loop_call *next;
};

struct loop;

/* What a loop's thread does before it sleeps. Owned by the caller, it outlives the loop. */
struct loop_idler {
	/*
	 * Returns whether the loop is to see to what waits by now, and come back, rather than sleep. Called
	 * on the loop's thread after each round, and may take its time while loop_is_wanted() is false: other
	 * events wait.
	 */
	bool (*fn)(struct loop_idler *idler);
};

struct loop {
	int epoll_fd;
	struct loop_source wake; /* eventfd, for calls and the end */
	pthread_mutex_t lock;    /* calls, stop, running */
	pthread_cond_t called;
	struct loop_call *calls;
	bool stop;
	bool running; /* @thread runs the loop, or is about to */
	pthread_t thread;
	_Atomic bool wanted;      /* by a call or the end, until the loop sees to it */
	struct loop_idler *idler; /* NULL: the thread sleeps; set before it runs */

	/* Events of the current round, so that loop_del() can take back what has not been delivered yet. */
	int n_pending;
	struct epoll_event pending[LOOP_EVENTS];
};

int __must_check loop_init(struct loop *loop);
void loop_exit(struct loop *loop);

/* Watches @src->fd for @events (EPOLLIN ...), level-triggered unless EPOLLET is among them. On the loop's
 * thread, or before it runs. */
int __must_check loop_add(struct loop *loop, struct loop_source *src, uint32_t events);

/*
 * Stops watching. On the loop's thread: after it returns @src->fn is not called again, even for events of the
 * current round, so the caller may free @src.
 */
void loop_del(struct loop *loop, struct loop_source *src);

/* Runs the loop on a thread of its own, called @name (15 characters at most); loop_join() ends it and waits
 * for it. */
int __must_check loop_start(struct loop *loop, const char *name);
/* Makes a loop that waits for input of @src, and does as loop_start(). On an error there is no loop. */
int __must_check loop_serve(struct loop *loop, struct loop_source *src, const char *name);
void loop_join(struct loop *loop);
/* Waits as loop_join() does, until @until_ns at most. Returns false if the thread is still in what it does,
 * where it may use all that it could use before. */
bool loop_join_until(struct loop *loop, uint64_t until_ns);

/* Whether a call waits for the loop's thread, or its end, so that an idler is to return. Any thread. */
static inline bool loop_is_wanted(const struct loop *loop)
{
	return atomic_load_explicit(&loop->wanted, memory_order_relaxed);
}

/* Runs on the caller's thread until loop_stop(). Returns 0, or -errno if epoll failed. */
int __must_check loop_run(struct loop *loop);

/* Ends loop_run() after the current round. Any thread; not a signal handler. */
void loop_stop(struct loop *loop);

/*
 * Runs @fn(@arg) on the loop's thread, waits for it and returns what it returns. Where no thread runs the
 * loop, or the caller is that thread, @fn runs at once on the caller's. Calls are made in the order they came
 * in. Any thread, holding no lock that @fn or a source of this loop takes.
 */
int loop_call(struct loop *loop, int (*fn)(void *arg), void *arg);

/* The two halves of loop_call(), for a caller with something else to do meanwhile: @call is the loop's from
 * the one to the end of the other. */
void loop_post(struct loop *loop, struct loop_call *call, int (*fn)(void *arg), void *arg);
int loop_wait(struct loop *loop, struct loop_call *call);
/* Waits as loop_wait() does, until @until_ns at most. Returns false if @call is not done, and still the
 * loop's; else
 * @call->ret is there. */
bool loop_wait_until(struct loop *loop, struct loop_call *call, uint64_t until_ns);

#endif
