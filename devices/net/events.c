/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of all that wakes the NIC's thread. Each handler ends with net_settle(). */
#include "devices/net/events.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/net/ctrl.h"
#include "devices/net/fault.h"
#include "devices/net/forward.h"
#include "devices/net/mode.h"
#include "vmm/shortage.h"

static void net_queue_kicked(struct loop_source *src, uint32_t events)
{
	struct net_queue *q = container_of(src, struct net_queue, kick);

	q->counts.kicks++;
	net_of(q)->moved = true;
	net_queue_forward(q);
	net_settle(net_of(q));
}

static void net_queue_called(struct loop_source *src, uint32_t events)
{
	struct net_queue *q = container_of(src, struct net_queue, call);

	q->counts.device_calls++;
	net_of(q)->moved = true;
	/* The driver has given the queue no vector, so the device cannot interrupt the guest itself. */
	if (net_of(q)->phase == NET_PHASE_PASS)
		virtio_pci_notify_queue(q->path->virtio, q->guest_index);
	/* While the guest's rings are still, what completes stays in the shadow ring until they go on. */
	if (net_path_runs(q->path) || !q->held)
		net_queue_complete(q);
	net_settle(net_of(q));
}

static void net_ctrl_kicked(struct loop_source *src, uint32_t events)
{
	struct net *net = net_of(container_of(src, struct net_queue, kick));

	if (loop_take(src->fd))
		net_ctrl_run(&net->ctrl);
	net_settle(net);
}

static void net_ctrl_called(struct loop_source *src, uint32_t events)
{
	struct net *net = net_of(container_of(src, struct net_queue, call));

	if (loop_take(src->fd) && net_path_runs(&net->path)) {
		net_ctrl_complete(&net->ctrl);
		net_ctrl_run(&net->ctrl);
	}
	net_settle(net);
}

static void net_ctrl_timed_out(struct loop_timer *timer)
{
	struct net *net = container_of(timer, struct net, ctrl.timer);

	if (net_path_runs(&net->path))
		net_ctrl_expire(&net->ctrl);
	net_settle(net);
}

static void net_announce_due(struct loop_timer *timer)
{
	struct net *net = container_of(timer, struct net, announce.timer);

	if (net_announce_tick(&net->announce))
		net_ctrl_ask_announce(&net->ctrl);
	/* A guest that has not answered what it was asked at its arrival says nothing. */
	if (net->announce.n_left == 0 ||
	    (net->phase == NET_PHASE_SHADOW && net_can_pass(net) && !net->space.announcing &&
	     virtio_has(net->path.features, VIRTIO_NET_F_GUEST_ANNOUNCE) &&
	     net_announce_leave(&net->announce))) {
		net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
		net_return_at_once(net);
	}
	net_settle(net);
}

static void net_return_due(struct loop_timer *timer)
{
	struct net *net = container_of(timer, struct net, pass_timer);

	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	net_return_now(net);
	net_settle(net);
}

static void net_device_changed(struct loop_source *src, uint32_t events)
{
	struct net *net = container_of(src, struct net, config_call);
	const struct net_backend *b = &net->backend;
	uint8_t config[NET_CONFIG_LEN] = { 0 }, status;
	struct error err = { 0 };

	if (!loop_take(src->fd))
		return;
	if (b->vdpa->ops->get_config(b->vdpa, 0, config,
				     (uint32_t)min_u64(b->vdpa->config_len, NET_CONFIG_LEN), &err) < 0) {
		log_limited(&net->log_limit, LOG_WARN, "%s: %s", net->name, err.text);
		return;
	}
	net_space_take(&net->space, config, net->path.features);
	net_ctrl_show_status(&net->ctrl);
	if (b->started && !net_path_failed(&net->path) &&
	    b->vdpa->ops->get_status(b->vdpa, &status, &err) == 0 && status & VIRTIO_CONFIG_S_NEEDS_RESET)
		net_path_fail(&net->path, "the device needs a reset");
	net_settle(net);
}

