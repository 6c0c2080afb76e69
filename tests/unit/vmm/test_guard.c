/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signals that end the process, against processes that are stuck in all manner of places. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/guard.h"
#include "vmm/loop.h"
#include "vmm/util.h"

struct fixture {
	char dir[64];
	char fifo[80]; /* Nobody opens its other end. */
	int said[2];   /* A child's words. */
};

/* Runs in a child. */
struct victim {
	struct fixture *f;
	struct guard guard;
	struct guard_undo undos[3];
};

static void say(const struct fixture *f, char c)
{
	if (write(f->said[1], &c, 1) != 1)
		_exit(99);
}

static void assert_says(const struct fixture *f, char expected)
{
	char c = 0;

	assert_int_equal(read(f->said[0], &c, 1), 1);
	assert_int_equal(c, expected);
}

static void assert_says_nothing_more(const struct fixture *f)
{
	struct pollfd p = { .fd = f->said[0], .events = POLLIN };

	assert_int_equal(poll(&p, 1, 0), 0);
}

static void undo_a(struct guard_undo *undo)
{
	say(container_of(undo, struct victim, undos[0])->f, 'a');
}

static void undo_b(struct guard_undo *undo)
{
	say(container_of(undo, struct victim, undos[1])->f, 'b');
}

static void undo_stuck(struct guard_undo *undo)
{
	struct victim *v = container_of(undo, struct victim, undos[2]);

	say(v->f, 's');
	if (open(v->f->fifo, O_RDONLY | O_CLOEXEC) < 0)
		_exit(98);
}

static void stuck_in_open(struct victim *v)
{
	say(v->f, '.');
	if (open(v->f->fifo, O_RDONLY | O_CLOEXEC) < 0)
		_exit(98);
}

static void stuck_in_flock(struct victim *v)
{
	int fd = open(v->f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	say(v->f, '.');
	flock(fd, LOCK_EX);
}

static void *lock_dir(void *arg)
{
	stuck_in_flock(arg);
	return NULL;
}

static void stuck_in_a_thread(struct victim *v)
{
	pthread_t thread;

	pthread_create(&thread, NULL, lock_dir, v);
	pthread_join(thread, NULL);
}

static void stuck_once_started(struct victim *v)
{
	guard_started(&v->guard);
	stuck_in_open(v);
}

static void stuck_in_undo(struct victim *v)
{
	v->undos[2].fn = undo_stuck;
	guard_add(&v->guard, &v->undos[2]);
	stuck_in_open(v);
}

static void stop_watched(struct victim *v)
{
	struct pollfd p = { .fd = v->guard.stop_fd, .events = POLLIN };

	say(v->f, '.');
	poll(&p, 1, -1);
	guard_del(&v->undos[0]);
	guard_del(&v->undos[1]);
	say(v->f, 'o');
}

/* As an app does: whoever is asked for a guest's shutdown presses, and ends when it is told to. */
static void press_watched(struct victim *v, uint64_t ms)
{
	struct pollfd p[] = { { .fd = v->guard.press_fd, .events = POLLIN },
			      { .fd = v->guard.stop_fd, .events = POLLIN } };

	guard_set_button(&v->guard, ms);
	say(v->f, '.');
	while (p[1].revents == 0) {
		poll(p, ARRAY_SIZE(p), -1);
		if (p[0].revents)
			say(v->f, loop_take(v->guard.press_fd) ? 'p' : '?');
	}
	guard_del(&v->undos[0]);
	guard_del(&v->undos[1]);
	say(v->f, 'o');
}

static void press_for_long(struct victim *v)
{
	press_watched(v, 3600000);
}

static void press_for_an_instant(struct victim *v)
{
	press_watched(v, 10);
}

static pid_t start(struct fixture *f, void (*fn)(struct victim *v))
{
	struct victim v = { .f = f, .undos = { { .fn = undo_a }, { .fn = undo_b } } };
	struct error err = { 0 };
	pid_t pid = fork();
	int signo;

	if (pid != 0) {
		assert_true(pid > 0);
		assert_says(f, '.');
		return pid;
	}
	if (guard_init(&v.guard, &err) < 0)
		_exit(97);
	guard_add(&v.guard, &v.undos[0]);
	guard_add(&v.guard, &v.undos[1]);
	fn(&v);
	signo = guard_exit(&v.guard);
	if (signo)
		guard_die(signo);
	_exit(0);
}

static void assert_ended_by(pid_t pid, int signo)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signo);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/ferry-guard-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->fifo, sizeof(f->fifo), "%s/fifo", f->dir);
	assert_int_equal(mkfifo(f->fifo, 0600), 0);
	assert_int_equal(pipe2(f->said, O_CLOEXEC), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->said[0]);
	close(f->said[1]);
	unlink(f->fifo);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* A process ends wherever it is, with what it has done to the host undone, last things first. */
