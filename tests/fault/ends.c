/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two hosts of a migration that meets a fault: see the header. */
#define _GNU_SOURCE
#include "tests/fault/ends.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migration/clock.h"
#include "migration/compare.h"
#include "migration/incoming.h"

#define END_MEM   MIB(16)
#define END_BLOCK 65536u

/* Each process has all three, so that an owner's address tells who it is. */
static struct fake_guest end_guests[WORLD_N];

/* Of what is in guest memory, wherever there are holes. */
static uint64_t end_hash(const struct memory *m)
{
	static uint64_t block[END_BLOCK / 8];
	uint64_t hash = 0xcbf29ce484222325u;

	for (uint64_t at = 0; at < m->size; at += END_BLOCK) {
		ssize_t n = pread(m->fd, block, END_BLOCK, (off_t)at);

		assert(n == END_BLOCK);
		for (unsigned int i = 0; i < ARRAY_SIZE(block); i++) {
			if (block[i])
				hash = (hash ^ block[i] ^ (at + 8 * i) << 20) * 0x100000001b3u;
		}
	}
	return hash;
}

static void end_say(struct end_report *r, struct fake_guest *g, int result, const struct error *err)
{
	snprintf(r->reason, sizeof(r->reason), "%s", err->text);
	r->memory = end_hash(&g->vm.memory);
	r->registers = g->registers;
	r->warm = g->devices[0].warm;
	r->state = g->devices[1].state;
	r->runs = !fake_guest_is_paused(g);
	r->result = result;
}

static void end_tell(int fd)
{
	ssize_t n = send(fd, "", 1, MSG_NOSIGNAL);

	if (n != 1)
		_exit(9);
}

struct orders {
	struct fake_guest *guest;
	int fd;
	char order;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

/* Takes orders while the migration runs: the guest's end comes at any time. */
static void *orders_run(void *arg)
{
	struct orders *o = arg;
	char order;

	while (recv(o->fd, &order, 1, 0) == 1) {
		if (order == END_GUEST) {
			gate_end(&o->guest->vm.gate, VM_EXIT_POWER_OFF);
			continue;
		}
		pthread_mutex_lock(&o->lock);
		o->order = order;
		pthread_cond_signal(&o->cond);
		pthread_mutex_unlock(&o->lock);
	}
	_exit(8);
}

static char orders_wait(struct orders *o)
{
	char order;

	pthread_mutex_lock(&o->lock);
	while (!o->order)
		pthread_cond_wait(&o->cond, &o->lock);
	order = o->order;
	o->order = 0;
	pthread_mutex_unlock(&o->lock);
	return order;
}

/* As if nothing had been asked. */
static void end_check_goes_on(struct fake_guest *g)
{
	if (gate_ended(&g->vm.gate))
		return;
	assert(!fake_guest_is_paused(g) && !g->kvm_logging && !g->vm.memory.logging && !g->vm.migrating);
	assert(g->vm.gate.throttle == 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(g->devices); i++)
		assert(!g->devices[i].paused && !g->devices[i].released && !g->devices[i].tracked);
	if (g->writer_pages)
		fake_guest_wait_writes(g, 1000);
}

static enum source_result source_try(struct world *w, struct fake_guest *g, struct source_config *config)
{
	struct report report;
	struct error err = { 0 };
	enum source_result result = source_migrate(&g->vm, config, &report, &err);

