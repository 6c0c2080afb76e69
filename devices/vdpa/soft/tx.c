/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transmission of the NIC in software: see the header. */
#include "devices/vdpa/soft/tx.h"

#include <errno.h>

/* Steering looks at this much of a frame: Ethernet, VLAN tags, IPv6 with an extension header or two, and
 * ports. */
#define TX_PEEK 128u

/* Sets @iov to the pieces of a chain's readable part behind its first @skip bytes. Returns their number, or 0
 * if there are more than @max. */
static unsigned int soft_gather(const struct soft_queue *q, const struct vring_chain *chain, uint32_t skip,
				struct iovec *iov, unsigned int max)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < chain->n_read; i++) {
		const struct virtio_seg *s = &chain->segs[i];

		if (skip >= s->len) {
			skip -= s->len;
			continue;
		}
		if (n == max)
			return 0;
		iov[n].iov_base = memory_at(q->vring.mem, s->addr + skip, s->len - skip);
		iov[n++].iov_len = s->len - skip;
		skip = 0;
	}
	return n;
}

static void soft_count_tx(struct soft_queue *q, const struct virtio_net_hdr_v1 *hdr, uint32_t len)
{
	uint64_t *c = q->counters;

	c[SOFT_PACKETS]++;
	c[SOFT_BYTES] += len;
	c[hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? SOFT_TX_NEEDS_CSUM : SOFT_TX_CSUM_NONE]++;
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return;
	c[SOFT_TX_GSO_PACKETS]++;
	c[SOFT_TX_GSO_BYTES] += len;
	/* The next hop of the network cuts the packet up: count the segments that there will be. */
	if (hdr->gso_size > 0 && len > hdr->hdr_len) {
		c[SOFT_TX_GSO_SEGMENTS] += (len - hdr->hdr_len + hdr->gso_size - 1u) / hdr->gso_size;
		c[SOFT_TX_GSO_SEGMENT_BYTES] += len;
	}
}

static bool soft_header_ok(const struct soft *soft, const struct virtio_net_hdr_v1 *hdr)
{
	if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !virtio_has(soft->features, VIRTIO_NET_F_CSUM))
		return false;
	return soft_gso_to_device(hdr->gso_type, soft->features);
}

static bool soft_chain_ok(const struct soft *soft, const struct soft_queue *q,
			  const struct vring_chain *chain, struct virtio_net_hdr_v1 *hdr)
{
	return chain->n_write == 0 && chain->read_len >= soft->header_len + SOFT_MIN_FRAME &&
	       chain->read_len <= soft->header_len + SOFT_PACKET_MAX - SOFT_PORT_HEADER &&
	       vring_chain_read(q->vring.mem, chain, 0, hdr, sizeof(*hdr)) == sizeof(*hdr) &&
	       soft_header_ok(soft, hdr);
}

/* Sends the packets of the batch and gives their chains back. Returns as the port's send(). */
static int soft_flush(struct soft *soft, struct soft_queue *q)
{
	struct soft_batch *b = &soft->batch;
	int ret = b->n ? soft_port_send(soft->port, q->index / 2, b->out, b->n) : 0;

	for (unsigned int i = 0; i < b->n; i++) {
		if (b->out[i].sent)
			soft_count_tx(q, &b->hdr[i], b->lens[i]);
		else
			q->counters[SOFT_DROPS]++;
		vring_push(&q->vring, b->heads[i], 0);
	}
	b->n = b->n_iov = 0;
	return ret;
}

static void soft_learn(struct soft *soft, const struct soft_queue *q, const struct vring_chain *chain)
{
	uint8_t frame[TX_PEEK];
	uint32_t peeked = vring_chain_read(q->vring.mem, chain, soft->header_len, frame, sizeof(frame));

	soft_steering_learn(&soft->steering, q->index / 2, frame, peeked);
}

/* Adds a packet to the batch. Returns false if the batch has no room for another. */
static bool soft_add(struct soft *soft, struct soft_queue *q, const struct vring_chain *chain,
		     const struct virtio_net_hdr_v1 *hdr)
{
	struct soft_batch *b = &soft->batch;
	struct iovec *iov = b->iov + b->n_iov;
	unsigned int n = soft_gather(q, chain, soft->header_len, iov + 1, SOFT_MAX_IOV - 1);
	bool room = n > 0;

	b->lens[b->n] = chain->read_len - soft->header_len;
	if (n == 0) {
		/* The packet has too many pieces for one call, so it is copied to where one packet finds
		 * room. */
		iov[1].iov_base = soft->packet;
		iov[1].iov_len =
			vring_chain_read(q->vring.mem, chain, soft->header_len, soft->packet, b->lens[b->n]);
		n = 1;
	}
	b->hdr[b->n] = *hdr;
	b->hdr[b->n].num_buffers = 0;
	iov[0] = (struct iovec){ &b->hdr[b->n], sizeof(*hdr) };
	b->heads[b->n] = chain->head;
	b->out[b->n++] = (struct soft_out){ .iov = iov, .n_iov = n + 1 };
	b->n_iov += n + 1;
	return room && b->n < soft->port->batch && b->n_iov + SOFT_MAX_IOV <= ARRAY_SIZE(b->iov);
}

/* Has the packet of a chain sent, at once or with those that follow. Returns as the port's send(). */
static int soft_send(struct soft *soft, struct soft_queue *q, const struct vring_chain *chain)
{
	struct virtio_net_hdr_v1 hdr;
	int ret;

	if (!soft_chain_ok(soft, q, chain, &hdr)) {
		/* Chains are given back in their order. */
		ret = soft_flush(soft, q);
		q->counters[SOFT_DROPS]++;
		q->counters[SOFT_TX_MALFORMED]++;
		vring_push(&q->vring, chain->head, 0);
		return ret;
	}
	if (soft_steering_learns(&soft->steering))
		soft_learn(soft, q, chain);
	return soft_add(soft, q, chain, &hdr) ? 0 : soft_flush(soft, q);
}

/* Whether an error of a packet says more than that this packet is lost. */
static bool soft_is_down(int ret)
{
	return ret == -ENETDOWN || ret == -ENODEV;
}

int soft_tx(struct soft *soft, struct soft_queue *q)
{
	struct vring_chain chain;
	int ret = 0, port = 0;
	uint32_t n = 0;

	/* A queue that is not enabled keeps its packets. */
	if (q->index / 2 >= soft->steering.n_tx)
		return 0;
	do {
		int sent;

		vring_disable_kicks(&q->vring);
		while (n < SOFT_BURST && (ret = vring_pop(&q->vring, &chain)) == 1) {
			sent = soft_send(soft, q, &chain);
			if (soft_is_down(sent))
				port = sent;
			n++;
		}
		sent = soft_flush(soft, q);
		if (soft_is_down(sent))
			port = sent;
		if (n == SOFT_BURST) {
			/* A thread that looks sees the rest by itself. */
			if (!soft->looking)
				soft_queue_again(q);
			break;
		}
	} while (ret == 0 && !soft->looking && vring_enable_kicks(&q->vring));
	soft->moved |= n > 0;
	if (n > 0 && soft->faults.bad_data_id)
		soft_queue_spoil(q);
	soft_queue_publish(q, n);
	return port;
}
