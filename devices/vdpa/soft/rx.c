/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reception of the NIC in software: see the header. */
#include "devices/vdpa/soft/rx.h"

#include <assert.h>
#include <errno.h>

_Static_assert(sizeof(struct virtio_net_hdr_v1) == SOFT_PORT_HEADER, "the port's header");
_Static_assert(SOFT_PACKET_MAX > SOFT_PORT_HEADER + 65535 + 64, "the longest packet");

/*
 * Copies the next bytes of a packet, those from @offset on, into a chain's writable part, and notes in
 * @num_buffers where the two bytes of that field lie. Returns how many bytes were copied.
 */
static uint32_t soft_fill(struct soft_queue *q, const struct vring_chain *chain, const uint8_t *packet,
			  uint32_t len, uint8_t **num_buffers, uint32_t offset)
{
	const uint32_t field = offsetof(struct virtio_net_hdr_v1, num_buffers);
	uint32_t done = 0;

	for (unsigned int i = chain->n_read; i < (unsigned int)chain->n_read + chain->n_write; i++) {
		const struct virtio_seg *s = &chain->segs[i];
		uint32_t part = (uint32_t)min_u64(s->len, len - done);
		uint8_t *p = part ? memory_at(q->vring.mem, s->addr, part) : NULL;

		if (!p)
			break;
		memcpy(p, packet + done, part);
		for (uint32_t k = 0; k < 2; k++) {
			if (field + k >= offset + done && field + k < offset + done + part)
				num_buffers[k] = p + (field + k - offset - done);
		}
		done += part;
	}
	return done;
}

/*
 * Puts a packet with the guest's header into one chain, or into as many as it takes. Returns false, and takes
 * no chain, if there is no room.
 */
static bool soft_deliver(struct soft *soft, struct soft_queue *q, const uint8_t *packet, uint32_t len)
{
	unsigned int max = virtio_has(soft->features, VIRTIO_NET_F_MRG_RXBUF) ? q->setup.size : 1, n = 0;
	uint8_t *num_buffers[2] = { NULL, NULL };
	struct vring_chain chain;
	uint32_t done = 0;

	while (done < len && n < max && vring_pop(&q->vring, &chain) == 1) {
		soft->heads[n] = chain.head;
		soft->lens[n] = soft_fill(q, &chain, packet + done, len - done, num_buffers, done);
		done += soft->lens[n++];
	}
	if (done < len) {
		while (n-- > 0)
			vring_unpop(&q->vring);
		return false;
	}
	assert(num_buffers[0] && num_buffers[1]);
	*num_buffers[0] = (uint8_t)n;
	*num_buffers[1] = (uint8_t)(n >> 8);
	for (unsigned int i = 0; i < n; i++)
		vring_push(&q->vring, soft->heads[i], soft->lens[i]);
	if (soft->faults.bad_data_id)
		soft_queue_spoil(q);
	return true;
}

static void soft_count_rx(struct soft_queue *q, const struct virtio_net_hdr_v1 *hdr, uint32_t len)
{
	uint64_t *c = q->counters;

	c[SOFT_PACKETS]++;
	c[SOFT_BYTES] += len;
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		c[SOFT_RX_NEEDS_CSUM]++;
	c[hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID ? SOFT_RX_CSUM_VALID : SOFT_RX_CSUM_NONE]++;
	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		c[SOFT_RX_GSO_PACKETS]++;
		c[SOFT_RX_GSO_BYTES] += len;
	}
}

/* Puts the guest's header in front of the frame at @frame, where there is room for it. Returns where it
 * begins. */
static uint8_t *soft_put_header(const struct soft *soft, uint8_t *frame, const struct virtio_net_hdr_v1 *hdr,
				struct soft_hash hash)
{
	uint8_t *packet = frame - soft->header_len;

	memset(packet, 0, soft->header_len);
	memcpy(packet, hdr, sizeof(*hdr));
	if (soft->header_len == sizeof(struct virtio_net_hdr_v1_hash)) {
		put_le32(packet + offsetof(struct virtio_net_hdr_v1_hash, hash_value), hash.value);
		put_le16(packet + offsetof(struct virtio_net_hdr_v1_hash, hash_report), hash.report);
	}
	return packet;
}

/*
 * Filters, steers and delivers the packet of @len bytes that lies in soft->packet, behind room for a longer
 * header. Returns the queue that has it now, or NULL.
 */
