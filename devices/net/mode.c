/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the guest's own rings to shadow rings and back. */
#include "devices/net/mode.h"

#include <errno.h>
#include <stdio.h>

#include "devices/net/ctrl.h"
#include "devices/net/forward.h"
#include "devices/net/passthrough.h"
#include "devices/net/serve.h"
#include "devices/net/start.h"
#include "devices/net/stats.h"

#include "devices/virtio/vring_handover.h"

/* Milliseconds between tries to go back to passthrough: the first soon, and twice as long each time that the
 * rings do not allow it, so that a busy guest is not disturbed. */
#define NET_RETURN_FIRST_MS 100u
#define NET_RETURN_MAX_MS   10000u

bool net_can_pass(const struct net *net)
{
	if (net->pins || net_pass_misfit(net->backend.vdpa, net->path.features))
		return false;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (!net->queues[i].held)
			return false;
	}
	return true;
}

void net_pass_go(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];
		struct error err = { 0 };
		int ret = net_pass_open_doorbell(net->backend.vdpa, q, &err);

		/* Kicks go through KVM and an eventfd where there is no doorbell, which is no error. */
		if (ret < 0 && ret != -ENOTSUP)
			log_limited(&net->log_limit, LOG_WARN, "%s: queue %u has no doorbell: %s", net->name,
				    q->guest_index, err.text);
		loop_signal(q->kick.fd);
	}
}

static int net_resume_device(struct net *net, struct error *err)
{
	return net_backend_resume(&net->backend, net->ctrl.queue ? (int)net->ctrl.queue->device_index : -1,
				  err);
}

/* Gives a suspended device the other kind of rings for its data queues, and lets it go on. After an error
 * only a reset helps. */
static int net_move(struct net *net, enum net_rings rings, struct error *err)
{
	struct net_backend *b = &net->backend;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < net->path.n_data; i++) {
		net_queue_forget(&net->queues[i]);
		/* The simulator reads addresses when a queue is enabled that was not. */
		ret = b->vdpa->ops->enable_vring(b->vdpa, net->queues[i].device_index, false, err);
	}
	/* The window is mapped before shadow rings are in it, and unmapped before the guest can name it in a
	 * ring. */
	if (ret == 0 && rings == NET_RINGS_SHADOW)
		ret = net_backend_map(b, NET_MAP_WINDOW, err);
	for (unsigned int i = 0; ret == 0 && i < net->path.n_data; i++)
		ret = net_set_queue(net, &net->queues[i], rings, err);
	if (ret == 0)
		ret = rings == NET_RINGS_GUEST ? net_backend_map(b, NET_MAP_MEMORY, err) : net_fill(net, err);
	if (ret == 0)
		ret = net_resume_device(net, err);
	if (ret == 0)
		net_step(net, net_rings_step(rings));
	return ret;
}

/* Starts the device from the beginning with @rings. The rings are at rest. */
static int net_move_by_reset(struct net *net, enum net_rings rings, struct error *err)
{
	int ret = net_backend_reset(&net->backend, err);

	return ret < 0 ? ret : net_start_again(net, rings, err);
}

static int net_move_either_way(struct net *net, enum net_rings rings, struct error *err)
{
	struct error why = { 0 };

	if (net_move(net, rings, &why) == 0)
		return 0;
	log_limited(&net->log_limit, LOG_INFO,
		    "%s: starting the device anew, for it does not change rings while suspended: %s",
		    net->name, why.text);
	return net_move_by_reset(net, rings, err);
}

/* Lets a device go on that was suspended for nothing. */
static void net_unsuspend(struct net *net)
{
	struct error err = { 0 };

	if (net_resume_device(net, &err) < 0)
		net_path_fail(&net->path, "cannot go on with the device: %s", err.text);
}

/* Takes over the indexes at which a suspended device has left the guest's rings. It must have nothing in
 * flight, for it does not tell which buffers are. */
