/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device started, ended, and started again. */
#include "devices/net/start.h"

#include <errno.h>

#include "devices/net/ctrl.h"
#include "devices/net/forward.h"
#include "devices/net/passthrough.h"
#include "devices/net/replay.h"
#include "devices/net/serve.h"
#include "devices/net/stats.h"
#include "vmm/mac.h"

/* Ferry accepts these from the device whenever it offers them, whatever the guest has: addresses are between
 * the two. */
#define NET_DEVICE_FEATURES (VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM))

static uint64_t net_device_features(const struct net *net)
{
	const uint64_t ring = VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	uint64_t features = net->path.features, own = NET_DEVICE_FEATURES;

	/* The guest's rings may become the device's, without another negotiation. */
	if (!(net->pins & NET_PIN_DEVICE) && !net_pass_misfit(net->backend.vdpa, features))
		own |= features & ring;
	else
		own |= ring;
	/* Otherwise format, event suppression, indirect tables, order and resets of the guest's rings say
	 * nothing about the device's. */
	features &= ~(VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_IN_ORDER) |
		      VIRTIO_BIT(VIRTIO_F_RING_RESET) | ring);
	return net->backend.vdpa->features & (features | own);
}

/* Bounds the control queue's size. Sizes were asked for with the control queue behind all pairs. Without MQ
 * its number is that of a pair's queue, and it may still take no more than before: QEMU's NIC wants a reset
 * then. */
static int net_ctrl_size(const struct net *net, uint16_t *size, struct error *err)
{
	*size = (uint16_t)min_u64(*size, net->queues[2 * net->device_max_pairs].device_size);
	/* A command takes two descriptors. */
	if (*size < 2) {
		error_add(err, "%s: the control queue has a ring of %u entries", net->backend.vdpa->name,
			  *size);
		return -EINVAL;
	}
	return 0;
}

int net_set_queue(struct net *net, struct net_queue *q, enum net_rings rings, struct error *err)
{
	uint16_t size = net->queues[q->device_index].device_size;
	struct vdpa_vring vring;
	int ret = 0;

	if (q == net->ctrl.queue)
		ret = net_ctrl_size(net, &size, err);
	else if (rings == NET_RINGS_GUEST) {
		vring = net_pass_vring(q);
		return net_backend_set_ring(&net->backend, q->device_index, &vring, err);
	}
	if (ret == 0)
		ret = net_queue_shadow(q, size, net->backend.features, &vring, err);
	return ret < 0 ? ret : net_backend_set_ring(&net->backend, q->device_index, &vring, err);
}

static int net_start_queue(struct net *net, struct net_queue *q, enum net_rings rings, struct error *err)
{
	int ret = net_set_queue(net, q, rings, err);

	if (ret == 0 && loop_add(&net->loop, &q->call, NET_QUEUE_EVENTS) < 0) {
		error_add(err, "cannot watch a queue's call");
		ret = -ENOMEM;
	}
	return ret;
}

/* The record of a device that has just been started. Its MAC address can differ from the one that the guest
 * has been shown. */
static int net_store_default(struct net *net, struct error *err)
{
	uint8_t guest_mac[6], mac[6];
	int ret;

	cvq_reset(&net->ctrl.store);
	if (!virtio_has(net->path.features, VIRTIO_NET_F_MAC))
		return 0;
	ret = net->backend.vdpa->ops->get_config(net->backend.vdpa, 0, mac, sizeof(mac), err);
	if (ret < 0)
		return ret;
	if (virtio_has(net->path.features, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
		cvq_set_mac(&net->ctrl.store, mac);
		return 0;
	}
	net_space_get_mac(&net->space, guest_mac);
	/* A device without one does not tell this guest's packets by it, or lets none through: no address
	 * that Ferry could have chosen is better. */
	if (memcmp(mac, guest_mac, sizeof(mac)) == 0 || (net->space.chosen_mac && !mac_valid(mac)))
		return 0;
	error_add(err,
		  "the guest's MAC address is " MAC_FORMAT ", the device's is " MAC_FORMAT
		  " and cannot be set by this driver (%s)",
		  MAC_ARGS(guest_mac), MAC_ARGS(mac), net->backend.vdpa->advice.mac);
	return -EINVAL;
}

static int net_go_live(struct net *net, struct error *err)
{
	struct net_queue *q;
	int ret = net_backend_go_live(&net->backend, err);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++)
		net_queue_kick_device(q);
	return 0;
}

