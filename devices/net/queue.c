/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue's two rings: the guest's is found, watched and let go, the shadow ring made and shown to the
 * device. */
#include "devices/net/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/pci_ring.h"
#include "devices/virtio/vring_handover.h"

/* Receive buffers that surely take the longest packet: no buffer that drivers use for such packets is under 1
 * KiB. */
#define NET_ENOUGH_BUFFERS 64u

void net_queue_kick_receivers(struct net_queue *queues)
{
	for (unsigned int i = 0; i < queues[0].path->n_data; i += 2) {
		/* The kicks of a ring that the device shares with the guest are the guest's. */
		if (queues[i].svq.size > 0)
			net_queue_kick_device(&queues[i]);
	}
}

void net_queue_publish(struct net_queue *q)
{
	unsigned int n_had = svq_n_visible(&q->svq);

	if (!svq_publish(&q->svq))
		return;
	/*
	 * A device that wants to be told of a ring which has run low may have a packet of any queue for it.
	 */
	if (net_is_rx(q) && n_had < NET_ENOUGH_BUFFERS)
		net_queue_kick_receivers(q->siblings);
	else
		net_queue_kick_device(q);
}

int net_ring_find(const struct net_path *path, uint64_t features, unsigned int guest_index,
		  const struct virtio_pci_place *place, struct net_ring *ring, struct error *err)
{
	int ret;

	*ring = (struct net_ring){ 0 };
	if (!place->enabled)
		return 0;
	ret = virtio_pci_find_ring(&ring->vring, path->memory, guest_index, place, features, err);
	if (ret < 0)
		return ret;
	ring->held = calloc(place->size, sizeof(*ring->held));
	if (ring->held)
		return 0;
	vring_exit(&ring->vring);
	error_add(err, "out of memory for queue %u", guest_index);
	return -ENOMEM;
}

void net_ring_drop(struct net_ring *ring)
{
	vring_exit(&ring->vring);
	free(ring->held);
	*ring = (struct net_ring){ 0 };
}

void net_queue_take_ring(struct net_queue *q, struct net_ring *ring)
{
	q->vring = ring->vring;
	q->held = ring->held;
	*ring = (struct net_ring){ 0 };
}

void net_queue_attach(struct net_queue *q, struct loop *loop)
{
	if (!q->held)
		return;
	q->attached = loop_add(loop, &q->kick, NET_QUEUE_EVENTS) == 0;
	if (!q->attached)
		net_path_fail(q->path, "cannot watch the kicks of queue %u", q->guest_index);
}

void net_queue_unwatch(struct net_queue *q, struct loop *loop)
{
	if (q->attached)
		loop_del(loop, &q->kick);
	q->attached = false;
}

void net_queue_detach(struct net_queue *q, struct loop *loop)
{
	net_queue_unwatch(q, loop);
	q->full = false;
	q->n_held = 0;
	vring_exit(&q->vring);
	q->vring = (struct vring){ 0 };
	free(q->held);
	q->held = NULL;
}

void net_queue_hold_in_flight(struct net_queue *q)
{
	for (int head = vring_next_in_flight(&q->vring, -1); head >= 0;
	     head = vring_next_in_flight(&q->vring, head))
		q->held[q->n_held++] = (uint16_t)head;
}

int net_queue_shadow(struct net_queue *q, uint16_t size, uint64_t features, struct vdpa_vring *vring,
		     struct error *err)
{
	const struct net_window *w = &q->path->window;
	uint8_t *mem = w->hva + q->ring_offset;
	int ret;

	memset(mem, 0, svq_bytes(size));
	ret = svq_init(&q->svq, mem, w->iova + q->ring_offset, size,
		       virtio_has(features, VIRTIO_RING_F_EVENT_IDX));
	if (ret == 0 && virtio_has(features, VIRTIO_RING_F_INDIRECT_DESC))
		ret = svq_use_tables(&q->svq, w->hva + q->table_offset, w->iova + q->table_offset);
	if (ret < 0) {
		error_add(err, "out of memory for a shadow ring of %u entries", size);
		return ret;
	}
	*vring = (struct vdpa_vring){
		.size = size,
		.desc = q->svq.desc_iova,
		.avail = q->svq.avail_iova,
		.used = q->svq.used_iova,
		.kick_fd = q->device_kick,
		.call_fd = q->call.fd,
	};
	return 0;
}

bool net_queue_can_rewind(const struct net_queue *q)
{
	/* A packet that scratch buffers have caught in part is in none of the guest's yet. */
	return q->held && q->scratch.left == 0 && q->scratch.to_drop == 0 && vring_can_rewind(&q->vring);
}

void net_queue_rewind(struct net_queue *q)
{
	vring_rewind(&q->vring);
	q->n_held = 0;
	q->full = false;
}
