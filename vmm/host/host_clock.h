/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks: whether something keeps the time of day, and what the kernel tells time by. */
#ifndef FERRY_VMM_HOST_HOST_CLOCK_H
#define FERRY_VMM_HOST_HOST_CLOCK_H

#include <sys/timex.h>

#include "vmm/host/host_look.h"

/* Adds "clock" and "clocksource"; sets the time of day among the facts. */
void host_clock_check(struct host_report *r, const struct host_look *look);

/* Adds "clock" by what the kernel says of its time of day: adjtimex(2) has returned @ret with @t. */
void host_clock_judge(struct host_report *r, int ret, const struct timex *t);

#endif
