/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signals that end the process, and the thread that makes sure that they do. */
#define _GNU_SOURCE
#include "vmm/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/loop.h"
#include "vmm/shortage.h"

/* Time for a start-up to notice that it is to end, and to take down what it has. */
#define GUARD_START_MS 2000u
/*
 * Time for a VM that runs to end: its vCPUs stop, a migration is called off, storage completes what it has.
 */
#define GUARD_END_MS 10000u
/* A terminal that closes, timeout(1) and service managers send several signals at once, and mean one. */
#define GUARD_SAME_MS 1000u
/* Time for putting the host back, which is a few calls that do not wait, unless a file system has stalled. */
#define GUARD_UNDO_MS 500u

/* Signals that come beside an error. SIGXCPU is not here, because no call fails with it, nor are SIGBUS and
 * SIGSEGV, which are faults of Ferry's. */
static const int guard_of_errors[] = { SIGPIPE, SIGXFSZ, SIGTTOU };

void guard_failed_calls(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(guard_of_errors); i++)
		signal(guard_of_errors[i], SIG_IGN);
}

void guard_default_calls(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(guard_of_errors); i++)
		signal(guard_of_errors[i], SIG_DFL);
}

static void guard_block(sigset_t *set)
{
	struct sigaction hangup;

	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		sigaddset(set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void guard_unblock(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void guard_die(int signo)
{
	signal(signo, SIG_DFL);
	raise(signo);
	guard_unblock(signo);
}

/* The lock is kept for good: nothing new is done to the host any more. */
static _Noreturn void guard_force(struct guard *guard)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = guard->signal };
	const struct itimerspec after = { .it_value.tv_nsec = GUARD_UNDO_MS * 1000000 };
	int timer;

	/* An undo may hold up the guard, too: then the timer sends the signal. The C library's timer_create()
	 * would bring the threads that it can start. */
	signal(guard->signal, SIG_DFL);
	guard_unblock(guard->signal);
	if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0)
		syscall(SYS_timer_settime, timer, 0, &after, NULL);
	for (struct guard_undo *undo = guard->undos; undo; undo = undo->next)
		undo->fn(undo);
	log_warn("Ferry is ended by force: what was being done did not come to an end in time");
	log_flush();
	guard_die(guard->signal);
	/* The process is the first of a container, which no signal's default action ends. */
	_exit(128 + guard->signal);
}

/* Returns when something has to have happened, UINT64_MAX for never: the process is to have ended, or the
 * guest to have shut down. */
static uint64_t guard_deadline_ns(struct guard *guard)
{
	uint64_t deadline_ns = UINT64_MAX;

	pthread_mutex_lock(&guard->lock);
	if (guard->signal)
		deadline_ns = guard->signal_ns +
			      (guard->started ? GUARD_END_MS : GUARD_START_MS) * UINT64_C(1000000);
	else if (guard->press_ns)
		deadline_ns = guard->press_ns + guard->button_ms * UINT64_C(1000000);
	pthread_mutex_unlock(&guard->lock);
	return deadline_ns;
}

/* Under the lock: begins the orderly end. */
static void guard_stop(struct guard *guard, int signo)
{
	guard->signal = signo;
	guard->signal_ns = now_ns();
	loop_signal(guard->stop_fd);
}

/* Under the lock: takes a signal. Returns true where it insists. */
static bool guard_take_signal(struct guard *guard, int signo)
{
	const uint64_t now = now_ns();

	if (guard->signal)
		return now - guard->signal_ns > GUARD_SAME_MS * UINT64_C(1000000);
	if (signo == SIGTERM && guard->button_ms && !guard->press_ns) {
		guard->press_ns = now;
		loop_signal(guard->press_fd);
	} else if (signo != SIGTERM || !guard->press_ns ||
		   now - guard->press_ns > GUARD_SAME_MS * UINT64_C(1000000)) {
		guard_stop(guard, signo);
	}
	return false;
}