int net_start(struct net *net, enum net_rings rings, int (*fill)(struct net *net, struct error *err),
	      struct error *err)
{
	struct net_backend *b = &net->backend;
	struct net_queue *q;
	int ret = net_backend_begin(b, net_device_features(net),
				    rings == NET_RINGS_GUEST ? NET_MAP_MEMORY : NET_MAP_WINDOW, err);

	if (ret == 0 && net->ctrl.queue)
		ret = net_backend_part(b, net->ctrl.queue->device_index, err);
	for (unsigned int i = 0; ret == 0 && (q = net_nth_queue(net, i)); i++)
		ret = net_start_queue(net, q, rings, err);
	if (ret == 0)
		ret = b->vdpa->ops->set_config_call(b->vdpa, net->config_call.fd, err);
	if (ret == 0 && fill)
		ret = fill(net, err);
	if (ret == 0)
		ret = net_go_live(net, err);
	if (ret == 0)
		ret = net_store_default(net, err);
	if (ret < 0)
		net_stop(net);
	else
		/* The link can have changed while nobody was to be told. */
		loop_signal(net->config_call.fd);
	return ret;
}

/* Takes down what was made for a device that has been reset. */
static void net_take_down(struct net *net)
{
	struct net_queue *q;

	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++) {
		net_pass_close_doorbell(q);
		/* Nothing is taken back where starting failed before the call was watched. */
		loop_del(&net->loop, &q->call);
		net_queue_forget(q);
	}
	net_ctrl_forget(&net->ctrl);
	net_backend_end(&net->backend);
}

void net_stop(struct net *net)
{
	struct error err = { 0 };

	if (!net->backend.started)
		return;
	if (net_backend_reset(&net->backend, &err) < 0)
		log_limited(&net->log_limit, LOG_ERROR, "%s: cannot reset the device: %s", net->name,
			    err.text);
	net_take_down(net);
}

bool net_can_rewind(const struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (!net_queue_can_rewind(&net->queues[i]))
			return false;
	}
	return true;
}

enum net_step net_rings_step(enum net_rings rings)
{
	return rings == NET_RINGS_GUEST ? NET_STEP_PASS : NET_STEP_SHADOW;
}

int net_apply(struct net *net, struct error *err)
{
	int ret = net_replay(&net->ctrl, err);

	/* Packets that came before the device steered them are steered anew. */
	if (ret == 0)
		net_queue_kick_receivers(net->queues);
	return ret;
}

int net_start_again(struct net *net, enum net_rings rings, struct error *err)
{
	bool early;
	int ret;

	net_take_down(net);
	if (!net_can_rewind(net))
		rings = NET_RINGS_SHADOW;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];

		if (rings == NET_RINGS_GUEST)
			net_queue_rewind(q);
		q->n_held = 0;
		if (q->held)
			net_queue_hold_in_flight(q);
	}
	/* Packets that came before the device knew the guest's offloads are not for this guest. */
	early = cvq_is_set(&net->ctrl.store, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
			   VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET);
	net->ctrl.target = net->ctrl.store;
	ret = net_start(net, rings, rings == NET_RINGS_GUEST ? NULL : net_fill, err);
	if (ret == 0)
		ret = net_apply(net, err);
	if (ret < 0)
		return ret;
	/* Nor can they be kept from it where the device has put them into its own rings. */
	for (unsigned int i = 0; early && rings == NET_RINGS_SHADOW && i < net->path.n_data; i += 2)
		net_queue_take_back(&net->queues[i]);
	net_stats_go_on(&net->ctrl);
	net_step(net, net_rings_step(rings));
	return 0;
}

int net_restart(struct net *net, enum net_rings rings, struct error *err)
{
	int ret = net_backend_reset(&net->backend, err);

	if (ret < 0)
		return ret;
	/* Packets that the device has sent by its end are done: held as well they would go out twice. */
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (net->queues[i].held)
			net_queue_complete(&net->queues[i]);
	}
	if (net_path_failed(&net->path)) {
		error_add(err, "the device gave a wrong buffer back");
		return -EIO;
	}
	return net_start_again(net, rings, err);
}