static int net_take_bases(struct net *net, struct error *err)
{
	uint16_t bases[2 * NET_MAX_PAIRS];

	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];
		uint16_t used = vring_guest_used(&q->vring);
		int ret = net->backend.vdpa->ops->get_vring_base(net->backend.vdpa, q->device_index,
								 &bases[i], err);

		if (ret < 0)
			return ret;
		if (bases[i] != used) {
			error_add(err,
				  "%s: suspended, the device has taken %u buffers of queue %u that it has "
				  "not used: which, it does not tell",
				  net->backend.vdpa->name, (uint16_t)(bases[i] - used), i);
			return -EBUSY;
		}
	}
	for (unsigned int i = 0; i < net->path.n_data; i++)
		vring_start_at(&net->queues[i].vring, bases[i]);
	return 0;
}

static int net_leave_suspended(struct net *net, struct error *err)
{
	int ret = net_backend_suspend(&net->backend, err);

	if (ret < 0)
		return ret;
	ret = net_take_bases(net, err);
	if (ret < 0) {
		net_unsuspend(net);
		return ret;
	}
	ret = net_move_either_way(net, NET_RINGS_SHADOW, err);
	if (ret < 0)
		net_path_fail(&net->path, "cannot go over to shadow rings: %s", err->text);
	return ret;
}

static int net_check_order(struct net *net, struct error *err)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (!vring_used_in_order(&net->queues[i].vring)) {
			error_add(
				err,
				"%s: the device does not use the buffers of queue %u in order, and cannot be "
				"suspended: what it has cannot be told",
				net->backend.vdpa->name, i);
			return -EBUSY;
		}
	}
	return 0;
}

/*
 * Takes the rings from a device that cannot be suspended, and has used its buffers in order: those that it
 * has not used are in the available ring, behind those that it has. Packets that it has sent and not yet said
 * so go out twice, which Ethernet allows.
 */
static int net_leave_by_reset(struct net *net, struct error *err)
{
	int ret = net_check_order(net, err);

	if (ret == 0)
		ret = net_backend_reset(&net->backend, err);
	if (ret < 0)
		return ret;
	ret = net_check_order(net, err);
	for (unsigned int i = 0; ret == 0 && i < net->path.n_data; i++)
		vring_start_at(&net->queues[i].vring, vring_guest_used(&net->queues[i].vring));
	if (ret == 0)
		ret = net_start_again(net, NET_RINGS_SHADOW, err);
	if (ret < 0)
		net_path_fail(&net->path, "cannot go over to shadow rings: %s", err->text);
	return ret;
}

int net_leave(struct net *net, uint64_t *still_ns, struct error *err)
{
	uint64_t start_ns, ns;
	int ret;

	if (net->phase != NET_PHASE_PASS || net_path_failed(&net->path))
		return 0;
	if (net->ctrl.queue)
		net_ctrl_drain(&net->ctrl);
	net_stats_read(&net->ctrl);
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_pass_close_doorbell(&net->queues[i]);
	start_ns = now_ns();
	ret = net->backend.vdpa->can_suspend ? net_leave_suspended(net, err) : net_leave_by_reset(net, err);
	if (ret < 0) {
		if (!net_path_failed(&net->path))
			net_pass_go(net);
		return ret;
	}
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_queue_attach(&net->queues[i], &net->loop);
	net_serve_all(net);
	/* Kicks that came while the device was suspended may be lost on it. */
	net_queue_kick_receivers(net->queues);
	ns = now_ns() - start_ns;
	/* The device may have used buffers without an interrupt for them, so tell the guest now. */
	for (unsigned int i = 0; i < net->path.n_data; i++)
		virtio_pci_notify_queue(&net->virtio, net->queues[i].guest_index);
	log_limited(&net->log_limit, LOG_INFO, "%s: shadow rings: the network stood still for %llu us",
		    net->name, (unsigned long long)(ns / 1000));
	if (still_ns)
		*still_ns = ns;
	return 0;
}

/* Whether the device has nothing in its data queues but buffers of the guest's, in order. */
static bool net_is_idle_enough(const struct net *net)
{
	return !net->ctrl.busy && !net_announce_busy(&net->announce) && net_can_rewind(net);
}