static struct soft_queue *soft_rx_packet(struct soft *soft, unsigned int source, uint32_t len)
{
	uint8_t *frame = soft->packet + sizeof(struct virtio_net_hdr_v1_hash);
	struct soft_hash hash = { 0 };
	struct virtio_net_hdr_v1 hdr;
	struct soft_queue *q;
	unsigned int pair;

	if (len < SOFT_PORT_HEADER + SOFT_MIN_FRAME)
		return NULL;
	len -= SOFT_PORT_HEADER;
	memcpy(&hdr, frame - SOFT_PORT_HEADER, sizeof(hdr));
	if (!soft_filter_passes(&soft->filter, soft->config + SOFT_CONFIG(mac), frame, len))
		return NULL;
	if (soft->steering.hash_types)
		hash = soft_steering_hash(&soft->steering, frame, len);
	pair = soft_steering_pair(&soft->steering, source, frame, len, hash);
	q = &soft->queues[virtio_net_rx(pair)];
	if (!soft_serves(soft, q))
		return NULL;
	if (!soft_gso_to_guest(hdr.gso_type, soft->offloads) ||
	    ((hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	     !virtio_has(soft->offloads, VIRTIO_NET_F_GUEST_CSUM))) {
		q->counters[SOFT_DROPS]++;
		return NULL;
	}
	if (!virtio_has(soft->offloads, VIRTIO_NET_F_GUEST_CSUM))
		hdr.flags = 0;
	if (!soft_deliver(soft, q, soft_put_header(soft, frame, &hdr, hash), soft->header_len + len)) {
		q->counters[SOFT_DROPS]++;
		q->counters[SOFT_RX_OVERRUNS]++;
		return NULL;
	}
	soft_count_rx(q, &hdr, len);
	return q;
}

/* Whether one of the queues that @source fills has buffers, as @look says. */
static bool soft_has_room(struct soft *soft, unsigned int source, bool (*look)(struct vring *))
{
	bool one = !soft->steering.rss && soft->steering.by_source, room = false;

	for (unsigned int i = 0; i < soft->steering.n_rx; i++) {
		struct soft_queue *q = &soft->queues[virtio_net_rx(i)];

		if (soft_serves(soft, q) && (!one || i == source))
			room |= look(&q->vring);
	}
	return room;
}

/* Receives a burst, and adds to @used how many packets each pair's queue got. Returns as soft_rx(). */
static int soft_rx_burst(struct soft *soft, struct soft_source *from, uint32_t *used)
{
	unsigned int source = (unsigned int)(from - soft->port->sources), n_failed = 0;
	const struct iovec iov = { soft->packet + sizeof(struct virtio_net_hdr_v1_hash) - SOFT_PORT_HEADER,
				   SOFT_PACKET_MAX };

	/* Nothing tells of packets that the port holds, so the burst ends with the last of them. */
	for (unsigned int n = 0; n < SOFT_BURST || from->n_held; n++) {
		struct soft_queue *q = NULL;
		bool room = soft_has_room(soft, source, vring_has_avail) ||
			    soft_has_room(soft, source, vring_enable_kicks);
		int len;

		/*
		 * A driver that has posted buffers before gets the packets that wait when it posts more. A
		 * driver that has not begun to receive does not want them.
		 */
		soft->fed |= room;
		if (!room && soft->fed) {
			soft_port_unwatch(from);
			return 0;
		}
		len = soft->port->ops->receive(soft->port, source, &iov, 1);
		if (len == 0 || len == -ENODEV || len == -ENETDOWN)
			return len;
		if (len > 0 && room)
			q = soft_rx_packet(soft, source, (uint32_t)len);
		if (q)
			used[q->index / 2]++;
		if (len > 0 && from->taken_all && !from->n_held)
			return 0;
		if (len > 0)
			continue;
		soft->queues[virtio_net_rx(source)].counters[SOFT_DROPS]++;
		log_limited(&soft->log_limit, LOG_WARN, "%s: cannot read a packet: %s", soft->name,
			    strerror(-len));
		if (++n_failed == SOFT_BURST)
			return len;
	}
	return 0;
}

int soft_rx(struct soft *soft, struct soft_source *from)
{
	uint32_t used[SOFT_MAX_PAIRS] = { 0 };
	int ret = soft_rx_burst(soft, from, used);

	for (unsigned int i = 0; i < soft->n_pairs; i++)
		soft_queue_publish(&soft->queues[virtio_net_rx(i)], used[i]);
	return ret;
}
