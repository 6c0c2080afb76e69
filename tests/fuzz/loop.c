/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loops without threads: see the header. */
#define _GNU_SOURCE
#include "tests/fuzz/loop.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_LOOPS  8u
#define MAX_TIMERS 1024u /* by file descriptor */
#define MAX_ROUNDS 5000u
#define LOOK_NS    10000u /* what a look at the clock takes: who waits by looking gets to an end */

static struct loop *loops[MAX_LOOPS];
static unsigned int n_loops;
static bool time_on;
static uint64_t time_ns;
static uint64_t deadlines[MAX_TIMERS]; /* 0: not armed */
static unsigned int last_timer;        /* the highest that there has been */

/* Time */

void fuzz_time(bool on)
{
	time_on = on;
	time_ns = 1000000000u;
	memset(deadlines, 0, sizeof(deadlines));
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (!time_on)
		return __real_clock_gettime(clock, ts);
	time_ns += LOOK_NS;
	*ts = (struct timespec){ .tv_sec = (time_t)(time_ns / 1000000000u),
				 .tv_nsec = (long)(time_ns % 1000000000u) };
	return 0;
}

int __wrap_timerfd_create(int clock, int flags)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert(fd >= 0 && fd < (int)MAX_TIMERS);
	deadlines[fd] = 0;
	last_timer = (unsigned int)max_u64(last_timer, (uint64_t)fd);
	return fd;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old)
{
	uint64_t ns = (uint64_t)when->it_value.tv_sec * 1000000000u + (uint64_t)when->it_value.tv_nsec;

	if (fd < 0) {
		errno = EBADF;
		return -1;
	}
	assert(fd < (int)MAX_TIMERS && !old);
	assert(when->it_interval.tv_sec == 0 && when->it_interval.tv_nsec == 0);
	/* An end that has come and was not read is gone. */
	loop_take(fd);
	deadlines[fd] = ns == 0 ? 0 : flags & TFD_TIMER_ABSTIME ? ns : time_ns + ns;
	fuzz_advance(0);
	return 0;
}

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < (int)MAX_TIMERS)
		deadlines[fd] = 0;
	return __real_close(fd);
}

void fuzz_advance(uint64_t ns)
{
	const uint64_t one = 1;

	time_ns += ns;
	for (unsigned int fd = 0; fd <= last_timer; fd++) {
		if (deadlines[fd] == 0 || deadlines[fd] > time_ns)
			continue;
		deadlines[fd] = 0;
		assert(write((int)fd, &one, sizeof(one)) == sizeof(one));
	}
}

/* Loops */

int loop_init(struct loop *loop)
{
	*loop = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_exit(struct loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
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

int loop_start(struct loop *loop, const char *name)
{
	assert(n_loops < MAX_LOOPS);
	loops[n_loops++] = loop;
	return 0;
}

void loop_join(struct loop *loop)
{
	unsigned int i = 0;

	while (i < n_loops && loops[i] != loop)
		i++;
	assert(i < n_loops);
	loops[i] = loops[--n_loops];
}

int loop_run(struct loop *loop)
{
	return -ENOSYS;
}

void loop_stop(struct loop *loop)
{
}

/* @running: its thread is doing something, and may wait for another loop's meanwhile. */
int loop_call(struct loop *loop, int (*fn)(void *arg), void *arg)
{
	bool was = loop->running;
	int ret;

	loop->running = true;
	ret = fn(arg);
	loop->running = was;
	return ret;
}

void loop_post(struct loop *loop, struct loop_call *call, int (*fn)(void *arg), void *arg)
{
	*call = (struct loop_call){ .fn = fn, .arg = arg, .done = true };
	call->ret = loop_call(loop, fn, arg);
}

int loop_wait(struct loop *loop, struct loop_call *call)
{
	return call->ret;
}

bool loop_wait_until(struct loop *loop, struct loop_call *call, uint64_t until_ns)
{
	return true;
}

static bool turn(struct loop *loop)
{
	if (loop->running)
		return false;
	loop->n_pending = epoll_wait(loop->epoll_fd, loop->pending, LOOP_EVENTS, 0);
	assert(loop->n_pending >= 0);
	if (loop->n_pending == 0)
		return false;
	loop->running = true;
	for (int i = 0; i < loop->n_pending; i++) {
		struct loop_source *src = loop->pending[i].data.ptr;

		if (src)
			src->fn(src, loop->pending[i].events);
	}
	loop->n_pending = 0;
	loop->running = false;
	return true;
}

void fuzz_loops_settle(void)
{
	unsigned int n = 0;
	bool any = true;

	for (; any && n < MAX_ROUNDS; n++) {
		any = false;
		for (unsigned int i = 0; i < n_loops; i++)
			any |= turn(loops[i]);
	}
	/* Else somebody looks at an event and does not take it. */
	assert(n < MAX_ROUNDS);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	int ret;

	if (!time_on)
		return __real_poll(fds, n, timeout_ms);
	/* msix.c asks without waiting. */
	if (timeout_ms != 0)
		fuzz_loops_settle();
	ret = __real_poll(fds, n, 0);
	if (ret == 0 && timeout_ms > 0)
		fuzz_advance((uint64_t)timeout_ms * 1000000u);
	return ret;
}
