/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop: events, sources that go away in the middle of a round, calls from other threads, its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/loop.h"

struct counter {
	struct loop_source src;
	struct loop *loop;
	unsigned int n_events;
	struct counter *victim; /* deleted when an event comes */
	unsigned int stop_at;
};

static void counter_event(struct loop_source *src, uint32_t events)
{
	struct counter *c = container_of(src, struct counter, src);

	assert_true(events & EPOLLIN);
	assert_true(loop_take(src->fd));
	c->n_events++;
	if (c->victim)
		loop_del(c->loop, &c->victim->src);
	if (c->n_events == c->stop_at)
		loop_stop(c->loop);
}

static void counter_init(struct counter *c, struct loop *loop)
{
	*c = (struct counter){ .loop = loop, .src = { .fd = eventfd(0, EFD_NONBLOCK), .fn = counter_event } };
	assert_true(c->src.fd >= 0);
	assert_int_equal(loop_add(loop, &c->src, EPOLLIN), 0);
}

static void counter_signal(struct counter *c)
{
	loop_signal(c->src.fd);
}

static void an_event_reaches_its_source_alone(void **state)
{
	struct counter a, b;
	struct loop loop;

	assert_int_equal(loop_init(&loop), 0);
	counter_init(&a, &loop);
	counter_init(&b, &loop);
	a.stop_at = 1;
	counter_signal(&a);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(a.n_events, 1);
	assert_int_equal(b.n_events, 0);
	assert_int_equal(loop_add(&loop, &a.src, EPOLLIN), -EEXIST);
	close(a.src.fd);
	close(b.src.fd);
	loop_exit(&loop);
	loop_exit(&loop);
}

/* The sources are ready in one round; whichever comes first deletes the other, whose event must not come. */
static void a_source_deleted_in_a_round_gets_no_event_of_it(void **state)
{
	struct counter a, b;
	struct loop loop;

	assert_int_equal(loop_init(&loop), 0);
	counter_init(&a, &loop);
	counter_init(&b, &loop);
	a.victim = &b;
	b.victim = &a;
	a.stop_at = b.stop_at = 1;
	counter_signal(&a);
	counter_signal(&b);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(a.n_events + b.n_events, 1);
	close(a.src.fd);
	close(b.src.fd);
	loop_exit(&loop);
}

static void taking_what_nobody_signalled_finds_nothing(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	assert_true(fd >= 0);
	assert_false(loop_take(fd));
	loop_signal(fd);
	loop_signal(fd);
	assert_true(loop_take(fd));
	assert_false(loop_take(fd));
	assert_false(loop_take(-1));
	close(fd);
}

static void a_loop_stopped_before_it_runs_ends_at_once(void **state)
{
	struct loop loop;

	assert_int_equal(loop_init(&loop), 0);
	loop_stop(&loop);
	assert_int_equal(loop_run(&loop), 0);
	loop_exit(&loop);
}

/* TSan looks at this one: a loop may be joined before its thread has begun. */
static void a_loop_may_be_joined_before_its_thread_has_begun(void **state)
{
	for (unsigned int i = 0; i < 200; i++) {
		struct loop loop;

		assert_int_equal(loop_init(&loop), 0);
		assert_int_equal(loop_start(&loop, "loop"), 0);
		loop_join(&loop);
		loop_exit(&loop);
	}
}

struct call {
	struct loop *loop;
	pthread_t ran_on;
	unsigned int n; /* changed by the loop's thread alone */
};

static int call_count(void *arg)
{
	struct call *c = arg;

	c->ran_on = pthread_self();
	c->n++;
	return (int)c->n;
}

/* A call from a call runs at once, or it would wait for itself. */
static int call_nested(void *arg)
{
	struct call *c = arg;

	call_count(c);
	return -loop_call(c->loop, call_count, c);
}

static void a_call_returns_what_its_function_returns(void **state)
{
	struct call c = { 0 };
	struct loop loop;

	c.loop = &loop;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_call(&loop, call_count, &c), 1);
	assert_true(pthread_equal(c.ran_on, pthread_self()));
	assert_int_equal(loop_start(&loop, "loop"), 0);
	assert_int_equal(loop_call(&loop, call_nested, &c), -3);
	assert_false(pthread_equal(c.ran_on, pthread_self()));
	loop_join(&loop);
	assert_int_equal(loop_call(&loop, call_count, &c), 4);
	assert_true(pthread_equal(c.ran_on, pthread_self()));
	loop_exit(&loop);
}

