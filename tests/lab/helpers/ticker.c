// SPDX-License-Identifier: GPL-2.0-or-later
// Watches the guest's clocks: ticks every few milliseconds until SIGTERM, then prints the longest gap it saw.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double ms = argc > 1 ? atof(argv[1]) : 2;
	struct timespec pause = { .tv_nsec = (long)(ms * 1e6) };
	double start = now(CLOCK_MONOTONIC), start_real = now(CLOCK_REALTIME), last = start, gap = 0,
	       back = 0;
	unsigned long ticks = 0;

	signal(SIGTERM, stop);
	while (!stopped) {
		double t;

		nanosleep(&pause, NULL);
		t = now(CLOCK_MONOTONIC);
		if (t - last > gap)
			gap = t - last;
		if (last - t > back)
			back = last - t;
		last = t;
		ticks++;
	}
	printf("ticks %lu, longest gap %.1f ms, backwards %.3f ms, monotonic %.3f s, realtime %.3f s\n",
	       ticks, gap * 1e3, back * 1e3, last - start, now(CLOCK_REALTIME) - start_real);
	return 0;
}
