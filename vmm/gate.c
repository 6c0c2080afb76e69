/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gate that a VM's threads pass: pausing, throttling, and the VM's end. */
#define _GNU_SOURCE
#include "vmm/gate.h"

#include "vmm/loop.h"

/* GATE_SIGNAL only has to interrupt: what a thread does then is in the gate's state. */
static void gate_signalled(int signo)
{
}

void gate_init(struct gate *g, struct loop *loop)
{
	struct sigaction action = { .sa_handler = gate_signalled };
	pthread_condattr_t attr;

	*g = (struct gate){ .loop = loop, .paused = true, .reset_fd = -1 };
	sigaction(GATE_SIGNAL, &action, NULL);
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->open, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&g->parked, NULL);
}

void gate_exit(struct gate *g)
{
	pthread_cond_destroy(&g->parked);
	pthread_cond_destroy(&g->open);
	pthread_mutex_destroy(&g->lock);
}

int gate_start(struct gate *g, struct gate_thread *t, const char *name, void *(*fn)(void *arg), void *arg)
{
	sigset_t set, old;
	int ret;

	sigfillset(&set);
	sigdelset(&set, GATE_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	pthread_mutex_lock(&g->lock);
	t->n_pauses = g->n_pauses - 1;
	ret = -pthread_create(&t->thread, NULL, fn, arg);
	if (ret == 0) {
		pthread_setname_np(t->thread, name);
		t->next = g->threads;
		g->threads = t;
		g->n_started++;
	}
	pthread_mutex_unlock(&g->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

int gate_pin(struct gate_thread *t, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return -pthread_setaffinity_np(t->thread, sizeof(set), &set);
}

bool gate_pass(struct gate *g, struct gate_thread *t)
{
	bool go_on;

	pthread_mutex_lock(&g->lock);
	/* Before the state is read: a kick that comes later has changed the state later, too, and sets the
	 * flag again. */
	__atomic_store_n(t->leave, 0, __ATOMIC_SEQ_CST);
	if (g->paused || g->throttled || g->resetting || g->ending) {
		g->n_parked++;
		if (g->n_parked == g->n_started)
			pthread_cond_broadcast(&g->parked);
		while ((g->paused || g->throttled || g->resetting) && !g->ending)
			pthread_cond_wait(&g->open, &g->lock);
		/* A thread that ends counts as parked for good. */
		if (!g->ending)
			g->n_parked--;
	}
	t->was_paused = t->n_pauses != g->n_pauses;
	t->n_pauses = g->n_pauses;
	go_on = !g->ending;
	pthread_mutex_unlock(&g->lock);
	return go_on;
}

/* Under the lock, after the state that the threads are to find has been changed. */
static void gate_kick(struct gate *g)
{
	for (struct gate_thread *t = g->threads; t; t = t->next) {
		__atomic_store_n(t->leave, 1, __ATOMIC_SEQ_CST);
		pthread_kill(t->thread, GATE_SIGNAL);
	}
}

void gate_pause(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	if (!g->paused) {
		g->paused = true;
		g->n_pauses++;
		gate_kick(g);
	}
	while (g->n_parked < g->n_started)
		pthread_cond_wait(&g->parked, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void gate_resume(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->paused = false;
	pthread_cond_broadcast(&g->open);
	pthread_mutex_unlock(&g->lock);
}

void gate_end(struct gate *g, enum vm_exit exit)
{
	pthread_mutex_lock(&g->lock);
	if (!g->ending) {
		g->ending = true;
		g->exit = exit;
		gate_kick(g);
		pthread_cond_broadcast(&g->open);
	}
	pthread_mutex_unlock(&g->lock);
	loop_stop(g->loop);
}

bool gate_ended(struct gate *g)
{
	bool ending;

	pthread_mutex_lock(&g->lock);
	ending = g->ending;
	pthread_mutex_unlock(&g->lock);
	return ending;
}

void gate_set_reset(struct gate *g, int reset_fd)
{
	pthread_mutex_lock(&g->lock);
	g->reset_fd = reset_fd;
	pthread_mutex_unlock(&g->lock);
}

void gate_reset(struct gate *g)
{
	bool ends;

	pthread_mutex_lock(&g->lock);
	ends = g->reset_fd < 0;
	if (!ends && !g->ending && !g->resetting) {
		g->resetting = true;
		gate_kick(g);
		loop_signal(g->reset_fd);
	}
	pthread_mutex_unlock(&g->lock);
	if (ends)
		gate_end(g, VM_EXIT_RESET);
}

bool gate_resetting(struct gate *g)
{
	bool resetting;

	pthread_mutex_lock(&g->lock);
	resetting = g->resetting;
	pthread_mutex_unlock(&g->lock);
	return resetting;
}

void gate_reset_again(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	if (g->resetting)
		loop_signal(g->reset_fd);
	pthread_mutex_unlock(&g->lock);
}

void gate_reset_done(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->resetting = false;
	loop_take(g->reset_fd);
	pthread_cond_broadcast(&g->open);
	pthread_mutex_unlock(&g->lock);
}

void gate_stop(struct gate *g)
{
	struct gate_thread *t;

	gate_end(g, VM_EXIT_ERROR);
	/* The list is emptied first, so that no thread is kicked while it is waited for: its id
	 * ends with it. */
	pthread_mutex_lock(&g->lock);
	t = g->threads;
	g->threads = NULL;
	pthread_mutex_unlock(&g->lock);
	for (; t; t = t->next)
		pthread_join(t->thread, NULL);
}

/* Under the lock, which is given up meanwhile: until @deadline_ns, or the end of throttling or of the VM. */
static void gate_throttle_wait(struct gate *g, uint64_t deadline_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(deadline_ns / 1000000000u),
			       .tv_nsec = (long)(deadline_ns % 1000000000u) };

	while (g->throttle > 0 && !g->ending && now_ns() < deadline_ns)
		pthread_cond_timedwait(&g->open, &g->lock, &ts);
}

static void *gate_throttle_thread(void *arg)
{
	struct gate *g = arg;

	pthread_mutex_lock(&g->lock);
	while (g->throttle > 0 && !g->ending) {
		uint64_t start = now_ns();

		g->throttled = true;
		if (!g->paused)
			gate_kick(g);
		gate_throttle_wait(g, start + GATE_THROTTLE_PERIOD_NS / 100u * g->throttle);
		g->throttled = false;
		pthread_cond_broadcast(&g->open);
		gate_throttle_wait(g, start + GATE_THROTTLE_PERIOD_NS);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

int gate_throttle(struct gate *g, unsigned int percent)
{
	sigset_t set, old;
	int ret = 0;

	pthread_mutex_lock(&g->lock);
	g->throttle = percent > 99 ? 99 : percent;
	pthread_cond_broadcast(&g->open);
	pthread_mutex_unlock(&g->lock);
	if (percent > 0 && !g->throttling) {
		sigfillset(&set);
		pthread_sigmask(SIG_SETMASK, &set, &old);
		ret = -pthread_create(&g->throttler, NULL, gate_throttle_thread, g);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		g->throttling = ret == 0;
	} else if (percent == 0 && g->throttling) {
		pthread_join(g->throttler, NULL);
		g->throttling = false;
	}
	return ret;
}
