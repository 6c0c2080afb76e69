/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A NIC's state as it comes to a destination: all of it is read and checked before any of it reaches the
 * device, the transport or a ring. */
#include "devices/net/arrive.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/net/cvq/replay.h"
#include "devices/net/cvq/state.h"
#include "devices/net/life.h"
#include "devices/net/features.h"
#include "devices/net/mac.h"
#include "devices/net/serve.h"
#include "devices/net/start.h"
#include "devices/net/stats.h"
#include "devices/virtio/pci_state.h"

/* The warm state comes ahead of the guest, again and again, and once more with it. */
struct net_warm {
	bool active;
	uint64_t generation, features;
	uint64_t stats_types;
	uint8_t mac[6];
	struct cvq_store store;
};

struct net_arrival {
	struct net_warm warm;
	bool announcing;
	struct virtio_pci_loaded virtio;
	struct cvq_stats stats;
	struct net_ring rings[2 * NET_MAX_PAIRS + 1]; /* by slot */
};

/* Reading: nothing of the NIC changes */

/* The statistics that the guest has been told of, if it has asked. */
static int net_read_stats_types(struct net *net, struct net_warm *warm, const struct cvq_limits *limits,
				struct state_node *node)
{
	uint64_t types = 0;

	if (state_has(node, "statistics") && state_get_u64(node, "statistics", 1, UINT64_MAX, &types) < 0)
		return -EINVAL;
	if (types & ~cvq_stats_types(limits) ||
	    (types && !virtio_has(warm->features, VIRTIO_NET_F_DEVICE_STATS))) {
		error_add(node->err,
			  "%s: the guest cannot have statistics of types 0x%llx with features 0x%llx",
			  net->name, (unsigned long long)types, (unsigned long long)warm->features);
		return -EINVAL;
	}
	warm->stats_types = types;
	return 0;
}

/* Reads what net_put_warm() of the source has written. */
static int net_read_warm(struct net *net, struct net_warm *warm, struct state_node *node)
{
	struct cvq_limits limits;
	struct state_node cvq;
	uint32_t active;

	if (state_get_u32(node, "active", 0, 1, &active) < 0)
		return -EINVAL;
	warm->active = active;
	if (!active)
		return state_finish(node);
	if (state_get_u64(node, "generation", 0, UINT64_MAX, &warm->generation) < 0 ||
	    state_get_u64(node, "features", 0, UINT64_MAX, &warm->features) < 0 ||
	    state_get_bytes(node, "mac", warm->mac, sizeof(warm->mac)) < 0 ||
	    state_child(&cvq, node, "cvq") < 0)
		return -EINVAL;
	if (net_features_check(net->name, "uses", warm->features, net->offered, net->backend.vdpa->name,
			       node->err) < 0)
		return -ENOTSUP;
	if (net_features_consistent(warm->features) != warm->features) {
		error_add(node->err, "%s: features 0x%llx do not hold together", net->name,
			  (unsigned long long)warm->features);
		return -EINVAL;
	}
	if (net_mac_check(net->name, "MAC address", warm->mac, net->offered, node->err) < 0)
		return -EINVAL;
	if (net_path_failed(&net->path)) {
		error_add(node->err, "%s: %s has stopped working", net->name, net->backend.vdpa->name);
		return -EIO;
	}
	limits = net_limits(net, warm->features);
	if (net_read_stats_types(net, warm, &limits, node) < 0 ||
	    cvq_load(&warm->store, net->ctrl.cmd, &limits, &cvq) < 0 || state_finish(&cvq) < 0)
		return -EINVAL;
	return state_finish(node);
}

