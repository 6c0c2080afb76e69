/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM without KVM: see the header. */
#define _GNU_SOURCE
#include "tests/fake/log.h"
#include "tests/fake/vm_migration.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static struct fake_guest *fake_guest(struct vm *vm)
{
	return container_of(vm, struct fake_guest, vm);
}

static struct fake_device *fake_device(struct device *dev)
{
	return container_of(dev, struct fake_device, device);
}

static void fake_describe(struct device *dev, struct state_writer *w)
{
	state_put_u64(w, "config", fake_device(dev)->config);
}

static int fake_refuse(struct device *dev, struct state_node *node, const char *reason)
{
	if (reason) {
		error_add(node->err, "%s: %s", dev->name, reason);
		return -ENOTSUP;
	}
	return 0;
}

static int fake_accept(struct device *dev, struct state_node *node)
{
	uint64_t config = fake_device(dev)->config, v;

	if (state_get_u64(node, "config", config, config, &v) < 0)
		return -EINVAL;
	return fake_refuse(dev, node, fake_device(dev)->refuse_accept);
}

static int fake_warm_save(struct device *dev, struct state_writer *w, bool first)
{
	struct fake_device *f = fake_device(dev);

	if (!first && f->changes == 0)
		return 0;
	if (!first) {
		f->changes--;
		f->warm++;
	}
	state_put_u64(w, "warm", f->warm);
	if (f->warm_len > 0) {
		uint8_t *more = calloc(1, f->warm_len);

		state_put_blob(w, "more", more, f->warm_len);
		free(more);
	}
	return 1;
}

static int fake_warm_load(struct device *dev, struct state_node *node)
{
	struct fake_device *f = fake_device(dev);

	const uint8_t *more;
	uint32_t len;

	if (state_get_u64(node, "warm", 0, UINT64_MAX, &f->warm) < 0)
		return -EINVAL;
	if (state_has(node, "more") && state_get_blob(node, "more", 1, STATE_MAX, &more, &len) < 0)
		return -EINVAL;
	f->n_warm_loads++;
	return fake_refuse(dev, node, f->refuse_warm);
}

static int fake_track(struct device *dev, uint64_t *still_ns, struct error *err)
{
	struct fake_device *f = fake_device(dev);

	assert(!f->guest->kvm_logging && !f->paused && !f->tracked);
	f->tracked = !f->refuse_track;
	if (!f->tracked) {
		error_add(err, "%s", f->refuse_track);
		return -EBUSY;
	}
	*still_ns = FAKE_STILL_NS;
	return 0;
}

static void fake_untrack(struct device *dev)
{
	struct fake_device *f = fake_device(dev);

	assert(!f->guest->kvm_logging && !f->paused);
	f->tracked = false;
}

static void fake_pause(struct device *dev)
{
	assert(fake_device(dev)->tracked || !dev->ops->track);
	assert(!fake_device(dev)->paused);
	fake_device(dev)->paused = true;
	fake_device(dev)->settled = false;
}

/* Waits as long as it may for what comes later or never. */
static int fake_settle(struct device *dev, uint64_t until_ns, struct error *err)
{
	struct fake_device *f = fake_device(dev);
	unsigned int *n_waits = f->paused ? &f->n_paused_waits : &f->n_waits;
	struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000u),
				  .tv_nsec = (long)(until_ns % 1000000000u) };

	assert(f->paused == fake_guest_is_paused(f->guest));
	f->n_settles++;
	if (f->on_settle)
		f->on_settle(f);
	if (f->fail_settle) {
		error_add(err, "%s", f->fail_settle);
		return -EIO;
	}
	f->settled = *n_waits == 0;
	if (f->settled)
		return 0;
	if (*n_waits != UINT_MAX)
		--*n_waits;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	return -EAGAIN;
}

static void fake_let_go(struct fake_device *f)
{
	struct fake_device *self = f;

	if (f->holder)
		atomic_compare_exchange_strong(f->holder, &self, NULL);
}