	if (result == SOURCE_FAILED)
		end_check_goes_on(g);
	end_say(&w->ends[WORLD_SOURCE], g, (int)result, &err);
	return result;
}

static void source_life(struct end *e, struct world *w, const struct end_plan *plan,
			const struct end_fds *fds)
{
	struct fake_guest *g = &end_guests[WORLD_SOURCE];
	struct orders orders = {
		.guest = g, .fd = e->fd, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER
	};
	struct source_config config = {
		.to = "there", .fd = fds->fd, .cancel_fd = fds->cancel_fd, .downtime_limit_ns = 300000000
	};
	struct error err = { 0 };
	pthread_t thread;

	fake_guest_init(g, END_MEM, 2);
	g->devices[1].holder = &w->holder;
	w->holder = &g->devices[1];
	fake_guest_fill(g, plan->seed);
	g->devices[0].changes = plan->n_changes;
	if (plan->writes)
		fake_guest_run_writer(g, 8);
	gate_resume(&g->vm.gate);
	pthread_create(&thread, NULL, orders_run, &orders);
	source_try(w, g, &config);
	config.cancel_fd = -1;
	config.fd = fds->second_fd;
	for (;;) {
		end_tell(e->fd);
		switch (orders_wait(&orders)) {
		case END_RESUME:
			if (source_resume(&g->vm, &err) < 0)
				_exit(7);
			end_check_goes_on(g);
			end_say(&w->ends[WORLD_SOURCE], g, SOURCE_FAILED, &err);
			break;
		case END_RETRY:
			source_try(w, g, &config);
			break;
		default:
			_exit(0);
		}
	}
}

static int destination_prepare(struct destination *d, struct world *w, struct fake_guest *g,
			       unsigned int which, const struct end_plan *plan, struct error *err)
{
	int ret;

	fake_guest_init(g, d->mem, d->cpus);
	g->devices[1].holder = &w->holder;
	if (which == WORLD_DESTINATION) {
		g->refuse_accept = plan->refuse_accept;
		g->devices[0].refuse_warm = plan->refuse_warm;
		g->devices[1].refuse_load = plan->refuse_load;
	}
	ret = compare_hello(d, &g->vm, err);
	return ret < 0 ? ret : destination_ready(d, err);
}

static void destination_life(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			     const struct end_fds *fds)
{
	struct fake_guest *g = &end_guests[which];
	struct arrivals arrivals;
	const struct destination_config config = { .arrivals = &arrivals,
						   .cancel_fd = fds->cancel_fd,
						   .clock_skew_ns = UINT64_MAX };
	struct error err = { 0 };
	struct destination d;
	int ret = arrivals_init(&arrivals, "", &err);

	if (ret == 0) {
		arrivals_open(&arrivals);
		ret = arrivals_push(&arrivals, fds->fd, clock_now(), NULL, &err);
	}
	if (ret == 0)
		ret = destination_accept(&d, &config, &err);
	if (ret < 0) {
		w->ends[which].result = ret;
		snprintf(w->ends[which].reason, sizeof(w->ends[which].reason), "%s", err.text);
		_exit(0);
	}
	ret = destination_prepare(&d, w, g, which, plan, &err);
	if (ret == 0)
		ret = incoming_run(&d, &g->vm, NULL, &err);
	else
		destination_refuse(&d, &err);
	end_say(&w->ends[which], g, ret, &err);
	destination_close(&d);
	end_tell(e->fd);
	/* The guest's life goes on until the world ends. */
	while (ret == 0 && recv(e->fd, &(char){ 0 }, 1, 0) > 0)
		;
	_exit(0);
}

/* In the child: what is of other processes is closed, or nobody would see their end. */
static bool end_fork(struct end *e, const struct end_fds *fds)
{
	int pair[2], ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);

	assert(ret == 0);
	fflush(NULL);
	e->pid = fork();
	assert(e->pid >= 0);
	if (e->pid == 0) {
		close(pair[0]);
		e->fd = pair[1];
		for (unsigned int i = 0; i < fds->n_keep; i++) {
			if (fds->keep[i] >= 0)
				close(fds->keep[i]);
		}
		return true;
	}
	close(pair[1]);
	e->fd = pair[0];
	close(fds->fd);
	if (fds->second_fd >= 0)
		close(fds->second_fd);
	e->pid_fd = (int)syscall(SYS_pidfd_open, e->pid, 0);
	assert(e->pid_fd >= 0);
	(void)ret;
	return false;
}

void end_start_source(struct end *e, struct world *w, const struct end_plan *plan, const struct end_fds *fds)
{
	if (end_fork(e, fds))
		source_life(e, w, plan, fds);
}

void end_start_destination(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			   const struct end_fds *fds)
{
	if (end_fork(e, fds))
		destination_life(e, w, which, plan, fds);
}

int end_wait(struct end *e)
{
	int status = 0;

	close(e->fd);
	close(e->pid_fd);
	if (waitpid(e->pid, &status, 0) != e->pid)
		status = -1;
	*e = (struct end){ .pid = -1, .fd = -1, .pid_fd = -1 };
	return status;
}

void end_let_go(struct world *w, unsigned int which)
{
	struct fake_device *it = &end_guests[which].devices[1];

	atomic_compare_exchange_strong(&w->holder, &it, NULL);
}
