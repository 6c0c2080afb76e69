/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers of a loop: they fire once, at their moment or later, and not at all where somebody stopped them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/loop_timer.h"

struct fixture {
	struct loop loop;
	struct loop_timer timer, other;
	struct loop_source first; /* comes before the timers in a round */
	unsigned int n_fired;
	uint64_t fired_ns;
	/* How often @timer arms itself again before it ends the loop. */
	unsigned int n_again;
};

static void fired(struct loop_timer *timer)
{
	struct fixture *f = container_of(timer, struct fixture, timer);

	f->n_fired++;
	f->fired_ns = now_ns();
	if (f->n_fired <= f->n_again)
		loop_timer_arm(timer, f->fired_ns);
	else if (f->n_again > 0)
		loop_stop(&f->loop);
}

/* The end of each test's rounds. */
static void other_fired(struct loop_timer *timer)
{
	loop_stop(&container_of(timer, struct fixture, other)->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->first.fd = -1;
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(loop_timer_open(&f->timer, &f->loop, fired), 0);
	assert_int_equal(loop_timer_open(&f->other, &f->loop, other_fired), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_timer_close(&f->timer);
	loop_timer_close(&f->other);
	if (f->first.fd >= 0)
		close(f->first.fd);
	loop_exit(&f->loop);
	free(f);
	return 0;
}

/* Runs the loop until @end_ns. */
static void run_until(struct fixture *f, uint64_t end_ns)
{
	loop_timer_arm(&f->other, end_ns);
	f->loop.stop = false;
	assert_int_equal(loop_run(&f->loop), 0);
}

static void a_timer_fires_once_and_not_before_its_moment(void **state)
{
	struct fixture *f = *state;
	uint64_t at_ns = end_of(5);

	loop_timer_arm(&f->timer, at_ns);
	run_until(f, at_ns + 5000000);
	assert_int_equal(f->n_fired, 1);
	assert_true(f->fired_ns >= at_ns);
}

static void a_moment_that_is_over_fires_at_once(void **state)
{
	struct fixture *f = *state;

	loop_timer_arm(&f->timer, 1);
	run_until(f, now_ns());
	assert_int_equal(f->n_fired, 1);
}

static void a_timer_that_is_armed_again_forgets_its_earlier_moment(void **state)
{
	struct fixture *f = *state;

	loop_timer_arm(&f->timer, end_of(1));
	loop_timer_arm(&f->timer, UINT64_MAX);
	run_until(f, end_of(3));
	assert_int_equal(f->n_fired, 0);
}

static void a_timer_may_arm_itself(void **state)
{
	struct fixture *f = *state;

	f->n_again = 3;
	loop_timer_arm(&f->timer, now_ns());
	assert_int_equal(loop_run(&f->loop), 0);
	assert_int_equal(f->n_fired, 4);
}

static void stop_the_timer(struct loop_source *src, uint32_t events)
{
	struct fixture *f = container_of(src, struct fixture, first);

	assert_true(loop_take(src->fd));
	loop_timer_stop(&f->timer);
}

static void close_the_timer(struct loop_source *src, uint32_t events)
{
	struct fixture *f = container_of(src, struct fixture, first);

	assert_true(loop_take(src->fd));
	loop_timer_close(&f->timer);
}

/* @fn and the timer are both ready before the round begins, and epoll reports what was ready first before. */
static void run_before_the_timer(struct fixture *f, void (*fn)(struct loop_source *src, uint32_t events))
{
	f->first = (struct loop_source){ .fd = eventfd(1, EFD_NONBLOCK), .fn = fn };
	assert_true(f->first.fd >= 0);
	assert_int_equal(loop_add(&f->loop, &f->first, EPOLLIN), 0);
	loop_timer_arm(&f->timer, 1);
	run_until(f, now_ns());
}

static void a_timer_that_is_stopped_in_the_round_of_its_moment_does_not_fire(void **state)
{
	struct fixture *f = *state;

	run_before_the_timer(f, stop_the_timer);
	assert_int_equal(f->n_fired, 0);
	/* The timer works as before. */
	loop_timer_arm(&f->timer, 1);
	run_until(f, now_ns());
	assert_int_equal(f->n_fired, 1);
}

static void a_timer_that_is_closed_in_the_round_of_its_moment_does_not_fire(void **state)
{
	struct fixture *f = *state;

	run_before_the_timer(f, close_the_timer);
	assert_int_equal(f->n_fired, 0);
}

static void a_timer_that_cannot_be_made_is_closed(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, none;
	struct loop no_loop = { .epoll_fd = -1 };

	loop_timer_close(&f->timer);
	assert_int_equal(loop_timer_open(&f->timer, &no_loop, fired), -EBADF);
	loop_timer_close(&f->timer);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(loop_timer_open(&f->timer, &f->loop, fired), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	loop_timer_close(&f->timer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_timer_fires_once_and_not_before_its_moment, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_moment_that_is_over_fires_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_that_is_armed_again_forgets_its_earlier_moment, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_timer_may_arm_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_timer_that_is_stopped_in_the_round_of_its_moment_does_not_fire, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_timer_that_is_closed_in_the_round_of_its_moment_does_not_fire, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_that_cannot_be_made_is_closed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