static bool fake_take(struct fake_device *f)
{
	struct fake_device *nobody = NULL;

	return !f->holder || *f->holder == f || atomic_compare_exchange_strong(f->holder, &nobody, f);
}

static void fake_save(struct device *dev, struct state_writer *w)
{
	assert(fake_device(dev)->paused && (fake_device(dev)->settled || !dev->ops->settle));
	state_put_u64(w, "warm", fake_device(dev)->warm);
	state_put_u64(w, "state", fake_device(dev)->state);
	fake_let_go(fake_device(dev));
}

static int fake_load(struct device *dev, struct state_node *node)
{
	struct fake_device *f = fake_device(dev);

	if (state_get_u64(node, "warm", 0, UINT64_MAX, &f->warm) < 0 ||
	    state_get_u64(node, "state", 0, UINT64_MAX, &f->state) < 0)
		return -EINVAL;
	if (!fake_take(f)) {
		error_add(node->err, "the source has it still");
		return -EAGAIN;
	}
	f->ready = true;
	return fake_refuse(dev, node, f->refuse_load);
}

static int fake_reclaim(struct device *dev, struct error *err)
{
	if (!fake_take(fake_device(dev))) {
		error_add(err, "somebody else has it");
		return -EAGAIN;
	}
	return 0;
}

static void fake_resume(struct device *dev, enum device_resume as)
{
	struct fake_device *f = fake_device(dev);

	assert(as == DEVICE_ARRIVED ? f->ready : f->paused);
	assert(!f->holder || *f->holder == f);
	f->paused = false;
	f->arrived = as == DEVICE_ARRIVED;
}

/* What it tells others would be downtime before the guest runs. */
static void fake_arrived(struct device *dev)
{
	struct fake_device *f = fake_device(dev);

	assert(f->arrived && !fake_guest_is_paused(f->guest));
	f->told = true;
}

static void fake_release(struct device *dev)
{
	fake_device(dev)->released = true;
	if (!fake_device(dev)->keeps)
		fake_let_go(fake_device(dev));
}

static const struct device_ops fake_warm_ops = {
	.describe = fake_describe,
	.accept = fake_accept,
	.track = fake_track,
	.untrack = fake_untrack,
	.warm_save = fake_warm_save,
	.warm_load = fake_warm_load,
	.pause = fake_pause,
	.save = fake_save,
	.load = fake_load,
	.resume = fake_resume,
	.arrived = fake_arrived,
	.release = fake_release,
};

static const struct device_ops fake_cold_ops = {
	.describe = fake_describe,
	.accept = fake_accept,
	.pause = fake_pause,
	.settle = fake_settle,
	.save = fake_save,
	.load = fake_load,
	.reclaim = fake_reclaim,
	.resume = fake_resume,
	.arrived = fake_arrived,
	.release = fake_release,
};

int fake_guest_try_init(struct fake_guest *g, uint64_t mem, unsigned int cpus, struct error *err)
{
	int ret;

	*g = (struct fake_guest){ .calm_at = 100 };
	/* Nobody runs the loop that the VM's end stops. */
	g->vm.loop.wake.fd = -1;
	ret = memory_init(&g->vm.memory, mem, err);
	if (ret < 0)
		return ret;
	g->kvm_log = calloc(fake_log_words(&g->vm.memory), sizeof(*g->kvm_log));
	if (!g->kvm_log) {
		error_add(err, "out of memory for the dirty log");
		memory_exit(&g->vm.memory);
		return -ENOMEM;
	}
	gate_init(&g->vm.gate, &g->vm.loop);
	g->vm.n_vcpus = cpus;
	g->devices[0].device = (struct device){ .ops = &fake_warm_ops, .name = "dev0" };
	g->devices[1].device = (struct device){ .ops = &fake_cold_ops, .name = "dev1" };
	g->devices[0].guest = g->devices[1].guest = g;
	g->devices[0].device.next = &g->devices[1].device;
	g->vm.devices = &g->devices[0].device;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->cond, NULL);
	return 0;
}

