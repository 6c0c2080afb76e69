/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's word on its clocks. */
#include "vmm/host/host_clock.h"

#include <errno.h>

void host_clock_judge(struct host_report *r, int ret, const struct timex *t)
{
	if (ret < 0)
		host_report_add(r, HOST_WARN, "clock", "", "the kernel does not say who keeps the clock: %s",
				strerror(-ret));
	else if (ret == TIME_ERROR || t->status & STA_UNSYNC)
		host_report_add(r, HOST_WARN, "clock", "run chrony, systemd-timesyncd or ntpd on every host",
				"nothing keeps the time of day in step with others: a guest's clock jumps by "
				"the difference when it moves, and a destination refuses one of more than a "
				"minute");
	else
		host_report_add(r, HOST_OK, "clock", "",
				"the time of day is kept in step, to within %ld ms as the kernel estimates",
				(long)t->esterror / 1000);
}

static void host_clock_check_source(struct host_report *r, const struct host_look *look)
{
	char source[64];

	if (host_read(source, sizeof(source),
		      "%s/devices/system/clocksource/clocksource0/current_clocksource", look->sys) < 0)
		return;
	if (strcmp(source, "tsc") == 0)
		host_report_add(r, HOST_OK, "clocksource", "", "the kernel tells time by the CPUs' TSC");
	else
		host_report_add(r, HOST_WARN, "clocksource",
				"look in the kernel's log for why it does not trust the TSC",
				"the kernel tells time by %s, not by the TSC: guests read their clock more "
				"slowly",
				source);
}

void host_clock_check(struct host_report *r, const struct host_look *look)
{
	struct timex t = { .modes = 0 };
	int ret = adjtimex(&t);

	host_clock_judge(r, ret < 0 ? -errno : ret, &t);
	host_clock_check_source(r, look);
	r->facts.clock_us = realtime_ns() / 1000u;
}
