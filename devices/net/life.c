/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the guest's driver. */
#include "devices/net/life.h"

#include "devices/net/ctrl.h"
#include "devices/net/fault.h"
#include "devices/net/features.h"
#include "devices/net/forward.h"
#include "devices/net/mode.h"
#include "devices/net/passthrough.h"
#include "devices/net/serve.h"
#include "devices/net/start.h"
#include "devices/net/stats.h"

void net_end(struct net *net)
{
	net_announce_stop(&net->announce);
	net_detach(net);
	net_stop(net);
	net_step(net, NET_STEP_END);
	net->path.fault[0] = '\0';
}

/* Finds the guest's ring of a queue where its driver has put it now. */
static int net_find_queue(struct net *net, struct net_queue *q, struct error *err)
{
	const struct virtio_pci_place place = virtio_pci_place(&net->virtio.queues[q->guest_index]);
	struct net_ring ring;
	int ret = net_ring_find(&net->path, net->path.features, q->guest_index, &place, &ring, err);

	if (ret < 0)
		return ret;
	net_queue_take_ring(q, &ring);
	if (q != net->ctrl.queue)
		net->ctrl.limits.queue_disabled[q->guest_index] = !q->held;
	return 0;
}

static int net_find_rings(struct net *net, struct error *err)
{
	struct net_queue *q;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && (q = net_nth_queue(net, i)); i++)
		ret = net_find_queue(net, q, err);
	return ret;
}

