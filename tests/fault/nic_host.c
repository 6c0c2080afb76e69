/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host of a guest with a NIC: see the header. */
#define _GNU_SOURCE
#include "tests/fault/nic_host.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "migration/clock.h"
#include "migration/compare.h"
#include "migration/incoming.h"

#define NIC_STEP_NS    300000
#define NIC_DOWNTIME   UINT64_C(300000000)
#define NIC_KERNEL_LEN 4096u

static void *nic_vcpu_run(void *arg)
{
	struct nic_host *h = arg;
	const struct timespec step = { .tv_nsec = NIC_STEP_NS };

	while (gate_pass(&h->vm->gate, &h->vcpu)) {
		nic_guest_enter(h->guest, &h->net);
		while (!__atomic_load_n(&h->leave, __ATOMIC_SEQ_CST)) {
			nic_guest_step(h->guest);
			/* The gate's signal ends it. */
			nanosleep(&step, NULL);
		}
		nic_guest_leave(h->guest);
	}
	return NULL;
}

static void nic_host_open_disk(struct nic_host *h, enum nic_role role)
{
	const struct blk_setup setup = { .path = h->guest->disk.path, .arriving = role == NIC_DESTINATION };
	struct error err = { 0 };
	int ret = blk_create(&h->disk, h->vm, &h->net.bus, &setup, &err);

	assert(ret == 0);
	(void)ret;
}

/* Gives its lock up. */
static void nic_host_close_disk(struct nic_host *h)
{
	bool ended = !h->disk || blk_destroy(h->disk, UINT64_MAX);

	assert(ended);
	(void)ended;
	h->disk = NULL;
}

void nic_host_init(struct nic_host *h, enum nic_role role, struct nic_guest *guest,
		   const struct net_config *config, uint64_t seed)
{
	struct error err = { 0 };
	int ret;

	*h = (struct nic_host){ .guest = guest, .fd = -1, .cancel_fd = -1, .boot = BOOT_FILES_NONE };
	h->device =
		nic_device_new(soft_net_device(&guest->net->hub, NIC_NET_PAIRS, CONFIG_DEFAULT_RING), seed);
	net_guest_init_on(&h->net, &h->device->vdpa, config);
	h->net.size = 64;
	h->vm = h->net.vm;
	nic_host_open_disk(h, role);
	h->vm->n_vcpus = 1;
	h->vm->vcpus = calloc(1, sizeof(*h->vm->vcpus));
	h->vm->boot = &h->boot;
	ret = loop_init(&h->vm->loop);
	if (ret == 0)
		ret = boot_files_make(&h->boot, NIC_KERNEL_LEN, 0, "", &err);
	if (ret == 0)
		ret = reset_init(&h->reset, h->vm, MEMORY_DROP, &err);
	if (ret == 0)
		ret = loop_start(&h->vm->loop, "main");
	h->vcpu.leave = &h->leave;
	if (ret == 0)
		ret = gate_start(&h->vm->gate, &h->vcpu, "vcpu", nic_vcpu_run, h);
	assert(ret == 0 && h->vm->vcpus);
}

void nic_host_exit(struct nic_host *h)
{
	gate_stop(&h->vm->gate);
	loop_join(&h->vm->loop);
	reset_exit(&h->reset);
	loop_exit(&h->vm->loop);
	boot_files_close(&h->boot);
	nic_host_close_disk(h);
	free((void *)h->net.host->written);
	free(h->vm->vcpus);
	gate_exit(&h->vm->gate);
	net_guest_exit(&h->net);
}

static int nic_take(struct nic_host *h, struct destination *d)
{
	int ret = compare_hello(d, h->vm, &h->err);

	if (ret == 0)
		ret = destination_ready(d, &h->err);
	if (ret < 0)
		destination_refuse(d, &h->err);
	else
		ret = incoming_run(d, h->vm, NULL, &h->err);
	destination_close(d);
	return ret;
}

static void *nic_destination_run(void *arg)
{
	struct nic_host *h = arg;
	struct arrivals arrivals;
	const struct destination_config config = { .arrivals = &arrivals,
						   .cancel_fd = h->cancel_fd,
						   .clock_skew_ns = UINT64_MAX };
	struct destination d;
	int ret = arrivals_init(&arrivals, "", &h->err);

	assert(ret == 0);
	arrivals_open(&arrivals);
	ret = arrivals_push(&arrivals, h->fd, realtime_ns(), NULL, &h->err);
	if (ret == 0)
		ret = destination_accept(&d, &config, &h->err);
	if (ret == 0)
		ret = nic_take(h, &d);
	arrivals_close(&arrivals, "");
	arrivals_exit(&arrivals);
	/* A process ends then, and its lock with it. */
	if (ret < 0)
		nic_host_close_disk(h);
	h->result = ret;
	return NULL;
}

void nic_host_receive(struct nic_host *h, int fd, int cancel_fd)
{
	int ret;

	h->fd = fd;
	h->cancel_fd = cancel_fd;
	ret = pthread_create(&h->thread, NULL, nic_destination_run, h);
	assert(ret == 0);
	(void)ret;
}

void nic_host_join(struct nic_host *h)
{
	pthread_join(h->thread, NULL);
}

enum source_result nic_host_migrate(struct nic_host *h, int fd, int cancel_fd, struct error *err)
{
	struct source_config config = { .to = "there",
					.fd = fd,
					.cancel_fd = cancel_fd,
					.downtime_limit_ns = NIC_DOWNTIME,
					.changed_fd = -1 };
	struct report report;

	return source_migrate(h->vm, &config, &report, err);
}

bool nic_host_is_paused(struct nic_host *h)
{
	bool paused;

	pthread_mutex_lock(&h->vm->gate.lock);
	paused = h->vm->gate.paused;
	pthread_mutex_unlock(&h->vm->gate.lock);
	return paused;
}
