/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A timer of a loop: one moment on CLOCK_MONOTONIC at which the loop's thread calls a function. */
#ifndef FERRY_VMM_LOOP_TIMER_H
#define FERRY_VMM_LOOP_TIMER_H

#include "vmm/loop.h"

/*
 * Owned by the caller. A timer is opened and closed on its loop's thread, or while no thread runs the loop;
 * so is it armed and stopped. One that is all zeroes is closed.
 */
struct loop_timer {
	struct loop_source src; /* a timerfd */
	struct loop *loop;      /* NULL while closed */
	void (*fn)(struct loop_timer *timer);
};

/* Makes @timer, which is stopped. @fn runs on the loop's thread, with @timer stopped: it may arm it again, or
 * close it. Returns 0, or -errno with @timer closed. */
int __must_check loop_timer_open(struct loop_timer *timer, struct loop *loop,
				 void (*fn)(struct loop_timer *timer));
/* @fn is not called any more. Nothing to do for a timer that is closed. */
void loop_timer_close(struct loop_timer *timer);

/* Calls @fn once when @at_ns is reached, as now_ns() and end_of() count, or at once where that is over; a
 * moment that was set before is forgotten. @at_ns is not 0. */
void loop_timer_arm(struct loop_timer *timer, uint64_t at_ns);
/* @fn is not called before the timer is armed again, not even where the moment has come already. */
void loop_timer_stop(struct loop_timer *timer);

#endif
