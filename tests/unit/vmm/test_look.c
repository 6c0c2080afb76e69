/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking in the place of sleeping: how long, and when not. Times are made up but for those of the CPU. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "vmm/look.h"
#include "vmm/util.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

/* How long a test waits for what must come. */
#define PATIENCE_NS (60 * S)

/* Something is found every @gap_ns, @n times. Returns when the last was. */
static uint64_t find(struct look *look, uint64_t at, uint64_t gap_ns, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		at += gap_ns;
		look_found(look, at, at);
	}
	return at;
}

/* How long @look goes on from @at on, when nothing comes. */
static uint64_t looks_for(struct look *look, uint64_t at)
{
	uint64_t now = at;

	while (look_again(look, now)) {
		now += US;
		assert_true(now - at < 10 * S);
	}
	return now - at;
}

static void with_a_bound_of_0_a_thread_never_looks(void **state)
{
	struct look look;
	uint64_t at;

	look_init(&look, 0, 1);
	assert_false(look_again(&look, S));
	at = find(&look, S, US, 100);
	assert_int_equal(looks_for(&look, at), 0);
}

static void a_thread_looks_for_as_long_as_it_is_told(void **state)
{
	struct look look;
	uint64_t at;

	look_init(&look, 50, 1000);
	assert_false(look_again(&look, S));
	at = find(&look, S, 3 * S, 1);
	assert_int_equal(looks_for(&look, at), 50 * US);
	at = find(&look, at + S, US, 100);
	assert_int_equal(looks_for(&look, at), 50 * US);
}

static void a_thread_looks_while_what_it_waits_for_comes_soon(void **state)
{
	struct look look;
	uint64_t at, bound;

	look_init(&look, LOOK_AUTO, 1);
	at = find(&look, S, 10 * MS, 3);
	assert_int_equal(looks_for(&look, at), 0);
	at = find(&look, at, 5 * US, 20);
	bound = looks_for(&look, at);
	assert_true(bound > 5 * US && bound < 60 * US);
	/* What comes more rarely is waited for longer, but not for ever. */
	at = find(&look, at, 20 * US, 50);
	assert_true(looks_for(&look, at) > bound);
	at = find(&look, at, 45 * US, 50);
	assert_int_equal(looks_for(&look, at), 100 * US);
	/* To look all of the time would be in vain for most of it. */
	at = find(&look, at, 70 * US, 50);
	assert_int_equal(looks_for(&look, at), 0);
}

static void one_pause_ends_the_looking_and_a_few_short_gaps_begin_it(void **state)
{
	struct look look;
	uint64_t at;

	look_init(&look, LOOK_AUTO, 1);
	at = find(&look, S, 2 * US, 100);
	assert_true(looks_for(&look, at) > 0);
	at = find(&look, at, 3600 * S, 1);
	assert_int_equal(looks_for(&look, at), 0);
	at = find(&look, at, 2 * US, 8);
	assert_true(looks_for(&look, at) > 0);
}

static void time_that_work_takes_is_no_gap(void **state)
{
	struct look look;
	uint64_t at = S;

	look_init(&look, LOOK_AUTO, 1);
	for (unsigned int i = 0; i < 20; i++) {
		look_found(&look, at + 2 * US, at + 10 * MS);
		at += 10 * MS;
	}
	assert_true(looks_for(&look, at) > 0);
	assert_true(looks_for(&look, at) < 30 * US);
}

static void a_thread_that_looks_in_vain_looks_ever_more_rarely(void **state)
{
	struct look look;
	unsigned int n_looks = 0;
	uint64_t at = S;

	look_init(&look, LOOK_AUTO, 1);
	/* What is found comes soon, and yet never while the thread looks. */
	for (unsigned int i = 0; i < 1000; i++) {
		uint64_t looked = looks_for(&look, at);

		n_looks += looked > 0;
		at += looked + US;
		look_found(&look, at, at);
	}
	assert_in_range(n_looks, 5, 15);
	/* One that finds something again, of the few times that it looks, is as before. */
	for (unsigned int i = 0; i < 1000; i++) {
		look_again(&look, at);
		at += US;
		look_found(&look, at, at);
	}
	assert_int_equal(look.n_to_sleep, 0);
	assert_int_equal(look.n_slept, 0);
	assert_true(looks_for(&look, at) > 0);
}

static void on_one_cpu(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	assert_true(cpu >= 0);
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static void a_thread_does_not_look_without_a_cpu_for_each_that_is_busy(void **state)
{
	struct look look;
	cpu_set_t before;
	uint64_t at;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	on_one_cpu();
	look_init(&look, LOOK_AUTO, 2);
	at = find(&look, S, 2 * US, 100);
	assert_int_equal(looks_for(&look, at), 0);
	look_init(&look, LOOK_AUTO, 1);
	at = find(&look, S, 2 * US, 100);
	assert_true(looks_for(&look, at) > 0);
	/* A bound that is given holds. */
	look_init(&look, 50, 2);
	at = find(&look, S, 2 * US, 100);
	assert_int_equal(looks_for(&look, at), 50 * US);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

struct rival {
	pthread_t thread;
	_Atomic bool stop;
};

static void *rival_run(void *arg)
{
	struct rival *rival = arg;

	while (!rival->stop)
		;
	return NULL;
}

/* Looks, while something is found all of the time, until it is not to. */
static void look_until_away(struct look *look)
{
	const uint64_t start = now_ns();

	for (;;) {
		uint64_t now = now_ns();

		look_found(look, now, now);
		if (!look_again(look, now) && look->away_until_ns > now)
			break;
		assert_true(now - start < PATIENCE_NS);
	}
	/* Away is away, whatever is found. */
	for (uint64_t now = now_ns(); now < look->away_until_ns; now = now_ns()) {
		find(look, now, 0, 10);
		assert_false(look_again(look, now));
	}
}

static void a_thread_whose_cpu_is_wanted_stays_away_for_ever_longer(void **state)
{
	const uint64_t start = now_ns();
	struct rival rival = { .stop = false };
	struct look look;
	cpu_set_t before;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	on_one_cpu();
	look_init(&look, LOOK_AUTO, 1);
	find(&look, now_ns(), 0, 20);
	/* The rival inherits the CPU. */
	assert_int_equal(pthread_create(&rival.thread, NULL, rival_run, &rival), 0);
	look_until_away(&look);
	assert_int_equal(look.away_ns, 20 * MS);
	/* On a machine with much else to do the next time may come when the first is forgotten. */
	do {
		look_until_away(&look);
		assert_true(now_ns() - start < PATIENCE_NS);
	} while (look.away_ns == 20 * MS);
	assert_int_equal(look.away_ns, 40 * MS);
	rival.stop = true;
	pthread_join(rival.thread, NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_a_bound_of_0_a_thread_never_looks),
		cmocka_unit_test(a_thread_looks_for_as_long_as_it_is_told),
		cmocka_unit_test(a_thread_looks_while_what_it_waits_for_comes_soon),
		cmocka_unit_test(one_pause_ends_the_looking_and_a_few_short_gaps_begin_it),
		cmocka_unit_test(a_thread_that_looks_in_vain_looks_ever_more_rarely),
		cmocka_unit_test(time_that_work_takes_is_no_gap),
		cmocka_unit_test(a_thread_does_not_look_without_a_cpu_for_each_that_is_busy),
		cmocka_unit_test(a_thread_whose_cpu_is_wanted_stays_away_for_ever_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
