/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's rings: found, served, let go, and reset one by one while the others go on. */
#include "devices/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/pci_ring.h"
#include "devices/virtio/vring_handover.h"

int net_find_ring(const struct net *net, uint64_t features, unsigned int guest_index,
		  const struct virtio_pci_place *place, struct net_ring *ring, struct error *err)
{
	int ret;

	*ring = (struct net_ring){ 0 };
	if (!place->enabled)
		return 0;
	ret = virtio_pci_find_ring(&ring->vring, net->path.memory, guest_index, place, features, err);
	if (ret < 0)
		return ret;
	ring->held = calloc(place->size, sizeof(*ring->held));
	if (ring->held)
		return 0;
	vring_exit(&ring->vring);
	return error_add(err, -ENOMEM, "out of memory for queue %u", guest_index);
}

void net_drop_ring(struct net_ring *ring)
{
	vring_exit(&ring->vring);
	free(ring->held);
	*ring = (struct net_ring){ 0 };
}

void net_take_ring(struct net *net, struct net_queue *q, struct net_ring *ring)
{
	q->vring = ring->vring;
	q->held = ring->held;
	*ring = (struct net_ring){ 0 };
	if (q != net->ctrl.queue)
		net->ctrl.limits.queue_disabled[q->guest_index] = !q->held;
}

/* Where its driver has put it now. */
static int net_find_queue(struct net *net, struct net_queue *q, struct error *err)
{
	const struct virtio_pci_place place = virtio_pci_place(&net->virtio.queues[q->guest_index]);
	struct net_ring ring;
	int ret = net_find_ring(net, net->path.features, q->guest_index, &place, &ring, err);

	if (ret == 0)
		net_take_ring(net, q, &ring);
	return ret;
}

int net_find_rings(struct net *net, struct error *err)
{
	struct net_queue *q;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && (q = net_nth_queue(net, i)); i++)
		ret = net_find_queue(net, q, err);
	return ret;
}

void net_attach_ring(struct net *net, struct net_queue *q)
{
	if (!q->held || (net->passing && q != net->ctrl.queue))
		return;
	q->attached = loop_add(&net->loop, &q->kick, NET_QUEUE_EVENTS) == 0;
	if (!q->attached)
		net_path_fail(&net->path, "cannot watch the kicks of queue %u", q->guest_index);
}

void net_attach(struct net *net)
{
	struct net_queue *q;

	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++)
		net_attach_ring(net, q);
	net->path.open = true;
	if (net->passing)
		net_pass_go(net);
	net_serve_all(net);
	net_kick_receivers(net);
}

static void net_detach_ring(struct net *net, struct net_queue *q)
{
	if (q->attached)
		loop_del(&net->loop, &q->kick);
	q->attached = false;
	q->full = false;
	q->n_held = 0;
	vring_exit(&q->vring);
	q->vring = (struct vring){ 0 };
	free(q->held);
	q->held = NULL;
}

void net_detach(struct net *net)
{
	struct net_queue *q;

	net->path.open = false;
	for (unsigned int i = 0; (q = net_nth_queue(net, i)); i++)
		net_detach_ring(net, q);
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

bool net_can_rewind(const struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		const struct net_queue *q = &net->queues[i];

		/* What a packet's first buffers have caught is not in the guest's yet. */
		if (!q->held || q->scratch.left > 0 || q->scratch.to_drop > 0 || !vring_can_rewind(&q->vring))
			return false;
	}
	return true;
}

void net_rewind(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		vring_rewind(&net->queues[i].vring);
		net->queues[i].n_held = 0;
		net->queues[i].full = false;
	}
}

void net_detach_data(struct net *net)
{
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];

		if (q->attached)
			loop_del(&net->loop, &q->kick);
		q->attached = false;
	}
}

int net_start_again(struct net *net, bool pass, struct error *err)
{
	int ret;

	net_take_down(net);
	net_announce_used(net);
	net->passing = pass && net_can_rewind(net);
	if (net->passing)
		net_rewind(net);
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		net->queues[i].n_held = 0;
		if (net->queues[i].held)
			net_queue_hold_in_flight(&net->queues[i]);
	}
	net->ctrl.target = net->ctrl.store;
	ret = net_start(net, net->path.features, net_fill, err);
	if (ret == 0)
		ret = net_apply(net, err);
	if (ret == 0) {
		net_drop_early(net);
		net_stats_go_on(&net->ctrl);
	}
	return ret;
}

int net_restart(struct net *net, bool pass, struct error *err)
{
	/* What it has done by its end is done: packets that were held as well would go out twice. */
	int ret = net_reset_device(net, err);

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		if (net->queues[i].held)
			net_queue_complete(&net->queues[i]);
	}
	if (net->broken)
		return error_add(err, -EIO, "the device gave a wrong buffer back");
	return net_start_again(net, pass, err);
}

/*
 * The guest may use the buffers for something else as soon as this returns, and vDPA has no way to take a
 * single queue back: the device starts anew. Drivers do this when a ring's size is changed, not in a packet's
 * way.
 */
void net_reset_ring(struct net *net, unsigned int guest_index)
{
	struct net_queue *q = net_guest_queue(net, guest_index);
	struct error err = { 0 };

	if (!q || !q->held)
		return;
	/* Other rings go on with what the device has of them: through shadow rings, which know it. */
	if (net_path_runs(&net->path) && net_leave(net, NULL, &err) < 0)
		net_path_fail(&net->path, "cannot take queue %u back from the device: %s", guest_index,
			      err.text);
	if (net_path_runs(&net->path) && net->ctrl.queue)
		net_ctrl_drain(&net->ctrl);
	if (net_path_runs(&net->path) && q != net->ctrl.queue)
		net_queue_complete(q);
	net_detach_ring(net, q);
	if (!net_path_runs(&net->path))
		return;
	if (q != net->ctrl.queue) {
		net->ctrl.limits.queue_disabled[guest_index] = true;
		/* Before the replay: a ring that is enabled again follows the others. */
		cvq_reset_queue(&net->ctrl.store, guest_index);
		net->changes++;
	}
	net_stats_read(&net->ctrl);
	if (net_restart(net, false, &err) < 0) {
		net_path_fail(&net->path, "cannot take queue %u back from the device: %s", guest_index,
			      err.text);
		return;
	}
	net_serve_all(net);
}

void net_enable_ring(struct net *net, unsigned int guest_index)
{
	struct net_queue *q = net_guest_queue(net, guest_index);
	struct error err = { 0 };

	if (!q || net_path_failed(&net->path))
		return;
	if (net_find_queue(net, q, &err) < 0) {
		net_path_fail(&net->path, "%s", err.text);
		return;
	}
	net_attach_ring(net, q);
	net_serve_all(net);
	net_return_later(net);
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
