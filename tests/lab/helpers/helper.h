// SPDX-License-Identifier: GPL-2.0-or-later
// What the lab's programs share: their end when something fails, and the time.
#ifndef FERRY_TESTS_LAB_HELPER_H
#define FERRY_TESTS_LAB_HELPER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Says what failed, and why by errno.
static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static inline uint64_t now_ms(void)
{
	return now_ns() / 1000000;
}

// In seconds.
static inline double now(void)
{
	return now_ns() / 1e9;
}

#endif