/*
 * All that wakes the NIC's thread, by its place in the NIC or in each of its queues. The NIC's own are always
 * watched. Kicks are watched while the guest's ring is served, calls while the device is started, both with
 * NET_QUEUE_EVENTS.
 */
static const struct net_waker {
	enum { NET_EVENTFD, NET_TIMER, NET_DATA_QUEUE, NET_CTRL_QUEUE } of;
	size_t place;
	void (*event)(struct loop_source *src, uint32_t events);
	void (*expired)(struct loop_timer *timer);
} net_wakers[] = {
	{ NET_EVENTFD, offsetof(struct net, config_call), .event = net_device_changed },
	{ NET_TIMER, offsetof(struct net, ctrl.timer), .expired = net_ctrl_timed_out },
	{ NET_TIMER, offsetof(struct net, announce.timer), .expired = net_announce_due },
	{ NET_TIMER, offsetof(struct net, pass_timer), .expired = net_return_due },
	{ NET_DATA_QUEUE, offsetof(struct net_queue, kick), .event = net_queue_kicked },
	{ NET_DATA_QUEUE, offsetof(struct net_queue, call), .event = net_queue_called },
	{ NET_CTRL_QUEUE, offsetof(struct net_queue, kick), .event = net_ctrl_kicked },
	{ NET_CTRL_QUEUE, offsetof(struct net_queue, call), .event = net_ctrl_called },
};

/* @owner is the NIC, or the queue. */
static struct loop_source *net_waker_source(const struct net_waker *w, void *owner)
{
	return (struct loop_source *)((char *)owner + w->place);
}

static struct loop_timer *net_waker_timer(const struct net_waker *w, struct net *net)
{
	return (struct loop_timer *)((char *)net + w->place);
}

static int net_eventfd_open(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static int net_waker_open(const struct net_waker *w, struct net *net)
{
	struct loop_source *src;

	if (w->of == NET_TIMER)
		return loop_timer_open(net_waker_timer(w, net), &net->loop, w->expired);
	if (w->of != NET_EVENTFD)
		return 0;
	src = net_waker_source(w, net);
	*src = (struct loop_source){ .fd = net_eventfd_open(), .fn = w->event };
	return src->fd < 0 ? src->fd : loop_add(&net->loop, src, EPOLLIN);
}

static int net_queue_open(struct net_queue *q, bool data)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(net_wakers); i++) {
		if (net_wakers[i].of == (data ? NET_DATA_QUEUE : NET_CTRL_QUEUE))
			net_waker_source(&net_wakers[i], q)->fn = net_wakers[i].event;
	}
	q->call.fd = net_eventfd_open();
	if (q->call.fd < 0)
		return q->call.fd;
	q->device_kick = net_eventfd_open();
	return q->device_kick < 0 ? q->device_kick : 0;
}

static int net_open_events(struct net *net)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < ARRAY_SIZE(net_wakers); i++)
		ret = net_waker_open(&net_wakers[i], net);
	for (unsigned int i = 0; ret == 0 && i < net->n_slots; i++)
		ret = net_queue_open(&net->queues[i], i < 2 * net->max_pairs);
	return ret;
}

void net_events_clear(struct net *net)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(net_wakers); i++) {
		if (net_wakers[i].of == NET_EVENTFD)
			net_waker_source(&net_wakers[i], net)->fd = -1;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(net->queues); i++)
		net->queues[i].call.fd = net->queues[i].device_kick = -1;
}

int net_events_init(struct net *net, struct error *err)
{
	int ret = net_open_events(net);

	if (ret < 0) {
		error_add(err, "cannot create an eventfd or timer: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return 0;
}

static void net_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void net_events_exit(struct net *net)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(net_wakers); i++) {
		if (net_wakers[i].of == NET_EVENTFD)
			net_close(net_waker_source(&net_wakers[i], net)->fd);
		else if (net_wakers[i].of == NET_TIMER)
			loop_timer_close(net_waker_timer(&net_wakers[i], net));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(net->queues); i++) {
		net_close(net->queues[i].call.fd);
		net_close(net->queues[i].device_kick);
	}
}
