/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gate with threads that run no guest: they spin, sleep, or stay in an access until they are let go. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/gate.h"
#include "vmm/loop.h"

#define N_STUBS   4u
#define N_PAUSERS 3u

/* The place of a stub between two calls of gate_pass(). */
enum place {
	/* It looks at the flag all the time, as a vCPU about to enter the guest does once. */
	SPINS,
	/* Only a signal wakes it, as a vCPU in the guest. */
	SLEEPS,
	/* It is in a device, until @serve is posted. */
	SERVES,
};

struct stub {
	struct gate *gate;
	struct gate_thread thread;
	uint8_t leave;
	enum place place;
	/* Posted once for each time that gate_pass() lets the stub go on. */
	sem_t entered;
	sem_t serve;
	_Atomic bool inside;
	_Atomic unsigned int n_entered, n_was_paused;
	/* The stub ends the VM itself when it is let in. */
	bool ends;
	/* Signals that are not blocked. */
	sigset_t mask;
};

struct fixture {
	struct loop loop;
	struct gate gate;
	struct stub stubs[N_STUBS];
	unsigned int n_stubs;
};

static bool stub_is_told(struct stub *s)
{
	return __atomic_load_n(&s->leave, __ATOMIC_SEQ_CST);
}

static void stub_stay(struct stub *s, const sigset_t *awake)
{
	switch (s->place) {
	case SPINS:
		while (!stub_is_told(s))
			sched_yield();
		break;
	case SLEEPS:
		while (!stub_is_told(s))
			ppoll(NULL, 0, NULL, awake);
		break;
	case SERVES:
		while (sem_wait(&s->serve) < 0)
			;
		break;
	}
}

static void *stub_thread(void *arg)
{
	struct stub *s = arg;
	sigset_t asleep;

	/* A signal counts only while the guest runs, and is pending until then, as with KVM. */
	pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
	sigfillset(&asleep);
	pthread_sigmask(SIG_SETMASK, &asleep, NULL);
	while (gate_pass(s->gate, &s->thread)) {
		s->inside = true;
		s->n_was_paused += s->thread.was_paused;
		s->n_entered++;
		if (s->ends)
			gate_end(s->gate, VM_EXIT_RESET);
		sem_post(&s->entered);
		stub_stay(s, &s->mask);
		s->inside = false;
	}
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	/* Who waits in vain waits for ever. */
	alarm(120);
	assert_non_null(f);
	assert_int_equal(loop_init(&f->loop), 0);
	gate_init(&f->gate, &f->loop);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gate_stop(&f->gate);
	for (unsigned int i = 0; i < f->n_stubs; i++) {
		assert_false(f->stubs[i].inside);
		sem_destroy(&f->stubs[i].entered);
		sem_destroy(&f->stubs[i].serve);
	}
	gate_exit(&f->gate);
	loop_exit(&f->loop);
	free(f);
	alarm(0);
	return 0;
}

static struct stub *add_stub(struct fixture *f, enum place place)
{
	struct stub *s = &f->stubs[f->n_stubs++];

	*s = (struct stub){ .gate = &f->gate, .place = place };
	s->thread.leave = &s->leave;
	sem_init(&s->entered, 0, 0);
	sem_init(&s->serve, 0, 0);
	return s;
}

static struct stub *start_stub(struct fixture *f, enum place place)
{
	struct stub *s = add_stub(f, place);

	assert_int_equal(gate_start(&f->gate, &s->thread, "stub", stub_thread, s), 0);
	return s;
}

static void start_all(struct fixture *f)
{
	for (unsigned int i = 0; i < N_STUBS; i++)
		start_stub(f, i % 2 ? SLEEPS : SPINS);
}

static void wait_entered(struct stub *s)
{
	while (sem_wait(&s->entered) < 0)
		;
}

static void resume_all(struct fixture *f)
{
	gate_resume(&f->gate);
	for (unsigned int i = 0; i < f->n_stubs; i++)
		wait_entered(&f->stubs[i]);
}

static void assert_all_outside(struct fixture *f)
{
	for (unsigned int i = 0; i < f->n_stubs; i++)
		assert_false(f->stubs[i].inside);
}

