/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops without threads and a clock that goes on when it is read, in the place of vmm/loop.c: the same input
 * does the same again. Links with --wrap for what asks for the time, or waits.
 */
#ifndef FERRY_TESTS_FUZZ_LOOP_H
#define FERRY_TESTS_FUZZ_LOOP_H

#include <poll.h>
#include <sys/timerfd.h>

#include "vmm/loop.h"

/* While on, time is this file's. It begins at the same moment each time. */
void fuzz_time(bool on);
/* Later: timers fire. */
void fuzz_advance(uint64_t ns);

/* Runs every loop that has been started until there is nothing left to do; asserts that there is an end. */
void fuzz_loops_settle(void);

int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *old);

#endif
