/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two hosts' times of day: the guest's clock jumps to the destination's where that one is ahead. */
#ifndef FERRY_MIGRATION_CLOCK_H
#define FERRY_MIGRATION_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A larger difference is one that a guest notices, so both ends log it. Clocks that NTP keeps differ by less.
 */
#define CLOCK_NOTICED_NS UINT64_C(1000000000)

struct clock_skew {
	uint64_t ns;
	bool ahead; /* the peer's clock is */
};

/* Returns the least difference there can be to a peer whose clock was @theirs at some moment between @from
 * and @to of ours: the message was on its way for a part of that. */
struct clock_skew clock_compare(uint64_t theirs, uint64_t from, uint64_t to);

/* Writes a difference as text, such as "3.250 s ahead of" or "0.002 s behind". */
#define CLOCK_TEXT_MAX 48
const char *clock_text(char text[CLOCK_TEXT_MAX], struct clock_skew skew);

#endif
