/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts' times of day, compared. */
#include "migration/clock.h"

#include <inttypes.h>
#include <stdio.h>

struct clock_skew clock_compare(uint64_t theirs, uint64_t from, uint64_t to)
{
	if (theirs < from)
		return (struct clock_skew){ .ns = from - theirs };
	if (theirs > to)
		return (struct clock_skew){ .ns = theirs - to, .ahead = true };
	return (struct clock_skew){ 0 };
}

const char *clock_text(char text[CLOCK_TEXT_MAX], struct clock_skew skew)
{
	snprintf(text, CLOCK_TEXT_MAX, "%" PRIu64 ".%03u s %s", skew.ns / 1000000000u,
		 (unsigned int)(skew.ns / 1000000u % 1000u), skew.ahead ? "ahead of" : "behind");
	return text;
}