/* Whether the transport's state and the NIC's describe the same driver. */
static int net_check_status(struct net *net, const struct net_arrival *a, struct error *err)
{
	uint32_t status = a->virtio.status;

	if (!a->warm.active) {
		/* A driver that had to reset its device still has to. */
		if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
			error_add(err, "%s: the driver has status 0x%x, and its device was never started",
				  net->name, status);
			return -EINVAL;
		}
		return 0;
	}
	if (a->announcing && !virtio_has(a->warm.features, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
		error_add(err, "%s: the guest is to announce itself, and has no VIRTIO_NET_F_GUEST_ANNOUNCE",
			  net->name);
		return -EINVAL;
	}
	if (!(status & VIRTIO_CONFIG_S_DRIVER_OK) || a->virtio.accepted != a->warm.features) {
		error_add(err, "%s: status 0x%x with features 0x%llx does not go with features 0x%llx",
			  net->name, status, (unsigned long long)a->virtio.accepted,
			  (unsigned long long)a->warm.features);
		return -EINVAL;
	}
	return 0;
}

static int net_read_stats(struct net *net, struct net_arrival *a, struct state_node *node)
{
	const struct cvq_limits limits = net_limits(net, a->warm.features);
	struct state_node child;

	a->stats.types = a->warm.stats_types;
	if (a->stats.types == 0)
		return 0;
	if (state_child(&child, node, "statistics") < 0 || cvq_stats_load(&a->stats, &limits, &child) < 0 ||
	    state_finish(&child) < 0)
		return -EINVAL;
	return 0;
}

static int net_read_rings(struct net *net, struct net_arrival *a, struct state_node *node)
{
	uint64_t features = a->warm.features;
	unsigned int n_data = net_n_data(net, features);
	unsigned int n = n_data + virtio_has(features, VIRTIO_NET_F_CTRL_VQ);
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < n; i++) {
		struct net_ring *ring = &a->rings[i < n_data ? i : net->n_slots - 1];
		struct state_node child;

		ret = net_ring_find(&net->path, features, i, &a->virtio.queues[i], ring, node->err);
		if (ret < 0 || !ring->held)
			continue;
		ret = state_child_indexed(&child, node, "ring", i);
		if (ret == 0)
			ret = vring_load(&ring->vring, &child);
		if (ret == 0)
			ret = state_finish(&child);
	}
	return ret;
}

static int net_read_arrival(struct net *net, struct net_arrival *a, struct state_node *node)
{
	struct state_node warm;
	uint32_t announcing;

	if (state_get_u32(node, "announcing", 0, 1, &announcing) < 0 ||
	    state_child(&warm, node, "warm") < 0 || net_read_warm(net, &a->warm, &warm) < 0 ||
	    virtio_pci_get(&net->virtio, node, &a->virtio) < 0)
		return -EINVAL;
	a->announcing = announcing;
	if (net_check_status(net, a, node->err) < 0)
		return -EINVAL;
	if (a->warm.active && (net_read_stats(net, a, node) < 0 || net_read_rings(net, a, node) < 0))
		return -EINVAL;
	return state_finish(node);
}

/* Applying: from here on only the device can say no */

/* A device with other features, or for a driver that has begun anew, cannot be reached by commands. */
static int net_warm_start(struct net *net, const struct net_warm *warm, struct error *err)
{
	int ret;

	if (net->phase == NET_PHASE_WARM && warm->generation == net->generation &&
	    warm->features == net->path.features)
		return 0;
	net_end(net);
	net_plan(net, warm->features);
	net->generation = warm->generation;
	ret = net_start(net, NET_RINGS_SHADOW, net_fill_scratch, err);
	if (ret == 0)
		net_step(net, NET_STEP_WARM);
	return ret;
}

/* A warm state comes ahead of the guest, or with it. */
enum net_coming { NET_COMES_AHEAD, NET_COMES_WITH_GUEST };

static int net_apply_warm(struct net *net, const struct net_warm *warm, enum net_coming coming,
			  struct error *err)
{
	int ret;

	if (!warm->active) {
		net_end(net);
		return 0;
	}
	net->ctrl.stats.types = warm->stats_types;
	net_space_set_mac(&net->space, warm->mac);
	ret = net_warm_start(net, warm, err);
	if (ret < 0)
		return ret;
	net->ctrl.target = warm->store;
	if (net->shared_switch && coming == NET_COMES_AHEAD)
		cvq_hold_back(&net->ctrl.target, &net->ctrl.store);
	ret = net_apply(net, err);
	if (ret == 0)
		ret = net_stats_check(&net->ctrl, err);
	/* The guest comes, and nothing may have been asked of the device for a while. */
	if (ret == 0 && coming == NET_COMES_WITH_GUEST)
		ret = net_backend_check_alive(&net->backend, err);
	return ret;
}

