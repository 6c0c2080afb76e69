/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reception of the NIC in software: see the header. */
#include "devices/vdpa/soft/rx.h"

#include <assert.h>
#include <errno.h>

_Static_assert(sizeof(struct virtio_net_hdr_v1) == SOFT_PORT_HEADER, "the port's header");
_Static_assert(SOFT_PACKET_MAX > SOFT_PORT_HEADER + 65535 + 64, "the longest packet");

/* A packet that follows one of at least so many bytes is read into the guest's buffers at once, which spares
 * a copy. For others it costs more to take buffers for the longest. */
#define RX_LONG 8192u

#define RX_MAX_IOV 64u

/* Chains that a packet is read into: the first @n of soft->heads, which hold soft->lens bytes. */
struct soft_landing {
	struct soft_queue *q; /* NULL: none */
	unsigned int n, n_iov;
	uint32_t room;   /* bytes, those of the packet's header included */
	uint8_t *header; /* where the header goes */
	/* The port's header, the chains' bytes behind @header, and soft->packet for what is longer. */
	struct iovec iov[RX_MAX_IOV];
};

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

/* Gives the first @n of soft->heads back to the guest, used. */
static void soft_use(struct soft *soft, struct soft_queue *q, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		vring_push(&q->vring, soft->heads[i], soft->lens[i]);
	if (soft->faults.bad_data_id)
		soft_queue_spoil(q);
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
	soft_use(soft, q, n);
	return true;
}

/* Puts chains back that were taken for a packet, all but the first @n. */
static void soft_land_back(struct soft_landing *l, unsigned int n)
{
	while (l->n > n) {
		vring_unpop(&l->q->vring);
		l->n--;
	}
}

/* Adds a chain. Returns false if the packet cannot be read into it. */
static bool soft_land_chain(struct soft *soft, struct soft_landing *l, const struct vring_chain *chain)
{
	const struct virtio_seg *segs = chain->segs + chain->n_read;
	uint32_t skip = l->n ? 0 : soft->header_len;

	if (chain->n_write == 0 || segs[0].len < skip || l->n_iov + chain->n_write >= RX_MAX_IOV)
		return false;
	for (unsigned int i = 0; i < chain->n_write; i++) {
		uint8_t *p = memory_at(l->q->vring.mem, segs[i].addr, segs[i].len);

		if (skip)
			l->header = p;
		l->iov[l->n_iov++] = (struct iovec){ p + skip, segs[i].len - skip };
		skip = 0;
	}
	soft->heads[l->n] = chain->head;
	soft->lens[l->n++] = chain->write_len;
	l->room += chain->write_len;
	return true;
}

/* Returns the queue that gets whatever comes from @source; NULL if that depends on the packet. */
static struct soft_queue *soft_only_queue(struct soft *soft, unsigned int source)
{
	const struct soft_steering *s = &soft->steering;
	struct soft_queue *q = &soft->queues[virtio_net_rx(s->n_rx > 1 ? source : 0)];

	if (s->n_rx > 1 && (s->rss || !s->by_source || source >= s->n_rx))
		return NULL;
	return soft_serves(soft, q) ? q : NULL;
}

/* Takes chains for a packet that is as long as the last one was. Returns how many pieces it is read into. */
static unsigned int soft_land(struct soft *soft, unsigned int source, struct soft_landing *l)
{
	uint8_t *packet = soft->packet + sizeof(struct virtio_net_hdr_v1_hash) - SOFT_PORT_HEADER;
	unsigned int max = virtio_has(soft->features, VIRTIO_NET_F_MRG_RXBUF) ? RX_MAX_IOV : 1;
	struct vring_chain chain;

	l->q = soft->last_len < RX_LONG ? NULL : soft_only_queue(soft, source);
	l->iov[0] = (struct iovec){ packet, SOFT_PACKET_MAX };
	l->n = l->room = 0;
	l->n_iov = 1;
	if (!l->q)
		return 1;
	while (l->n < max && l->room < soft->last_len && vring_pop(&l->q->vring, &chain) == 1) {
		if (!soft_land_chain(soft, l, &chain)) {
			vring_unpop(&l->q->vring);
			break;
		}
	}
	if (l->room < RX_LONG) {
		soft_land_back(l, 0);
		l->q = NULL;
		l->n_iov = 1;
		return 1;
	}
	l->iov[0].iov_len = SOFT_PORT_HEADER;
	l->iov[l->n_iov] = (struct iovec){ packet + SOFT_PORT_HEADER + SOFT_PEEK, SOFT_PACKET_MAX };
	return l->n_iov + 1;
}

/* Copies the beginning of what was read to where filters and hashes look: the guest may change its buffers.
 */
static void soft_land_peek(const struct soft_landing *l, uint8_t *frame, uint32_t len)
{
	for (uint32_t i = 1, done = 0; done < len && i < l->n_iov; i++) {
		uint32_t part = (uint32_t)min_u64(l->iov[i].iov_len, len - done);

		memcpy(frame + done, l->iov[i].iov_base, part);
		done += part;
	}
}