/* The caller goes on meanwhile; what is called later comes later. */
static void who_posts_a_call_goes_on_meanwhile(void **state)
{
	struct call c = { 0 };
	struct loop_call posted[3];
	struct loop loop;

	c.loop = &loop;
	assert_int_equal(loop_init(&loop), 0);
	loop_post(&loop, &posted[0], call_count, &c);
	assert_int_equal(c.n, 1);
	assert_true(pthread_equal(c.ran_on, pthread_self()));
	assert_int_equal(loop_wait(&loop, &posted[0]), 1);
	assert_int_equal(loop_start(&loop, "loop"), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(posted); i++)
		loop_post(&loop, &posted[i], call_count, &c);
	loop_call(&loop, call_count, &c);
	assert_int_equal(c.n, 5);
	for (unsigned int i = 0; i < ARRAY_SIZE(posted); i++)
		assert_int_equal(loop_wait(&loop, &posted[i]), 2 + i);
	assert_false(pthread_equal(c.ran_on, pthread_self()));
	/* A call that nobody waits for is done all the same. */
	loop_post(&loop, &posted[0], call_count, &c);
	loop_join(&loop);
	assert_int_equal(c.n, 6);
	loop_exit(&loop);
}

#define N_CALLERS 4
#define N_CALLS   500u

static void *caller_thread(void *arg)
{
	struct call *c = arg;

	for (unsigned int i = 0; i < N_CALLS; i++)
		loop_call(c->loop, call_count, c);
	return NULL;
}

static void calls_of_several_threads_run_one_at_a_time(void **state)
{
	pthread_t threads[N_CALLERS];
	struct call c = { 0 };
	struct loop loop;

	c.loop = &loop;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_start(&loop, "loop"), 0);
	for (unsigned int i = 0; i < N_CALLERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, caller_thread, &c), 0);
	for (unsigned int i = 0; i < N_CALLERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(c.n, N_CALLERS * N_CALLS);
	loop_join(&loop);
	loop_exit(&loop);
}

static int call_atomic(void *arg)
{
	__atomic_fetch_add((unsigned int *)arg, 1, __ATOMIC_RELAXED);
	return 0;
}

struct late {
	struct loop *loop;
	unsigned int n;
};

static void *late_thread(void *arg)
{
	struct late *l = arg;

	for (unsigned int i = 0; i < N_CALLS; i++)
		loop_call(l->loop, call_atomic, &l->n);
	return NULL;
}

/* Calls that meet the loop's end are answered, by it or by their own thread: nobody waits for ever. */
static void calls_that_meet_the_loops_end_are_answered(void **state)
{
	for (unsigned int i = 0; i < 20; i++) {
		struct late l = { 0 };
		struct loop loop;
		pthread_t thread;

		l.loop = &loop;
		assert_int_equal(loop_init(&loop), 0);
		assert_int_equal(loop_start(&loop, "loop"), 0);
		assert_int_equal(pthread_create(&thread, NULL, late_thread, &l), 0);
		while (__atomic_load_n(&l.n, __ATOMIC_RELAXED) < 10)
			;
		loop_join(&loop);
		pthread_join(thread, NULL);
		assert_int_equal(l.n, N_CALLS);
		loop_exit(&loop);
	}
}

struct stuck {
	int begun_fd, go_fd;
};

static int call_stuck(void *arg)
{
	const struct stuck *s = arg;
	uint64_t count;

	loop_signal(s->begun_fd);
	assert_int_equal(read(s->go_fd, &count, sizeof(count)), sizeof(count));
	return 0;
}

/* The call stays the loop's, and so does all that its thread uses, until it comes back. */
static void waiting_for_a_thread_that_is_stuck_has_an_end(void **state)
{
	struct stuck s = { .begun_fd = eventfd(0, 0), .go_fd = eventfd(0, 0) };
	struct loop_call stuck, behind;
	struct call c = { 0 };
	struct loop loop;
	uint64_t count;

	c.loop = &loop;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_start(&loop, "loop"), 0);
	loop_post(&loop, &stuck, call_stuck, &s);
	loop_post(&loop, &behind, call_count, &c);
	assert_int_equal(read(s.begun_fd, &count, sizeof(count)), sizeof(count));
	assert_false(loop_wait_until(&loop, &stuck, 0));
	assert_false(loop_wait_until(&loop, &behind, end_of(10)));
	assert_false(loop_join_until(&loop, end_of(10)));
	assert_int_equal(c.n, 0);
	loop_signal(s.go_fd);
	assert_true(loop_wait_until(&loop, &stuck, UINT64_MAX));
	assert_true(loop_join_until(&loop, UINT64_MAX));
	assert_true(loop_wait_until(&loop, &behind, 0));
	assert_int_equal(behind.ret, 1);
	loop_exit(&loop);
	close(s.begun_fd);
	close(s.go_fd);
}