/* Waits until all threads are kept out by throttling: the last one that parks says so. */
static void wait_throttled(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	while (!g->throttled || g->n_parked < g->n_started)
		pthread_cond_wait(&g->parked, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

/* Waits without an event, because none tells that somebody begins to wait. */
static void wait_paused(struct gate *g)
{
	bool paused = false;

	while (!paused) {
		sched_yield();
		pthread_mutex_lock(&g->lock);
		paused = g->paused;
		pthread_mutex_unlock(&g->lock);
	}
}

static void no_thread_passes_before_the_first_resume(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	gate_pause(&f->gate);
	for (unsigned int i = 0; i < N_STUBS; i++)
		assert_int_equal(f->stubs[i].n_entered, 0);
	resume_all(f);
}

static void after_a_pause_every_thread_is_outside_and_stays_there(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	for (unsigned int round = 1; round <= 200; round++) {
		resume_all(f);
		gate_pause(&f->gate);
		for (unsigned int i = 0; i < N_STUBS; i++) {
			assert_false(f->stubs[i].inside);
			assert_int_equal(f->stubs[i].n_entered, round);
		}
	}
}

/* The pause comes while the threads are anywhere between the gate and the guest. */
static void a_pause_right_after_a_resume_is_not_lost(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	for (unsigned int round = 0; round < 2000; round++) {
		gate_resume(&f->gate);
		gate_pause(&f->gate);
		assert_all_outside(f);
	}
}

static void one_resume_undoes_several_pauses(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	gate_pause(&f->gate);
	gate_pause(&f->gate);
	resume_all(f);
	gate_resume(&f->gate);
	gate_pause(&f->gate);
	gate_pause(&f->gate);
	assert_all_outside(f);
	resume_all(f);
}

static void *pause_and_look(void *arg)
{
	struct fixture *f = arg;

	gate_pause(&f->gate);
	for (unsigned int i = 0; i < f->n_stubs; i++) {
		if (f->stubs[i].inside)
			return f;
	}
	return NULL;
}

static void every_one_of_several_pausers_finds_all_threads_outside(void **state)
{
	struct fixture *f = *state;
	pthread_t pausers[N_PAUSERS];

	start_all(f);
	for (unsigned int round = 0; round < 200; round++) {
		resume_all(f);
		for (unsigned int i = 0; i < N_PAUSERS; i++)
			assert_int_equal(pthread_create(&pausers[i], NULL, pause_and_look, f), 0);
		for (unsigned int i = 0; i < N_PAUSERS; i++) {
			void *inside;

			pthread_join(pausers[i], &inside);
			assert_null(inside);
		}
	}
}

static void a_pause_waits_for_an_access_that_is_half_done(void **state)
{
	struct fixture *f = *state;
	struct stub *s = start_stub(f, SERVES);
	pthread_t pauser;
	void *inside;

	resume_all(f);
	assert_int_equal(pthread_create(&pauser, NULL, pause_and_look, f), 0);
	wait_paused(&f->gate);
	assert_true(s->inside);
	sem_post(&s->serve);
	pthread_join(pauser, &inside);
	assert_null(inside);
}

static void a_pause_returns_when_the_vm_ends_instead(void **state)
{
	struct fixture *f = *state;
	struct stub *s = start_stub(f, SERVES);
	pthread_t pauser;

	resume_all(f);
	assert_int_equal(pthread_create(&pauser, NULL, pause_and_look, f), 0);
	wait_paused(&f->gate);
	gate_end(&f->gate, VM_EXIT_CRASHED);
	sem_post(&s->serve);
	pthread_join(pauser, NULL);
	gate_stop(&f->gate);
	assert_int_equal(s->n_entered, 1);
	/* The pause returns at once: no thread is left to be waited for. */
	gate_pause(&f->gate);
}

static void throttling_keeps_all_threads_out_together_and_lets_them_in_again(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	resume_all(f);
	assert_int_equal(gate_throttle(&f->gate, 50), 0);
	for (unsigned int round = 0; round < 5; round++) {
		wait_throttled(&f->gate);
		for (unsigned int i = 0; i < N_STUBS; i++)
			wait_entered(&f->stubs[i]);
		assert_int_equal(gate_throttle(&f->gate, 40 + round), 0);
	}
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
	assert_false(f->gate.throttled);
}

static void throttling_leaves_the_guest_some_time_whatever_is_asked_for(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	resume_all(f);
	assert_int_equal(gate_throttle(&f->gate, 1000), 0);
	assert_int_equal(f->gate.throttle, 99);
	for (unsigned int i = 0; i < N_STUBS; i++)
		wait_entered(&f->stubs[i]);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
}

static void a_pause_holds_when_throttling_ends(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	resume_all(f);
	assert_int_equal(gate_throttle(&f->gate, 99), 0);
	wait_throttled(&f->gate);
	gate_pause(&f->gate);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
	assert_all_outside(f);
	resume_all(f);
}

static void a_resume_does_not_end_throttling(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	assert_int_equal(gate_throttle(&f->gate, 50), 0);
	resume_all(f);
	wait_throttled(&f->gate);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
}

static void a_thread_learns_that_it_was_paused_and_not_that_it_was_throttled(void **state)
{
	struct fixture *f = *state;
	struct stub *s = start_stub(f, SLEEPS);
	unsigned int n;

	/* A guest that has just arrived stood still, too. */
	resume_all(f);
	assert_int_equal(s->n_was_paused, 1);
	assert_int_equal(gate_throttle(&f->gate, 99), 0);
	wait_throttled(&f->gate);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
	wait_entered(s);
	assert_int_equal(s->n_was_paused, 1);
	gate_pause(&f->gate);
	n = s->n_entered;
	gate_resume(&f->gate);
	while (s->n_entered == n)
		wait_entered(s);
	assert_int_equal(s->n_was_paused, 2);
}

static void a_pause_that_is_over_before_throttling_lets_go_is_learnt_of(void **state)
{
	struct fixture *f = *state;
	struct stub *s = start_stub(f, SLEEPS);

	resume_all(f);
	assert_int_equal(gate_throttle(&f->gate, 99), 0);
	wait_throttled(&f->gate);
	gate_pause(&f->gate);
	gate_resume(&f->gate);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
	gate_pause(&f->gate);
	/* Whether the thread went in between or not, it has learnt of each pause that it stood through. */
	assert_in_range(s->n_was_paused, 1, 2);
	gate_resume(&f->gate);
	while (s->n_was_paused < 2)
		wait_entered(s);
}

static void the_end_lets_paused_threads_go_and_stops_the_loop(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	resume_all(f);
	gate_pause(&f->gate);
	assert_false(gate_ended(&f->gate));
	gate_end(&f->gate, VM_EXIT_POWER_OFF);
	assert_true(gate_ended(&f->gate));
	assert_int_equal(loop_run(&f->loop), 0);
	gate_stop(&f->gate);
	assert_int_equal(f->gate.exit, VM_EXIT_POWER_OFF);
	for (unsigned int i = 0; i < N_STUBS; i++)
		assert_int_equal(f->stubs[i].n_entered, 1);
	/* No thread goes on after the end. */
	gate_resume(&f->gate);
	gate_stop(&f->gate);
}

static void the_end_lets_throttled_threads_go(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	resume_all(f);
	assert_int_equal(gate_throttle(&f->gate, 99), 0);
	wait_throttled(&f->gate);
	gate_end(&f->gate, VM_EXIT_CRASHED);
	gate_stop(&f->gate);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
	assert_int_equal(f->gate.exit, VM_EXIT_CRASHED);
}

static void a_thread_that_ends_the_vm_takes_the_others_along(void **state)
{
	struct fixture *f = *state;

	start_stub(f, SPINS);
	start_stub(f, SLEEPS);
	add_stub(f, SLEEPS)->ends = true;
	assert_int_equal(gate_start(&f->gate, &f->stubs[2].thread, "stub", stub_thread, &f->stubs[2]), 0);
	gate_resume(&f->gate);
	assert_int_equal(loop_run(&f->loop), 0);
	gate_stop(&f->gate);
	assert_int_equal(f->gate.exit, VM_EXIT_RESET);
	assert_int_equal(f->stubs[2].n_entered, 1);
}

/* An eventfd for resets, which is the test's to look at. */
static int watch_resets(struct fixture *f)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	gate_set_reset(&f->gate, fd);
	return fd;
}

static bool is_readable(int fd)
{
	return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1;
}

static void a_reset_keeps_all_threads_out_until_it_is_done(void **state)
{
	struct fixture *f = *state;
	int fd = watch_resets(f);

	start_all(f);
	resume_all(f);
	gate_reset(&f->gate);
	assert_true(gate_resetting(&f->gate) && is_readable(fd));
	gate_pause(&f->gate);
	assert_all_outside(f);
	/* Whoever pauses the guest meanwhile, as a migration, does not let it in either. */
	gate_resume(&f->gate);
	gate_pause(&f->gate);
	assert_all_outside(f);
	assert_false(gate_ended(&f->gate));
	gate_reset_done(&f->gate);
	assert_false(gate_resetting(&f->gate) || is_readable(fd));
	gate_reset_again(&f->gate);
	assert_false(is_readable(fd));
	for (unsigned int i = 0; i < f->n_stubs; i++)
		assert_int_equal(f->stubs[i].n_entered, 1);
	resume_all(f);
	gate_stop(&f->gate);
	close(fd);
}

static void a_reset_that_had_to_wait_is_signalled_again(void **state)
{
	struct fixture *f = *state;
	int fd = watch_resets(f);

	gate_reset(&f->gate);
	gate_reset(&f->gate);
	assert_true(loop_take(fd));
	gate_reset_again(&f->gate);
	assert_true(is_readable(fd));
	gate_reset_done(&f->gate);
	close(fd);
}

static void a_reset_that_nobody_carries_out_ends_the_vm(void **state)
{
	struct fixture *f = *state;

	start_all(f);
	resume_all(f);
	gate_reset(&f->gate);
	assert_false(gate_resetting(&f->gate));
	assert_true(gate_ended(&f->gate));
	gate_stop(&f->gate);
	assert_int_equal(f->gate.exit, VM_EXIT_RESET);
}

static void a_guest_that_waits_for_its_reset_can_be_ended(void **state)
{
	struct fixture *f = *state;
	int fd = watch_resets(f);

	start_all(f);
	resume_all(f);
	gate_reset(&f->gate);
	gate_stop(&f->gate);
	assert_all_outside(f);
	close(fd);
}

static void *end_by_crash(void *arg)
{
	gate_end(arg, VM_EXIT_CRASHED);
	return NULL;
}

static void the_first_reason_for_the_end_stays(void **state)
{
	struct fixture *f = *state;
	pthread_t other;

	start_all(f);
	gate_end(&f->gate, VM_EXIT_RESET);
	assert_int_equal(pthread_create(&other, NULL, end_by_crash, &f->gate), 0);
	pthread_join(other, NULL);
	gate_stop(&f->gate);
	assert_int_equal(f->gate.exit, VM_EXIT_RESET);
}

static void a_gate_without_threads_pauses_throttles_and_ends(void **state)
{
	struct fixture *f = *state;

	gate_resume(&f->gate);
	gate_pause(&f->gate);
	assert_int_equal(gate_throttle(&f->gate, 99), 0);
	assert_int_equal(gate_throttle(&f->gate, 0), 0);
	gate_stop(&f->gate);
	assert_int_equal(f->gate.exit, VM_EXIT_ERROR);
}

static void a_thread_that_is_pinned_runs_there_and_nowhere_else(void **state)
{
	struct fixture *f = *state;
	cpu_set_t mine, set;
	unsigned int cpu = 0;

	start_all(f);
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	while (!CPU_ISSET(cpu, &mine))
		cpu++;
	assert_int_equal(gate_pin(&f->stubs[0].thread, cpu), 0);
	assert_int_equal(pthread_getaffinity_np(f->stubs[0].thread.thread, sizeof(set), &set), 0);
	assert_true(CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set));
	/* The other threads, and this one, go on as before. */
	assert_int_equal(pthread_getaffinity_np(f->stubs[1].thread.thread, sizeof(set), &set), 0);
	assert_true(CPU_EQUAL(&set, &mine));
	assert_int_equal(gate_pin(&f->stubs[1].thread, 1023), -EINVAL);
	resume_all(f);
	gate_pause(&f->gate);
	assert_all_outside(f);
}

