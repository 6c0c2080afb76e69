/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PC's real-time clock, for guests that read no paravirtual one: the registers of an MC146818 at ports 0x70
 * and 0x71, with the host's time of day in UTC. The guest cannot set it, and there are no interrupts: the
 * alarm's registers keep what is written, and do nothing.
 */
#ifndef FERRY_VMM_X86_RTC_H
#define FERRY_VMM_X86_RTC_H

#include <pthread.h>

#include "vmm/bus.h"
#include "vmm/device.h"

#define RTC_N_ALARM 3u

/* Owned by the caller. */
struct rtc {
	struct device device; /* "rtc" in the VM's list, which is the caller's to add it to */
	pthread_mutex_t lock; /* the rest: vCPUs access it at once */
	uint8_t index;        /* of the register that the data port stands for */
	uint8_t a, b;
	uint8_t alarm[RTC_N_ALARM]; /* seconds, minutes, hours */
};

/* Adds the registers to the bus of ports, as at power-on. rtc_exit() once vCPUs have ended. 0 or -errno, with
 * the reason and nothing to undo. */
int __must_check rtc_init(struct rtc *rtc, struct bus *pio, struct error *err);
void rtc_exit(struct rtc *rtc);

#endif