/* Takes the signals that have come. Returns true where one of them insists. */
static bool guard_take(struct guard *guard)
{
	struct signalfd_siginfo info;
	bool insists = false;

	while (read(guard->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		pthread_mutex_lock(&guard->lock);
		insists |= guard_take_signal(guard, (int)info.ssi_signo);
		pthread_mutex_unlock(&guard->lock);
	}
	return insists;
}

/* The time is up, or a signal has insisted. */
static void guard_expire(struct guard *guard)
{
	pthread_mutex_lock(&guard->lock);
	if (guard->signal)
		guard_force(guard);
	log_warn("the guest has not shut down in the %llu s that it was given, and is ended",
		 (unsigned long long)(guard->button_ms / 1000));
	guard_stop(guard, SIGTERM);
	pthread_mutex_unlock(&guard->lock);
}

static void *guard_thread(void *arg)
{
	struct guard *guard = arg;
	bool insists = false;

	for (;;) {
		uint64_t deadline_ns = guard_deadline_ns(guard);
		struct pollfd fds[] = {
			{ .fd = guard->signal_fd, .events = POLLIN },
			{ .fd = guard->quit_fd, .events = POLLIN },
			{ .fd = guard->end_fd, .events = POLLIN },
		};

		if (insists || now_ns() >= deadline_ns) {
			guard_expire(guard);
			deadline_ns = guard_deadline_ns(guard);
		}
		poll(fds, ARRAY_SIZE(fds), deadline_ns == UINT64_MAX ? -1 : ms_until(deadline_ns));
		if (fds[1].revents)
			return NULL;
		if (fds[2].revents)
			loop_take(guard->end_fd);
		insists = guard_take(guard);
	}
}

static int guard_start(struct guard *guard, struct error *err)
{
	sigset_t all, old;
	int ret;

	/* The guard puts a terminal's settings back, also from the background, where SIGTTOU would stop the
	 * process. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&guard->thread, NULL, guard_thread, guard);
	if (ret == 0)
		pthread_setname_np(guard->thread, "guard");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret < 0) {
		error_add(err, "cannot start the thread that watches signals: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return 0;
}

static void guard_close(struct guard *guard)
{
	const int fds[] = { guard->stop_fd, guard->signal_fd, guard->end_fd, guard->press_fd,
			    guard->quit_fd };

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	pthread_mutex_destroy(&guard->lock);
	guard->stop_fd = guard->signal_fd = guard->end_fd = guard->press_fd = guard->quit_fd = -1;
}

int guard_init(struct guard *guard, struct error *err)
{
	sigset_t set;
	int ret;

	guard_block(&set);
	*guard = (struct guard){ .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				 .signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
				 .end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				 .press_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				 .quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	pthread_mutex_init(&guard->lock, NULL);
	if (guard->stop_fd < 0 || guard->signal_fd < 0 || guard->end_fd < 0 || guard->press_fd < 0 ||
	    guard->quit_fd < 0) {
		error_add(err, "cannot watch signals: %s%s", strerror(errno), shortage_advice(-errno));
		ret = -errno;
	} else
		ret = guard_start(guard, err);
	if (ret < 0)
		guard_close(guard);
	return ret;
}

void guard_started(struct guard *guard)
{
	pthread_mutex_lock(&guard->lock);
	guard->started = true;
	pthread_mutex_unlock(&guard->lock);
}

void guard_set_button(struct guard *guard, uint64_t ms)
{
	pthread_mutex_lock(&guard->lock);
	guard->button_ms = ms;
	pthread_mutex_unlock(&guard->lock);
}

void guard_end(struct guard *guard)
{
	pthread_mutex_lock(&guard->lock);
	if (!guard->signal)
		guard_stop(guard, SIGTERM);
	pthread_mutex_unlock(&guard->lock);
	/* The guard's thread has a deadline from here on. */
	loop_signal(guard->end_fd);
}

int guard_signal(struct guard *guard)
{
	int signo;

	pthread_mutex_lock(&guard->lock);
	signo = guard->signal;
	pthread_mutex_unlock(&guard->lock);
	return signo;
}

void guard_add(struct guard *guard, struct guard_undo *undo)
{
	pthread_mutex_lock(&guard->lock);
	undo->guard = guard;
	undo->next = guard->undos;
	guard->undos = undo;
	pthread_mutex_unlock(&guard->lock);
}

void guard_del(struct guard_undo *undo)
{
	struct guard *guard = undo->guard;
	struct guard_undo **at;

	if (!guard)
		return;
	pthread_mutex_lock(&guard->lock);
	for (at = &guard->undos; *at != undo; at = &(*at)->next)
		;
	*at = undo->next;
	undo->guard = NULL;
	pthread_mutex_unlock(&guard->lock);
}

int guard_exit(struct guard *guard)
{
	int signo;

	loop_signal(guard->quit_fd);
	pthread_join(guard->thread, NULL);
	/* Signals may have come while the thread ended. */
	guard_take(guard);
	signo = guard->signal;
	guard_close(guard);
	return signo;
}
