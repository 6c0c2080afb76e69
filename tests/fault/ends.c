/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hosts of a migration that meets a fault: see the header. Here is what they share, and the source. */
#define _GNU_SOURCE
#include "tests/fault/ends.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migration/report_file.h"
#include "tests/fault/clock.h"
#include "tests/fault/shortage.h"
#include "vmm/x86/boot_files.h"

#define END_BLOCK 65536u

/* Each process has all of them, so that an owner's address tells who it is. */
static struct fake_guest end_guests[WORLD_N];

struct fake_guest *end_guest(unsigned int which)
{
	return &end_guests[which];
}

/* Of what is in a file, wherever there are holes; the last block may be short. */
static uint64_t end_hash(int fd, uint64_t size)
{
	static uint64_t block[END_BLOCK / 8];
	uint64_t hash = 0xcbf29ce484222325u;

	for (uint64_t at = 0; at < size; at += END_BLOCK) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		ssize_t n;

		if (data < 0)
			break;
		at = (uint64_t)data / END_BLOCK * END_BLOCK;
		n = pread(fd, block, END_BLOCK, (off_t)at);
		assert(n >= 0);
		for (unsigned int i = 0; i < (size_t)n / 8; i++) {
			if (block[i])
				hash = (hash ^ block[i] ^ (at + 8 * i) << 20) * 0x100000001b3u;
		}
	}
	return hash;
}

static uint64_t end_hash_boot(const struct boot_files *f)
{
	if (!f || !boot_files_known(f))
		return 0;
	return end_hash(f->kernel.fd, f->kernel.size) * 31 + end_hash(f->initrd.fd, f->initrd.size) +
	       strlen(f->cmdline);
}

void end_say(struct end_report *r, struct fake_guest *g, int result, const struct error *err)
{
	snprintf(r->reason, sizeof(r->reason), "%s", err->text);
	r->memory = end_hash(g->vm.memory.fd, g->vm.memory.size);
	r->boot = end_hash_boot(g->vm.boot);
	r->registers = g->registers;
	r->warm = g->devices[0].warm;
	r->state = g->devices[1].state;
	r->runs = !fake_guest_is_paused(g);
	r->result = result;
}

void end_tell(int fd)
{
	ssize_t n = send(fd, "", 1, MSG_NOSIGNAL);

	if (n != 1)
		_exit(9);
}

void end_keep_report(const struct end_plan *plan, unsigned int which, const struct report *report)
{
	static struct report_file file;
	char path[128];

	if (!plan->report[0])
		return;
	end_report_path(path, plan, which);
	file = (struct report_file){ .path = path };
	report_file_write(&file, report);
	report_file_close(&file);
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

static enum source_result source_try(struct end_report *r, const struct end_plan *plan, struct fake_guest *g,
				     struct source_config *config)
{
	static struct report report;
	struct error err = { 0 };
	enum source_result result = source_migrate(&g->vm, config, &report, &err);

	if (result == SOURCE_FAILED)
		end_check_goes_on(g);
	end_keep_report(plan, WORLD_SOURCE, &report);
	end_say(r, g, (int)result, &err);
	return result;
}

/* What the guest boots from, which goes ahead of it in two frames beside the one that begins it. */
static struct boot_files *source_make_boot(uint64_t seed)
{
	static struct boot_files files;
	static uint8_t bytes[9000];
	struct error err = { 0 };
	int ret = boot_files_make(&files, sizeof(bytes), 4096, "console=ttyS0", &err);

	assert(ret == 0);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(seed * 31 + i * 7);
	if (pwrite(files.kernel.fd, bytes, sizeof(bytes), 0) != sizeof(bytes) ||
	    pwrite(files.initrd.fd, bytes + 77, 4096, 0) != 4096)
		_exit(6);
	(void)ret;
	return &files;
}

static void source_make_guest(struct world *w, unsigned int which, const struct end_plan *plan)
{
	unsigned int guest = which == WORLD_RIVAL;
	struct fake_guest *g = &end_guests[which];

	fake_guest_init(g, END_MEM(guest), 2);
	g->vm.boot = source_make_boot(plan->seed);
	g->devices[1].holder = &w->holders[guest];
	w->holders[guest] = &g->devices[1];
	fake_guest_fill(g, plan->seed + guest);
	g->devices[0].changes = plan->n_changes;
	if (plan->writes)
		fake_guest_run_writer(g, 8);
	gate_resume(&g->vm.gate);
}

static void source_life(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			const struct end_fds *fds)
{
	struct end_report *r = &w->ends[which];
	struct fake_guest *g = &end_guests[which];
	struct orders orders = {
		.guest = g, .fd = e->fd, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER
	};
	struct source_config config = {
		.to = "there", .fd = fds->fd, .cancel_fd = fds->cancel_fd, .downtime_limit_ns = 300000000
	};
	struct error err = { 0 };
	pthread_t thread;

	clock_is_set_by(&w->clock_ns[which]);
	source_make_guest(w, which, plan);
	pthread_create(&thread, NULL, orders_run, &orders);
	shortage_counts(&w->left[which]);
	source_try(r, plan, g, &config);
	config.cancel_fd = -1;
	config.fd = fds->second_fd;
	for (;;) {
		end_tell(e->fd);
		switch (orders_wait(&orders)) {
		case END_RESUME:
			if (source_resume(&g->vm, &err) < 0)
				_exit(7);
			end_check_goes_on(g);
			end_say(r, g, SOURCE_FAILED, &err);
			break;
		case END_RETRY:
			source_try(r, plan, g, &config);
			break;
		default:
			_exit(0);
		}
	}
}

static int end_compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* What is of other processes is closed, or nobody would see their end. */
static void end_close_others(const struct end *e, const struct end_fds *fds)
{
	int keep[] = { STDERR_FILENO, e->fd, fds->fd, fds->second_fd, fds->cancel_fd };
	unsigned int from = STDERR_FILENO + 1;

	qsort(keep, ARRAY_SIZE(keep), sizeof(keep[0]), end_compare);
	for (unsigned int i = 0; i < ARRAY_SIZE(keep); i++) {
		if (keep[i] > (int)from)
			syscall(SYS_close_range, from, keep[i] - 1, 0);
		if (keep[i] >= (int)from)
			from = (unsigned int)keep[i] + 1;
	}
	syscall(SYS_close_range, from, UINT_MAX, 0);
}

bool end_fork(struct end *e, const struct end_fds *fds)
{
	int pair[2], ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);

	assert(ret == 0);
	fflush(NULL);
	e->pid = fork();
	assert(e->pid >= 0);
	if (e->pid == 0) {
		e->fd = pair[1];
		end_close_others(e, fds);
		return true;
	}
	close(pair[1]);
	e->fd = pair[0];
	if (fds->fd >= 0)
		close(fds->fd);
	if (fds->second_fd >= 0)
		close(fds->second_fd);
	e->pid_fd = (int)syscall(SYS_pidfd_open, e->pid, 0);
	assert(e->pid_fd >= 0);
	(void)ret;
	return false;
}

void end_start_source(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
		      const struct end_fds *fds)
{
	if (end_fork(e, fds))
		source_life(e, w, which, plan, fds);
}

void end_start_destination(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			   const struct end_fds *fds)
{
	if (end_fork(e, fds))
		end_be_destination(e, w, which, plan, fds);
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
	for (unsigned int i = 0; i < WORLD_GUESTS; i++) {
		struct fake_device *it = &end_guests[which].devices[1];

		atomic_compare_exchange_strong(&w->holders[i], &it, NULL);
	}
}