void fake_guest_init(struct fake_guest *g, uint64_t mem, unsigned int cpus)
{
	struct error err = { 0 };
	int ret = fake_guest_try_init(g, mem, cpus, &err);

	assert(ret == 0);
	(void)ret;
}

void fake_guest_exit(struct fake_guest *g)
{
	gate_stop(&g->vm.gate);
	gate_exit(&g->vm.gate);
	pthread_cond_destroy(&g->cond);
	pthread_mutex_destroy(&g->lock);
	free((void *)g->kvm_log);
	memory_exit(&g->vm.memory);
}

__attribute__((noinline, no_sanitize("thread"))) static void fake_store(volatile uint64_t *p, uint64_t v)
{
	*p = v;
}

void fake_guest_write(struct fake_guest *g, uint64_t page, uint64_t v)
{
	const struct memory_region *r = g->vm.memory.regions;

	while (page << PAGE_SHIFT >= r->offset + r->len)
		r++;
	fake_store((volatile uint64_t *)(void *)(r->hva + (page << PAGE_SHIFT) - r->offset) + v % 512, v);
	if (atomic_load(&g->kvm_logging))
		atomic_fetch_or(&g->kvm_log[page / 64], (uint64_t)1 << (page % 64));
}

void fake_guest_fill(struct fake_guest *g, uint64_t seed)
{
	uint64_t n = memory_pages(&g->vm.memory);

	for (uint64_t page = 0; page < 9; page++) {
		fake_guest_write(g, page, seed + page);
		fake_guest_write(g, n - 20 + 2 * page, seed * 3 + page);
	}
	fake_guest_write(g, n / 2, 0);
	g->registers = seed * 7 + 1;
	for (unsigned int i = 0; i < ARRAY_SIZE(g->devices); i++) {
		g->devices[i].warm = seed + 100 + i;
		g->devices[i].state = seed + 200 + i;
	}
}

static void *fake_write_loop(void *arg)
{
	struct fake_guest *g = arg;
	uint64_t v = 88172645463325252ull;

	while (gate_pass(&g->vm.gate, &g->writer)) {
		while (!__atomic_load_n(&g->leave, __ATOMIC_SEQ_CST)) {
			for (unsigned int i = 0; i < 16; i++) {
				v ^= v << 13;
				v ^= v >> 7;
				v ^= v << 17;
				fake_guest_write(g, v % g->writer_pages, v >> 20);
			}
			pthread_mutex_lock(&g->lock);
			g->n_writes += 16;
			pthread_cond_broadcast(&g->cond);
			pthread_mutex_unlock(&g->lock);
		}
	}
	return NULL;
}

void fake_guest_run_writer(struct fake_guest *g, uint64_t n_pages)
{
	int ret;

	g->writer_pages = n_pages;
	g->writer.leave = &g->leave;
	ret = gate_start(&g->vm.gate, &g->writer, "writer", fake_write_loop, g);
	assert(ret == 0);
	(void)ret;
}