static void net_take_rings(struct net *net, struct net_arrival *a)
{
	struct net_queue *q;

	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++) {
		net_queue_take_ring(q, &a->rings[q - net->queues]);
		/* The control queue takes what is in flight from its ring by itself. */
		if (q == net->ctrl.queue)
			continue;
		net->ctrl.limits.queue_disabled[q->guest_index] = !q->held;
		if (q->held)
			net_queue_hold_in_flight(q);
	}
}

static int net_apply_arrival(struct net *net, struct net_arrival *a, struct error *err)
{
	int ret = net_apply_warm(net, &a->warm, NET_COMES_WITH_GUEST, err);

	/* Counters of none are not touched. */
	if (ret == 0 && a->stats.types != 0) {
		net->ctrl.stats = a->stats;
		ret = net_stats_rebase(&net->ctrl, UINT64_MAX, err);
	}
	if (ret < 0)
		return ret;
	virtio_pci_set(&net->virtio, &a->virtio);
	net->space.announcing = a->announcing;
	if (a->warm.active) {
		net_take_rings(net, a);
		net_step(net, NET_STEP_ARRIVE);
	} else if (a->virtio.status & VIRTIO_CONFIG_S_DRIVER_OK) {
		/* A driver that has been asked for a reset at the source, and has not made it yet. */
		net_path_fail(&net->path, "the NIC had stopped before the guest came here");
		net_step(net, NET_STEP_BREAK);
	}
	return 0;
}

/* The two operations */

/*
 * Returns room for what comes, all of it zero, or NULL: kept from the first state that comes ahead to the
 * guest's arrival, because a page that is touched for the first time costs a guest that stands still more
 * than all that is read from the state.
 */
static struct net_arrival *net_expect(struct net *net, struct error *err)
{
	if (!net->arrival)
		net->arrival = malloc(sizeof(*net->arrival));
	if (net->arrival)
		memset(net->arrival, 0, sizeof(*net->arrival));
	else
		error_add(err, "%s: out of memory for its state", net->name);
	return net->arrival;
}

void net_arrive_end(struct net *net)
{
	free(net->arrival);
	net->arrival = NULL;
}

/* Adds what the device says against the guest, with the device's name. */
static int net_refuse_arrival(struct net *net, int ret, const struct error *reason, struct error *err)
{
	if (ret < 0)
		error_add(err, "%s (%s): %s", net->name, net->backend.vdpa->name, reason->text);
	return ret;
}

int net_arrive_warm(struct net *net, struct state_node *node)
{
	struct net_arrival *a = net_expect(net, node->err);
	struct error reason = { 0 };
	int ret;

	if (!a)
		return -ENOMEM;
	net_ctrl_limit(&net->ctrl, net->ctrl.patience.warm);
	ret = net_read_warm(net, &a->warm, node);
	return ret < 0 ? ret
		       : net_refuse_arrival(net, net_apply_warm(net, &a->warm, NET_COMES_AHEAD, &reason),
					    &reason, node->err);
}

int net_arrive(struct net *net, struct state_node *node)
{
	struct net_arrival *a = net_expect(net, node->err);
	struct error reason = { 0 };
	int ret;

	if (!a)
		return -ENOMEM;
	net_ctrl_limit(&net->ctrl, net->ctrl.patience.load);
	ret = net_read_arrival(net, a, node);
	if (ret == 0)
		ret = net_refuse_arrival(net, net_apply_arrival(net, a, &reason), &reason, node->err);
	for (unsigned int i = 0; i < ARRAY_SIZE(a->rings); i++)
		net_ring_drop(&a->rings[i]);
	return ret;
}
