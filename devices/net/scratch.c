/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receive buffers of a destination whose guest has not arrived. */
#include "devices/net/scratch.h"

#include <errno.h>
#include <stdlib.h>

/* Each receive queue's, together enough for the longest packet in mergeable buffers. */
#define NET_SCRATCH_PAGES 20u
_Static_assert(NET_SCRATCH_PAGES *PAGE_SIZE >= NET_MAX_PACKET,
	       "a packet must fit, or it would stay before the device");

uint64_t net_scratch_bytes(void)
{
	return NET_SCRATCH_PAGES * PAGE_SIZE;
}

/* Length of a buffer: the device may fill one alone only if the driver has mergeable buffers ("Setting Up
 * Receive Buffers"). */
static uint32_t net_scratch_len(const struct net_path *path)
{
	const uint64_t big = VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) |
			     VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) |
			     VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) | VIRTIO_BIT(VIRTIO_NET_F_MTU);

	if (!virtio_has(path->features, VIRTIO_NET_F_MRG_RXBUF) && path->features & big)
		return NET_MAX_PACKET;
	return PAGE_SIZE;
}

static int net_scratch_add(struct net_queue *q, uint32_t n)
{
	uint32_t len = net_scratch_len(q->path);
	struct virtio_seg seg = { q->path->window.iova + q->scratch.offset + (uint64_t)n * len, len };

	return svq_add(&q->svq, &seg, 0, 1, net_token(NET_OWNER_SCRATCH, n));
}

int net_scratch_post(struct net_queue *q, struct error *err)
{
	uint32_t n_each = (uint32_t)(net_scratch_bytes() / net_scratch_len(q->path));

	/*
	 * A packet may take more of the guest's chains than of these, or fewer: those that remain would come
	 * behind what the device has by then. Where they must not, the device has nothing before the guest
	 * has come, and drops what it gets.
	 */
	if (virtio_has(q->path->features, VIRTIO_F_IN_ORDER))
		return 0;
	q->scratch.gather = malloc(NET_MAX_PACKET);
	if (!q->scratch.gather) {
		error_add(err, "out of memory for receive buffers");
		return -ENOMEM;
	}
	for (uint32_t n = 0; n < n_each && net_scratch_add(q, n) == 0; n++)
		q->scratch.n++;
	net_queue_publish(q);
	return 0;
}

void net_scratch_stop(struct net_queue *q)
{
	free(q->scratch.gather);
	q->scratch = (struct net_scratch){ .offset = q->scratch.offset };
}

/* How many of the held chains take the gathered packet; 0 if they do not suffice. */
static uint32_t net_scratch_chains(struct net_queue *q)
{
	bool merge = virtio_has(q->path->features, VIRTIO_NET_F_MRG_RXBUF);
	uint64_t room = 0;

	for (uint32_t n = 0; n < q->n_held; n++) {
		struct vring_chain chain;

		if (vring_reread(&q->vring, q->held[n], &chain) < 0)
			return 0;
		room += chain.write_len;
		if (room >= q->scratch.gathered)
			return n + 1;
		if (!merge)
			return 0;
	}
	return 0;
}

/*
 * Hands the gathered packet to the guest; @n_more buffers of its own with the rest follow. False: it does not
 * fit and is dropped, as a NIC without buffers does.
 */
static bool net_scratch_deliver(struct net_queue *q, uint32_t n_more)
{
	uint32_t n_chains = q->scratch.gathered >= q->path->header_len ? net_scratch_chains(q) : 0;
	uint32_t from = 0;

	if (n_chains == 0)
		return false;
	if (virtio_has(q->path->features, VIRTIO_NET_F_MRG_RXBUF))
		put_le16(q->scratch.gather + offsetof(struct virtio_net_hdr_v1, num_buffers),
			 (uint16_t)(n_chains + n_more));
	for (uint32_t n = 0; n < n_chains; n++) {
		struct vring_chain chain;
		uint32_t done = 0;

		if (vring_reread(&q->vring, q->held[n], &chain) == 1)
			done = vring_chain_write(q->path->memory, &chain, 0, q->scratch.gather + from,
						 q->scratch.gathered - from);
		vring_push(&q->vring, q->held[n], done);
		from += done;
	}
	q->n_held -= n_chains;
	memmove(q->held, q->held + n_chains, q->n_held * sizeof(q->held[0]));
	return true;
}

/* Buffers of the packet that begins with @data, never more than the ring has. */
static uint32_t net_scratch_n_buffers(const struct net_queue *q, const uint8_t *data, uint32_t len)
{
	uint16_t n;

	if (!virtio_has(q->path->features, VIRTIO_NET_F_MRG_RXBUF) || len < sizeof(struct virtio_net_hdr_v1))
		return 1;
	n = get_le16(data + offsetof(struct virtio_net_hdr_v1, num_buffers));
	return n >= 1 && n <= q->svq.size ? n : 1;
}

void net_scratch_used(struct net_queue *q, const struct svq_used *used)
{
	uint32_t n = (uint32_t)used->token, len = used->len;
	const uint8_t *data =
		q->path->window.hva + q->scratch.offset + (uint64_t)n * net_scratch_len(q->path);

	if (!q->attached) {
		/* A packet from before the guest arrived is stale. The element just completed left room. */
		if (net_scratch_add(q, n) < 0)
			q->scratch.n--;
		return;
	}
	q->scratch.n--;
	if (q->scratch.left == 0) {
		q->scratch.gathered = 0;
		q->scratch.left = net_scratch_n_buffers(q, data, len);
	}
	q->scratch.left--;
	len = (uint32_t)min_u64(len, NET_MAX_PACKET - q->scratch.gathered);
	memcpy(q->scratch.gather + q->scratch.gathered, data, len);
	q->scratch.gathered += len;
	if (q->scratch.left == 0)
		net_scratch_deliver(q, 0);
}

bool net_scratch_passes(struct net_queue *q)
{
	if (q->scratch.left > 0) {
		/* The device had no more scratch buffers for this packet. */
		if (!net_scratch_deliver(q, q->scratch.left))
			q->scratch.to_drop = q->scratch.left;
		q->scratch.left = 0;
	}
	if (q->scratch.to_drop == 0)
		return true;
	q->scratch.to_drop--;
	return false;
}