void fake_guest_wait_writes(struct fake_guest *g, uint64_t n)
{
	uint64_t end;

	pthread_mutex_lock(&g->lock);
	end = g->n_writes + n;
	while (g->n_writes < end)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

#define FAKE_BLOCK 65536

/* Finds the next block of @m at or after @at that has anything in it. */
static uint64_t fake_next_block(const struct memory *m, uint64_t at)
{
	off_t data = lseek(m->fd, (off_t)at, SEEK_DATA);

	return data < 0 ? m->size : (uint64_t)data / FAKE_BLOCK * FAKE_BLOCK;
}

bool fake_guest_same_memory(const struct fake_guest *a, const struct fake_guest *b)
{
	const struct memory *ma = &a->vm.memory, *mb = &b->vm.memory;
	static uint8_t pa[FAKE_BLOCK], pb[FAKE_BLOCK];
	uint64_t at = 0;

	if (ma->size != mb->size)
		return false;
	while ((at = min_u64(fake_next_block(ma, at), fake_next_block(mb, at))) < ma->size) {
		ssize_t n = pread(ma->fd, pa, FAKE_BLOCK, (off_t)at);

		if (n <= 0 || pread(mb->fd, pb, FAKE_BLOCK, (off_t)at) != n || memcmp(pa, pb, (size_t)n) != 0)
			return false;
		at += FAKE_BLOCK;
	}
	return true;
}

bool fake_guest_is_paused(struct fake_guest *g)
{
	bool paused;

	pthread_mutex_lock(&g->vm.gate.lock);
	paused = g->vm.gate.paused;
	pthread_mutex_unlock(&g->vm.gate.lock);
	return paused;
}

/* Returns by how many percent the guest is kept back now. */
static unsigned int fake_throttle(struct fake_guest *g)
{
	unsigned int percent;

	pthread_mutex_lock(&g->vm.gate.lock);
	percent = g->vm.gate.throttle;
	pthread_mutex_unlock(&g->vm.gate.lock);
	return percent;
}

/* These take the place of vmm/kvm.c and vmm/vm.c. */

void vm_prefault(struct vm *vm, uint64_t gpa, uint64_t len)
{
	assert(fake_guest_is_paused(fake_guest(vm)));
	assert(memory_at(&vm->memory, gpa, len));
	fake_guest(vm)->prefaulted += len;
}

static struct fake_guest *guest_of_kvm(struct kvm *kvm)
{
	return container_of(kvm, struct fake_guest, vm.kvm);
}

int kvm_log_start(struct kvm *kvm)
{
	guest_of_kvm(kvm)->kvm_logging = true;
	return 0;
}

void kvm_log_stop(struct kvm *kvm)
{
	guest_of_kvm(kvm)->kvm_logging = false;
}

int kvm_log_take(struct kvm *kvm, struct page_set *pages)
{
	struct fake_guest *g = guest_of_kvm(kvm);
	unsigned int percent = fake_throttle(g);

	g->max_throttle = percent > g->max_throttle ? percent : g->max_throttle;
	if (!fake_guest_is_paused(g) && percent < g->calm_at) {
		if (g->dirty_bursts)
			g->dirty_per_sync = g->dirty_bursts[g->next_burst++ % g->n_dirty_bursts];
		for (unsigned int i = 0; i < g->dirty_per_sync; i++)
			fake_guest_write(g, i, ++g->n_writes);
	}
	for (uint64_t i = 0; i < fake_log_words(&g->vm.memory); i++)
		page_set_add_word(pages, i, atomic_exchange(&g->kvm_log[i], 0));
	return 0;
}

void vm_describe(struct vm *vm, struct state_writer *w)
{
	state_put_u64(w, "memory", vm->memory.size);
	state_put_u32(w, "cpus", vm->n_vcpus);
}

int vm_accept(struct vm *vm, struct state_node *node)
{
	const char *reason = fake_guest(vm)->refuse_accept;
	uint64_t mem;
	uint32_t cpus;

	if (state_get_u64(node, "memory", vm->memory.size, vm->memory.size, &mem) < 0 ||
	    state_get_u32(node, "cpus", vm->n_vcpus, vm->n_vcpus, &cpus) < 0)
		return -EINVAL;
	if (reason) {
		error_add(node->err, "%s", reason);
		return -ENOTSUP;
	}
	return 0;
}

int vm_save(struct vm *vm, struct state_writer *w, struct error *err)
{
	const char *reason = fake_guest(vm)->fail_save;

	assert(fake_guest_is_paused(fake_guest(vm)));
	state_put_u64(w, "registers", fake_guest(vm)->registers);
	if (reason) {
		error_add(err, "%s", reason);
		return -EIO;
	}
	return 0;
}

int vm_load(struct vm *vm, struct state_node *node)
{
	const char *reason = fake_guest(vm)->refuse_load;

	if (state_get_u64(node, "registers", 0, UINT64_MAX, &fake_guest(vm)->registers) < 0)
		return -EINVAL;
	if (reason) {
		error_add(node->err, "%s", reason);
		return -EIO;
	}
	return 0;
}
