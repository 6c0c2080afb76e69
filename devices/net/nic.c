/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queues and limits that follow from negotiated features, and the link as the guest sees it. */
#include "devices/net/nic.h"

static bool net_has_pairs(uint64_t features)
{
	return features & (VIRTIO_BIT(VIRTIO_NET_F_MQ) | VIRTIO_BIT(VIRTIO_NET_F_RSS));
}

static void net_plan_queue(struct net *net, struct net_queue *q, unsigned int guest_index,
			   unsigned int device_index)
{
	q->guest_index = guest_index;
	q->device_index = device_index;
	q->kick.fd = net->virtio.queues[guest_index].kick_fd;
}

unsigned int net_n_data(const struct net *net, uint64_t features)
{
	return net_has_pairs(features) ? 2 * net->max_pairs : 2;
}

/* Index of the control queue on the device (section "Virtqueues"): it follows the most pairs there can be,
 * and the device may have more than the guest sees. */
static unsigned int net_device_ctrl(const struct net *net, uint64_t features)
{
	return net_has_pairs(features) ? 2 * net->device_max_pairs : 2;
}

struct cvq_limits net_limits(const struct net *net, uint64_t features)
{
	struct cvq_limits limits = net_space_limits(&net->space, features);

	limits.max_pairs = (uint16_t)(net_n_data(net, features) / 2);
	if (virtio_has(features, VIRTIO_NET_F_CTRL_VQ))
		limits.device_ctrl = (uint16_t)net_device_ctrl(net, features);
	return limits;
}

void net_plan(struct net *net, uint64_t features)
{
	net->path.features = features;
	net->path.n_data = net_n_data(net, features);
	for (unsigned int i = 0; i < net->path.n_data; i++)
		net_plan_queue(net, &net->queues[i], i, i);
	net->ctrl.queue = NULL;
	if (virtio_has(features, VIRTIO_NET_F_CTRL_VQ)) {
		net->ctrl.queue = &net->queues[net->n_slots - 1];
		net_plan_queue(net, net->ctrl.queue, net->path.n_data, net_device_ctrl(net, features));
	}
	net->path.header_len = virtio_has(features, VIRTIO_NET_F_HASH_REPORT)
				       ? sizeof(struct virtio_net_hdr_v1_hash)
				       : sizeof(struct virtio_net_hdr_v1);
	net->ctrl.limits = net_limits(net, features);
}

struct net_queue *net_nth_queue(struct net *net, unsigned int n)
{
	if (n < net->path.n_data)
		return &net->queues[n];
	return n == net->path.n_data ? net->ctrl.queue : NULL;
}

struct net_queue *net_guest_queue(struct net *net, unsigned int guest_index)
{
	struct net_queue *q;

	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++) {
		if (q->guest_index == guest_index)
			return q;
	}
	return NULL;
}