/* Does as soft_deliver() with a packet that was read into chains. Its header for the guest is at @header,
 * @len is that of both. */
static bool soft_deliver_landed(struct soft *soft, struct soft_landing *l, const uint8_t *header,
				uint32_t len)
{
	unsigned int max = virtio_has(soft->features, VIRTIO_NET_F_MRG_RXBUF) ? l->q->setup.size : 1, n = 0;
	const uint8_t *rest = l->iov[l->n_iov].iov_base;
	struct vring_chain chain;
	uint8_t *ignored[2];
	uint32_t done = 0;

	for (; n < l->n && done < len; n++) {
		soft->lens[n] = (uint32_t)min_u64(soft->lens[n], len - done);
		done += soft->lens[n];
	}
	soft_land_back(l, n);
	while (done < len && n < max && vring_pop(&l->q->vring, &chain) == 1) {
		soft->heads[n] = chain.head;
		soft->lens[n] = soft_fill(l->q, &chain, rest + (done - l->room), len - done, ignored, done);
		done += soft->lens[n++];
	}
	l->n = n;
	if (done < len)
		return false;
	memcpy(l->header, header, soft->header_len);
	put_le16(l->header + offsetof(struct virtio_net_hdr_v1, num_buffers), (uint16_t)n);
	soft_use(soft, l->q, n);
	l->n = 0;
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

/* Whether the guest takes a packet with this header. */
static bool soft_guest_takes(const struct soft *soft, const struct virtio_net_hdr_v1 *hdr)
{
	return soft_gso_to_guest(hdr->gso_type, soft->offloads) &&
	       (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
		virtio_has(soft->offloads, VIRTIO_NET_F_GUEST_CSUM));
}

/*
 * Filters, steers and delivers the packet of @len bytes that lies in soft->packet, behind room for a longer
 * header, or its header there and the rest in @l. Returns the queue that has it now, or NULL.
 */
static struct soft_queue *soft_rx_packet(struct soft *soft, unsigned int source, uint32_t len,
					 struct soft_landing *l)
{
	uint8_t *frame = soft->packet + sizeof(struct virtio_net_hdr_v1_hash), *packet;
	uint32_t seen = l->q ? (uint32_t)min_u64(len, SOFT_PORT_HEADER + SOFT_PEEK) : len;
	struct soft_hash hash = { 0 };
	struct virtio_net_hdr_v1 hdr;
	struct soft_queue *q = l->q;
	bool delivered;

	if (len < SOFT_PORT_HEADER + SOFT_MIN_FRAME)
		return NULL;
	len -= SOFT_PORT_HEADER;
	seen -= SOFT_PORT_HEADER;
	if (q)
		soft_land_peek(l, frame, seen);
	memcpy(&hdr, frame - SOFT_PORT_HEADER, sizeof(hdr));
	if (!soft_filter_passes(&soft->filter, soft->config + SOFT_CONFIG(mac), frame, seen))
		return NULL;
	if (soft->steering.hash_types)
		hash = soft_steering_hash(&soft->steering, frame, seen);
	if (!q)
		q = &soft->queues[virtio_net_rx(
			soft_steering_pair(&soft->steering, source, frame, seen, hash))];
	if (!soft_serves(soft, q))
		return NULL;
	if (!soft_guest_takes(soft, &hdr)) {
		q->counters[SOFT_DROPS]++;
		return NULL;
	}
	if (!virtio_has(soft->offloads, VIRTIO_NET_F_GUEST_CSUM))
		hdr.flags = 0;
	packet = soft_put_header(soft, frame, &hdr, hash);
	len += soft->header_len;
	delivered = l->q ? soft_deliver_landed(soft, l, packet, len) : soft_deliver(soft, q, packet, len);
	if (!delivered) {
		q->counters[SOFT_DROPS]++;
		q->counters[SOFT_RX_OVERRUNS]++;
		return NULL;
	}
	soft_count_rx(q, &hdr, len - soft->header_len);
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
	struct soft_landing l;

	/* Nothing tells of packets that the port holds, so the burst ends with the last of them. */
	for (unsigned int n = 0; n < SOFT_BURST || from->n_held; n++) {
		struct soft_queue *q = NULL;
		bool room = soft_has_room(soft, source, vring_has_avail) ||
			    soft_has_room(soft, source, vring_enable_kicks);
		unsigned int n_iov;
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
		n_iov = soft_land(soft, source, &l);
		len = soft->port->ops->receive(soft->port, source, l.iov, n_iov);
		if (len > 0 && room)
			q = soft_rx_packet(soft, source, (uint32_t)len, &l);
		soft_land_back(&l, 0);
		if (len == 0 || len == -ENODEV || len == -ENETDOWN)
			return len;
		if (len > 0)
			soft->last_len = (uint32_t)len;
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

	for (unsigned int i = 0; i < soft->n_pairs; i++) {
		soft_queue_publish(&soft->queues[virtio_net_rx(i)], used[i]);
		soft->moved |= used[i] > 0;
	}
	return ret;
}
