/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers of a loop, each a timerfd. */
#include "vmm/loop_timer.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void loop_timer_fired(struct loop_source *src, uint32_t events)
{
	struct loop_timer *timer = container_of(src, struct loop_timer, src);

	/* A source that ran earlier in this round may have stopped or armed the timer, which empties it. */
	if (loop_take(src->fd))
		timer->fn(timer);
}

int loop_timer_open(struct loop_timer *timer, struct loop *loop, void (*fn)(struct loop_timer *timer))
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), ret;

	*timer = (struct loop_timer){ .src = { .fd = fd, .fn = loop_timer_fired }, .fn = fn };
	if (fd < 0)
		return -errno;
	ret = loop_add(loop, &timer->src, EPOLLIN);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	timer->loop = loop;
	return 0;
}

void loop_timer_close(struct loop_timer *timer)
{
	if (!timer->loop)
		return;
	loop_del(timer->loop, &timer->src);
	close(timer->src.fd);
	timer->loop = NULL;
}

void loop_timer_arm(struct loop_timer *timer, uint64_t at_ns)
{
	const struct itimerspec at = { .it_value = { .tv_sec = (time_t)(at_ns / 1000000000u),
						     .tv_nsec = (long)(at_ns % 1000000000u) } };

	timerfd_settime(timer->src.fd, TFD_TIMER_ABSTIME, &at, NULL);
}

void loop_timer_stop(struct loop_timer *timer)
{
	/* The moment 0 disarms a timerfd. */
	loop_timer_arm(timer, 0);
}
