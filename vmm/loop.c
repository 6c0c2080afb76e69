/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The epoll loop and calls into it from other threads. */
#define _GNU_SOURCE
#include "vmm/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/log.h"

/* Runs the calls that wait. The lock is held, and given up during each call. */
static void loop_run_calls(struct loop *loop)
{
	struct loop_call *call;

	while ((call = loop->calls)) {
		loop->calls = call->next;
		pthread_mutex_unlock(&loop->lock);
		call->ret = call->fn(call->arg);
		pthread_mutex_lock(&loop->lock);
		call->done = true;
		pthread_cond_broadcast(&loop->called);
	}
}

static void loop_woken(struct loop_source *src, uint32_t events)
{
	struct loop *loop = container_of(src, struct loop, wake);

	/* The calls that the counter announces are under the lock. */
	loop_take(src->fd);
	loop->wanted = false;
	pthread_mutex_lock(&loop->lock);
	loop_run_calls(loop);
	pthread_mutex_unlock(&loop->lock);
}

/* Has the loop's thread see to what has been put under the lock, whether it sleeps or not. */
static void loop_want(struct loop *loop)
{
	loop->wanted = true;
	loop_signal(loop->wake.fd);
}

int loop_init(struct loop *loop)
{
	pthread_condattr_t attr;
	int ret;

	*loop = (struct loop){ .epoll_fd = -1, .wake = { .fd = -1, .fn = loop_woken } };
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->called, &attr);
	pthread_condattr_destroy(&attr);
	loop->wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ret = loop->wake.fd < 0 ? -errno : loop_add(loop, &loop->wake, EPOLLIN);
	if (ret < 0)
		loop_exit(loop);
	return ret;
}

void loop_exit(struct loop *loop)
{
	if (loop->epoll_fd < 0)
		return;
	if (loop->wake.fd >= 0)
		close(loop->wake.fd);
	close(loop->epoll_fd);
	pthread_cond_destroy(&loop->called);
	pthread_mutex_destroy(&loop->lock);
	loop->epoll_fd = -1;
}

int loop_add(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, src->fd, &ev) < 0 ? -errno : 0;
}

void loop_del(struct loop *loop, struct loop_source *src)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	for (int i = 0; i < loop->n_pending; i++) {
		if (loop->pending[i].data.ptr == src)
			loop->pending[i].data.ptr = NULL;
	}
}

int loop_run(struct loop *loop)
{
	int ret = 0;
	bool stop;

	pthread_mutex_lock(&loop->lock);
	/* A thread of loop_start() is known already, and loop_join() may be reading it. */
	if (!loop->running) {
		loop->running = true;
		loop->thread = pthread_self();
	}
	stop = loop->stop;
	pthread_mutex_unlock(&loop->lock);
	while (!stop) {
		bool awake = loop->idler && loop->idler->fn(loop->idler);
		int n = epoll_wait(loop->epoll_fd, loop->pending, LOOP_EVENTS, awake ? 0 : -1);

		if (n < 0 && errno != EINTR) {
			ret = -errno;
			break;
		}
		loop->n_pending = n < 0 ? 0 : n;
		for (int i = 0; i < loop->n_pending; i++) {
			struct loop_source *src = loop->pending[i].data.ptr;

			if (src)
				src->fn(src, loop->pending[i].events);
		}
		loop->n_pending = 0;
		pthread_mutex_lock(&loop->lock);
		stop = loop->stop;
		pthread_mutex_unlock(&loop->lock);
	}
	pthread_mutex_lock(&loop->lock);
	/* Calls that wait are run before "running" falls, so that who waits for that with a deadline waits
	 * for them as well. Later ones run on their own threads. */
	loop_run_calls(loop);
	loop->running = false;
	pthread_cond_broadcast(&loop->called);
	pthread_mutex_unlock(&loop->lock);
	return ret;
}

static void *loop_thread(void *arg)
{
	struct loop *loop = arg;
	int ret = loop_run(loop);

	if (ret < 0)
		log_error("cannot wait for events: %s", strerror(-ret));
	return NULL;
}

int loop_start(struct loop *loop, const char *name)
{
	int ret;

	/* The lock is held, so that nobody sees the loop running without knowing its thread. */
	pthread_mutex_lock(&loop->lock);
	ret = -pthread_create(&loop->thread, NULL, loop_thread, loop);
	loop->running = ret == 0;
	if (ret == 0)
		pthread_setname_np(loop->thread, name);
	pthread_mutex_unlock(&loop->lock);
	return ret;
}

int loop_serve(struct loop *loop, struct loop_source *src, const char *name)
{
	int ret = loop_init(loop);

	if (ret < 0)
		return ret;
	ret = loop_add(loop, src, EPOLLIN);
	if (ret == 0)
		ret = loop_start(loop, name);
	if (ret < 0)
		loop_exit(loop);
	return ret;
}

/* Waits until something is done, or @until_ns, and lets go of the lock meanwhile. Returns false if @until_ns
 * has passed. */
static bool loop_wait_done(struct loop *loop, uint64_t until_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(until_ns / 1000000000u),
			       .tv_nsec = (long)(until_ns % 1000000000u) };

	if (until_ns == UINT64_MAX)
		pthread_cond_wait(&loop->called, &loop->lock);
	else if (now_ns() >= until_ns)
		return false;
	else
		pthread_cond_timedwait(&loop->called, &loop->lock, &ts);
	return true;
}

bool loop_join_until(struct loop *loop, uint64_t until_ns)
{
	bool ended;

	loop_stop(loop);
	pthread_mutex_lock(&loop->lock);
	while (loop->running && loop_wait_done(loop, until_ns))
		;
	ended = !loop->running;
	pthread_mutex_unlock(&loop->lock);
	if (ended)
		pthread_join(loop->thread, NULL);
	return ended;
}

void loop_join(struct loop *loop)
{
	loop_stop(loop);
	pthread_join(loop->thread, NULL);
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	pthread_mutex_unlock(&loop->lock);
	loop_want(loop);
}

void loop_post(struct loop *loop, struct loop_call *call, int (*fn)(void *arg), void *arg)
{
	struct loop_call **tail;

	*call = (struct loop_call){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&loop->lock);
	if (!loop->running || pthread_equal(loop->thread, pthread_self())) {
		pthread_mutex_unlock(&loop->lock);
		call->ret = fn(arg);
		call->done = true;
		return;
	}
	for (tail = &loop->calls; *tail; tail = &(*tail)->next)
		;
	*tail = call;
	pthread_mutex_unlock(&loop->lock);
	loop_want(loop);
}

bool loop_wait_until(struct loop *loop, struct loop_call *call, uint64_t until_ns)
{
	bool done;

	pthread_mutex_lock(&loop->lock);
	while (!call->done && loop_wait_done(loop, until_ns))
		;
	done = call->done;
	pthread_mutex_unlock(&loop->lock);
	return done;
}

int loop_wait(struct loop *loop, struct loop_call *call)
{
	while (!loop_wait_until(loop, call, UINT64_MAX))
		;
	return call->ret;
}

int loop_call(struct loop *loop, int (*fn)(void *arg), void *arg)
{
	struct loop_call call;

	loop_post(loop, &call, fn, arg);
	return loop_wait(loop, &call);
}