static void threads_have_their_name_and_no_signal_but_the_gates_own(void **state)
{
	struct fixture *f = *state;
	struct stub *s = start_stub(f, SPINS);
	char name[16];
	sigset_t mine;

	gate_pause(&f->gate);
	assert_int_equal(pthread_getname_np(s->thread.thread, name, sizeof(name)), 0);
	assert_string_equal(name, "stub");
	for (int signo = 1; signo < SIGRTMAX; signo++) {
		/* The C library keeps these for itself, and SIGKILL and SIGSTOP cannot be blocked. */
		if (signo == SIGKILL || signo == SIGSTOP || (signo >= 32 && signo < SIGRTMIN))
			continue;
		assert_int_equal(sigismember(&s->mask, signo), signo != GATE_SIGNAL);
	}
	/* The thread that starts another keeps the signals that it had. */
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	assert_false(sigismember(&mine, SIGTERM));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(no_thread_passes_before_the_first_resume),
		T(after_a_pause_every_thread_is_outside_and_stays_there),
		T(a_pause_right_after_a_resume_is_not_lost),
		T(one_resume_undoes_several_pauses),
		T(every_one_of_several_pausers_finds_all_threads_outside),
		T(a_pause_waits_for_an_access_that_is_half_done),
		T(a_pause_returns_when_the_vm_ends_instead),
		T(throttling_keeps_all_threads_out_together_and_lets_them_in_again),
		T(throttling_leaves_the_guest_some_time_whatever_is_asked_for),
		T(a_pause_holds_when_throttling_ends),
		T(a_resume_does_not_end_throttling),
		T(a_thread_learns_that_it_was_paused_and_not_that_it_was_throttled),
		T(a_pause_that_is_over_before_throttling_lets_go_is_learnt_of),
		T(the_end_lets_paused_threads_go_and_stops_the_loop),
		T(the_end_lets_throttled_threads_go),
		T(a_thread_that_ends_the_vm_takes_the_others_along),
		T(a_reset_keeps_all_threads_out_until_it_is_done),
		T(a_reset_that_had_to_wait_is_signalled_again),
		T(a_reset_that_nobody_carries_out_ends_the_vm),
		T(a_guest_that_waits_for_its_reset_can_be_ended),
		T(the_first_reason_for_the_end_stays),
		T(a_gate_without_threads_pauses_throttles_and_ends),
		T(a_thread_that_is_pinned_runs_there_and_nowhere_else),
		T(threads_have_their_name_and_no_signal_but_the_gates_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