static void every_signal_ends_what_is_stuck_and_undoes_it(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	static void (*const stuck[])(struct victim * v) = { stuck_in_open, stuck_in_flock,
							    stuck_in_a_thread };
	struct fixture *f = *state;
	int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(flock(dir, LOCK_EX), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(stuck); i++) {
		pid_t pid = start(f, stuck[i]);

		assert_int_equal(kill(pid, signals[i]), 0);
		assert_ended_by(pid, signals[i]);
		assert_says(f, 'b');
		assert_says(f, 'a');
		assert_says_nothing_more(f);
	}
	close(dir);
}

static void an_orderly_end_is_not_interfered_with(void **state)
{
	struct fixture *f = *state;
	pid_t pid = start(f, stop_watched);

	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_ended_by(pid, SIGTERM);
	assert_says(f, 'o');
	assert_says_nothing_more(f);
}

/* The file system has stalled, say. */
static void an_undo_that_is_stuck_does_not_hold_up_the_end(void **state)
{
	struct fixture *f = *state;
	pid_t pid = start(f, stuck_in_undo);

	assert_int_equal(kill(pid, SIGINT), 0);
	assert_ended_by(pid, SIGINT);
	assert_says(f, 's');
	assert_says_nothing_more(f);
}

static void a_hangup_that_is_ignored_stays_so(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	signal(SIGHUP, SIG_IGN);
	pid = start(f, stuck_in_open);
	signal(SIGHUP, SIG_DFL);
	assert_int_equal(kill(pid, SIGHUP), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_ended_by(pid, SIGTERM);
	assert_says(f, 'b');
	assert_says(f, 'a');
}

/* Of two that do not come to their end, the one that is told again and again is first. */
static void a_signal_that_is_repeated_shortens_the_wait(void **state)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	struct fixture *f = *state;
	pid_t patient = start(f, stuck_once_started), hurried = start(f, stuck_once_started);
	int status;

	kill(patient, SIGTERM);
	while (waitpid(hurried, &status, WNOHANG) == 0) {
		kill(hurried, SIGTERM);
		nanosleep(&pause, NULL);
	}
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_says(f, 'b');
	assert_says(f, 'a');
	assert_int_equal(waitpid(patient, &status, WNOHANG), 0);
	/* An undo that is stuck has a bound of its own. */
	assert_ended_by(patient, SIGTERM);
	assert_says(f, 'b');
	assert_says(f, 'a');
}

static void the_first_sigterm_asks_the_guest_and_a_later_one_ends(void **state)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	struct fixture *f = *state;
	pid_t pid = start(f, press_for_long);
	struct pollfd said = { .fd = f->said[0], .events = POLLIN };

	kill(pid, SIGTERM);
	assert_says(f, 'p');
	/* Several at once mean one. */
	for (unsigned int i = 0; i < 3; i++) {
		kill(pid, SIGTERM);
		nanosleep(&pause, NULL);
		assert_int_equal(poll(&said, 1, 0), 0);
	}
	while (poll(&said, 1, 50) == 0)
		kill(pid, SIGTERM);
	assert_says(f, 'o');
	assert_ended_by(pid, SIGTERM);
	assert_says_nothing_more(f);
}

static void a_guest_that_does_not_shut_down_is_ended(void **state)
{
	struct fixture *f = *state;
	pid_t pid = start(f, press_for_an_instant);

	kill(pid, SIGTERM);
	assert_says(f, 'p');
	assert_says(f, 'o');
	assert_ended_by(pid, SIGTERM);
	assert_says_nothing_more(f);
}

static void other_signals_ask_no_guest(void **state)
{
	static const int signals[] = { SIGINT, SIGHUP };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		pid_t pid = start(f, press_for_long);

		kill(pid, signals[i]);
		assert_says(f, 'o');
		assert_ended_by(pid, signals[i]);
		/* Nor do they wait for one that has been asked. */
		pid = start(f, press_for_long);
		kill(pid, SIGTERM);
		assert_says(f, 'p');
		kill(pid, signals[i]);
		assert_says(f, 'o');
		assert_ended_by(pid, signals[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_signal_ends_what_is_stuck_and_undoes_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_orderly_end_is_not_interfered_with, setup, teardown),
		cmocka_unit_test_setup_teardown(an_undo_that_is_stuck_does_not_hold_up_the_end, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_hangup_that_is_ignored_stays_so, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signal_that_is_repeated_shortens_the_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_sigterm_asks_the_guest_and_a_later_one_ends, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_does_not_shut_down_is_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(other_signals_ask_no_guest, setup, teardown),
	};

	/* nohup and the like ignore SIGHUP for all that they start, and Ferry keeps to that. */
	signal(SIGHUP, SIG_DFL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
