/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All queues of the NIC at once. */
#include "devices/net/serve.h"

#include "devices/net/ctrl.h"
#include "devices/net/forward.h"
#include "devices/net/scratch.h"

void net_attach(struct net *net)
{
	struct net_queue *q;

	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++) {
		if (net->phase != NET_PHASE_PASS || q == net->ctrl.queue)
			net_queue_attach(q, &net->loop);
	}
	net->path.open = true;
	net_serve_all(net);
	net_queue_kick_receivers(net->queues);
}

void net_detach(struct net *net)
{
	struct net_queue *q;

	net->path.open = false;
	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++)
		net_queue_detach(q, &net->loop);
}

void net_serve_all(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		net_queue_complete(&net->queues[i]);
		net_queue_forward(&net->queues[i]);
	}
	if (net->ctrl.queue) {
		net_ctrl_complete(&net->ctrl);
		net_ctrl_run(&net->ctrl);
	}
}

int net_fill(struct net *net, struct error *err)
{
	/* A guest with fewer offloads than the device begins with may have buffers back from
	 * net_queue_take_back(), behind the others: not in order, so such a device gets none early. */
	bool early = !virtio_has(net->path.features, VIRTIO_F_IN_ORDER) ||
		     !cvq_is_set(&net->ctrl.target, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
				 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET);

	for (unsigned int i = 0; early && i < net->path.n_data; i += 2)
		net_queue_fill(&net->queues[i]);
	return 0;
}

int net_fill_scratch(struct net *net, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < net->path.n_data; i += 2)
		ret = net_scratch_post(&net->queues[i], err);
	return ret;
}