/* A driver that has just begun expects all defaults. */
static void net_target_default(struct net *net)
{
	uint8_t mac[6];

	cvq_reset(&net->ctrl.target);
	if (virtio_has(net->path.features, VIRTIO_NET_F_MAC) &&
	    virtio_has(net->path.features, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
		net_space_get_mac(&net->space, mac);
		cvq_set_mac(&net->ctrl.target, mac);
	}
}

/* Starts the device for a driver that has just come to DRIVER_OK: with the guest's rings, where it can have
 * them. */
static int net_begin(struct net *net, struct error *err)
{
	enum net_rings rings;
	int ret = net_find_rings(net, err);

	if (ret < 0)
		return ret;
	rings = net_can_pass(net) ? NET_RINGS_GUEST : NET_RINGS_SHADOW;
	net_target_default(net);
	ret = net_start(net, rings, rings == NET_RINGS_GUEST ? NULL : net_fill, err);
	if (ret == 0)
		ret = net_apply(net, err);
	if (ret == 0)
		net_step(net, net_rings_step(rings));
	return ret;
}

static int net_driver_ok_call(struct net *net, void *arg)
{
	struct error err = { 0 };
	int ret;

	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	net_plan(net, net->virtio.accepted);
	net->generation++;
	net->changes++;
	net->pins &= ~(unsigned int)NET_PIN_DRIVER;
	ret = net_begin(net, &err);
	if (ret < 0) {
		log_limited(&net->stop_limit, LOG_ERROR, "%s: cannot start the NIC for the guest: %s",
			    net->name, err.text);
		net_stop(net);
		/* The transport asks the driver for a reset. */
		net_path_fail(&net->path, "%s", err.text);
		net_step(net, NET_STEP_BREAK);
	}
	/* Also where the NIC is broken: a driver that waits for the answer to a command gets one. */
	net_attach(net);
	if (net->phase == NET_PHASE_PASS)
		net_pass_go(net);
	net_return_later(net);
	return ret;
}

static int net_driver_ok(struct virtio_pci *v)
{
	return net_call(container_of(v, struct net, virtio), net_driver_ok_call, NULL);
}

static int net_reset_call(struct net *net, void *arg)
{
	net_end(net);
	cvq_reset(&net->ctrl.store);
	memset(&net->ctrl.stats, 0, sizeof(net->ctrl.stats));
	net->space.announcing = false;
	net->path.features = 0;
	net->changes++;
	net_space_set_mac(&net->space, net->space.provisioned_mac);
	net_ctrl_show_status(&net->ctrl);
	return 0;
}

static void net_reset(struct virtio_pci *v)
{
	net_call(container_of(v, struct net, virtio), net_reset_call, NULL);
}

/*
 * The guest may use the buffers for something else as soon as this returns, and vDPA has no way to take a
 * single queue back: the device starts anew. Drivers do this when a ring's size is changed, not in a packet's
 * way.
 */
static void net_reset_ring(struct net *net, unsigned int guest_index)
{
	struct net_queue *q = net_guest_queue(net, guest_index);
	struct error err = { 0 };

	if (!q || !q->held)
		return;
	/* The device starts anew, and shadow rings alone know what it has of the other rings. */
	if (net_path_runs(&net->path) && net_leave(net, NULL, &err) < 0)
		net_path_fail(&net->path, "cannot take queue %u back from the device: %s", guest_index,
			      err.text);
	if (net_path_runs(&net->path) && net->ctrl.queue)
		net_ctrl_drain(&net->ctrl);
	if (net_path_runs(&net->path) && q != net->ctrl.queue)
		net_queue_complete(q);
	net_queue_detach(q, &net->loop);
	if (!net_path_runs(&net->path))
		return;
	if (q != net->ctrl.queue) {
		net->ctrl.limits.queue_disabled[guest_index] = true;
		/* The replay must not bring the queue's own coalescing back: it follows the others again. */
		cvq_reset_queue(&net->ctrl.store, guest_index);
		net->changes++;
	}
	net_stats_read(&net->ctrl);
	if (net_restart(net, NET_RINGS_SHADOW, &err) < 0) {
		net_path_fail(&net->path, "cannot take queue %u back from the device: %s", guest_index,
			      err.text);
		return;
	}
	net_serve_all(net);
}

static void net_enable_ring(struct net *net, unsigned int guest_index)
{
	struct net_queue *q = net_guest_queue(net, guest_index);
	struct error err = { 0 };

	if (!q || net_path_failed(&net->path))
		return;
	if (net_find_queue(net, q, &err) < 0) {
		net_path_fail(&net->path, "%s", err.text);
		return;
	}
	net_queue_attach(q, &net->loop);
	net_serve_all(net);
	net_return_later(net);
}

static int net_queue_reset_call(struct net *net, void *arg)
{
	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	net_reset_ring(net, *(unsigned int *)arg);
	return 0;
}

static void net_queue_reset(struct virtio_pci *v, unsigned int index)
{
	net_call(container_of(v, struct net, virtio), net_queue_reset_call, &index);
}

static int net_queue_enable_call(struct net *net, void *arg)
{
	net_enable_ring(net, *(unsigned int *)arg);
	return 0;
}

static void net_queue_enable(struct virtio_pci *v, unsigned int index)
{
	net_call(container_of(v, struct net, virtio), net_queue_enable_call, &index);
}

static int net_queue_vector_call(struct net *net, void *arg)
{
	struct net_queue *q =
		net->phase == NET_PHASE_PASS ? net_guest_queue(net, *(unsigned int *)arg) : NULL;
	struct error err = { 0 };

	if (q && q != net->ctrl.queue && net_pass_set_vector(net->backend.vdpa, q, &err) < 0)
		net_path_fail(&net->path, "the device does not take another interrupt for queue %u: %s",
			      q->guest_index, err.text);
	return 0;
}

static void net_queue_vector(struct virtio_pci *v, unsigned int index)
{
	net_call(container_of(v, struct net, virtio), net_queue_vector_call, &index);
}

static void net_config_read(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len)
{
	net_space_read(&container_of(v, struct net, virtio)->space, offset, data, len);
}

static bool net_features_ok(struct virtio_pci *v, uint64_t features)
{
	return net_features_consistent(features) == features;
}

const struct virtio_ops net_virtio_ops = {
	.config_read = net_config_read,
	.features_ok = net_features_ok,
	.driver_ok = net_driver_ok,
	.reset = net_reset,
	.queue_reset = net_queue_reset,
	.queue_enable = net_queue_enable,
	.queue_vector = net_queue_vector,
};
