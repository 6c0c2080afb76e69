/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A time of day that can be set: see the header. */
#define _GNU_SOURCE
#include "tests/fault/clock.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const _Atomic int64_t *clock_ns;

void clock_is_set_by(const _Atomic int64_t *ns)
{
	clock_ns = ns;
}

/* In the place of the C library's, for the product as it is. A wait that the kernel ends at a time of day
 * goes by the kernel's: a deadline that was made of this one comes as far too late as the clock is ahead. */

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int ret = (int)syscall(SYS_clock_gettime, clock, ts);
	int64_t ns;

	if (ret < 0 || !clock_ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
		return ret;
	ns = ts->tv_nsec + *clock_ns % 1000000000;
	ts->tv_sec += *clock_ns / 1000000000 + (ns < 0 ? -1 : ns >= 1000000000);
	ts->tv_nsec = ns + (ns < 0 ? 1000000000 : ns >= 1000000000 ? -1000000000 : 0);
	return ret;
}

time_t time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ .tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000 };
	return 0;
}