/* The device serves the guest's rings: Ferry leaves their kicks alone. */
static void net_unwatch_data(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_queue_unwatch(&net->queues[i], &net->loop);
}

/* 0, or -EAGAIN where it cannot be done now, or -errno: only a reset helps. */
static int net_return_suspended(struct net *net, struct error *err)
{
	if (net_backend_suspend(&net->backend, err) < 0)
		return -EAGAIN;
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_queue_complete(&net->queues[i]);
	if (net_path_failed(&net->path))
		return -EIO;
	if (!net_is_idle_enough(net)) {
		net_unsuspend(net);
		error_add(err, "the buffers in flight are not in order");
		return -EAGAIN;
	}
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_queue_rewind(&net->queues[i]);
	net_unwatch_data(net);
	return net_move_either_way(net, NET_RINGS_GUEST, err);
}

static int net_return_by_reset(struct net *net, struct error *err)
{
	int ret = net_restart(net, NET_RINGS_GUEST, err);

	if (ret == 0 && net->phase == NET_PHASE_PASS)
		net_unwatch_data(net);
	return ret;
}

/* Gives up passthrough for this driver: the device does not begin where the guest's rings are, as devices
 * that begin at index 0 only. */
static void net_stay(struct net *net, const char *why)
{
	struct error err = { 0 };

	log_limited(&net->log_limit, LOG_WARN, "%s: %s: stays on shadow rings: %s", net->name,
		    net->backend.vdpa->name, why);
	net->pins |= NET_PIN_DRIVER;
	snprintf(net->stays, sizeof(net->stays), "%.*s", (int)sizeof(net->stays) - 1, why);
	if (net_move_by_reset(net, NET_RINGS_SHADOW, &err) < 0) {
		net_path_fail(&net->path, "cannot go back to shadow rings: %s", err.text);
		return;
	}
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (!net->queues[i].attached)
			net_queue_attach(&net->queues[i], &net->loop);
	}
}

static void net_return(struct net *net)
{
	struct error err = { 0 };
	int ret;

	if (!net_is_idle_enough(net))
		return;
	net_stats_read(&net->ctrl);
	ret = net->backend.vdpa->can_suspend ? net_return_suspended(net, &err)
					     : net_return_by_reset(net, &err);
	if (ret < 0 && ret != -EAGAIN && !net_path_failed(&net->path))
		net_stay(net, err.text);
	if (net_path_failed(&net->path))
		return;
	if (net->phase == NET_PHASE_PASS) {
		net_pass_go(net);
		log_limited(&net->log_limit, LOG_INFO, "%s: passthrough", net->name);
	} else {
		net_serve_all(net);
	}
}

static void net_return_arm(struct net *net, unsigned int ms)
{
	net->pass_wait_ms = ms;
	loop_timer_arm(&net->pass_timer, end_of((int)ms));
}

void net_return_later(struct net *net)
{
	const char *why;

	if (net->pins & (NET_PIN_DEVICE | NET_PIN_MIGRATION) || net->phase != NET_PHASE_SHADOW)
		return;
	why = net_pass_misfit(net->backend.vdpa, net->path.features);
	if (why)
		log_limited(&net->log_limit, LOG_INFO, "%s: %s: stays on shadow rings: %s", net->name,
			    net->backend.vdpa->name, why);
	else
		net_return_arm(net, NET_RETURN_FIRST_MS);
}

void net_return_now(struct net *net)
{
	if (net->phase != NET_PHASE_SHADOW || net_path_failed(&net->path) || !net_can_pass(net))
		return;
	net_return(net);
	/* Not where a ring is missing: its enabling comes here. */
	if (net->phase == NET_PHASE_SHADOW && !net_path_failed(&net->path))
		net_return_arm(net, (unsigned int)min_u64(2ull * net->pass_wait_ms, NET_RETURN_MAX_MS));
}

void net_return_at_once(struct net *net)
{
	net->pass_wait_ms = NET_RETURN_FIRST_MS / 2;
	net_return_now(net);
}