struct stuck_source {
	struct loop_source src;
	struct stuck stuck;
};

static void source_stuck(struct loop_source *src, uint32_t events)
{
	call_stuck(&container_of(src, struct stuck_source, src)->stuck);
}

/* A call that a thread still has when it is to end is its work, too. */
static void waiting_for_the_last_calls_has_an_end(void **state)
{
	struct stuck_source first = { .stuck = { .begun_fd = eventfd(0, 0), .go_fd = eventfd(0, 0) },
				      .src = { .fd = eventfd(1, 0), .fn = source_stuck } };
	struct stuck last = { .begun_fd = eventfd(0, 0), .go_fd = eventfd(0, 0) };
	const int fds[] = { first.src.fd, first.stuck.begun_fd, first.stuck.go_fd, last.begun_fd,
			    last.go_fd };
	struct loop_call call;
	struct loop loop;
	uint64_t count;

	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(loop_add(&loop, &first.src, EPOLLIN), 0);
	assert_int_equal(loop_start(&loop, "loop"), 0);
	assert_int_equal(read(first.stuck.begun_fd, &count, sizeof(count)), sizeof(count));
	loop_post(&loop, &call, call_stuck, &last);
	loop_stop(&loop);
	loop_signal(first.stuck.go_fd);
	assert_int_equal(read(last.begun_fd, &count, sizeof(count)), sizeof(count));
	assert_false(loop_join_until(&loop, end_of(10)));
	loop_signal(last.go_fd);
	assert_true(loop_join_until(&loop, UINT64_MAX));
	assert_true(loop_wait_until(&loop, &call, 0));
	loop_exit(&loop);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

struct watch {
	struct loop_idler idler;
	struct loop loop;
	unsigned int n_looks;
	_Atomic unsigned int n_wanted;
	_Atomic bool busy;
};

/* Looks until a call wants the loop, as long as it has not been told to sleep. */
static bool watch_idle(struct loop_idler *idler)
{
	struct watch *w = container_of(idler, struct watch, idler);

	while (w->busy && !loop_is_wanted(&w->loop))
		w->n_looks++;
	w->n_wanted += loop_is_wanted(&w->loop);
	return w->busy;
}

static int watch_end(void *arg)
{
	struct watch *w = arg;

	w->busy = false;
	return 7;
}

static int watch_nothing(void *arg)
{
	return 3;
}

static void a_call_gets_a_thread_that_looks_in_the_place_of_sleeping(void **state)
{
	struct watch w = { .idler = { .fn = watch_idle } };

	w.busy = true;
	assert_int_equal(loop_init(&w.loop), 0);
	w.loop.idler = &w.idler;
	assert_int_equal(loop_start(&w.loop, "watch"), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(loop_call(&w.loop, watch_nothing, NULL), 3);
	assert_true(w.n_wanted > 0);
	assert_int_equal(loop_call(&w.loop, watch_end, &w), 7);
	/* And one that sleeps then. */
	assert_int_equal(loop_call(&w.loop, watch_nothing, NULL), 3);
	loop_join(&w.loop);
	loop_exit(&w.loop);
}

static void the_end_of_a_loop_gets_a_thread_that_looks(void **state)
{
	struct watch w = { .idler = { .fn = watch_idle } };

	w.busy = true;
	assert_int_equal(loop_init(&w.loop), 0);
	w.loop.idler = &w.idler;
	assert_int_equal(loop_start(&w.loop, "watch"), 0);
	loop_join(&w.loop);
	loop_exit(&w.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_reaches_its_source_alone),
		cmocka_unit_test(a_source_deleted_in_a_round_gets_no_event_of_it),
		cmocka_unit_test(taking_what_nobody_signalled_finds_nothing),
		cmocka_unit_test(a_loop_stopped_before_it_runs_ends_at_once),
		cmocka_unit_test(a_loop_may_be_joined_before_its_thread_has_begun),
		cmocka_unit_test(a_call_returns_what_its_function_returns),
		cmocka_unit_test(who_posts_a_call_goes_on_meanwhile),
		cmocka_unit_test(calls_of_several_threads_run_one_at_a_time),
		cmocka_unit_test(calls_that_meet_the_loops_end_are_answered),
		cmocka_unit_test(waiting_for_a_thread_that_is_stuck_has_an_end),
		cmocka_unit_test(waiting_for_the_last_calls_has_an_end),
		cmocka_unit_test(a_call_gets_a_thread_that_looks_in_the_place_of_sleeping),
		cmocka_unit_test(the_end_of_a_loop_gets_a_thread_that_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
