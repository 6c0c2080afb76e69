/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of the vDPA NIC in software: from its transmit rings to the port, from the port to its receive
 * rings. */
#include "devices/vdpa/soft/device.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

/* Packets of one queue before the others have their turn. */
#define SOFT_BURST 64u

/* The most pieces of a packet that a port is given, header included. */
#define SOFT_MAX_IOV 64u

#define SOFT_MIN_FRAME 14u

/* As much of a frame as steering looks at. */
#define SOFT_PEEK 128u

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

_Static_assert(sizeof(struct virtio_net_hdr_v1) == SOFT_PORT_HEADER, "the port's header");
_Static_assert(SOFT_PACKET_MAX > SOFT_PORT_HEADER + 65535 + 64, "the longest packet");

/* Kinds of segmentation, and the bits that permit them: to the device, and to the guest. */
static const struct soft_gso {
	uint8_t type;
	uint64_t host, guest;
} soft_gso_types[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4), VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) },
	{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6), VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ VIRTIO_NET_HDR_GSO_UDP, VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO), VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) },
	{ VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_BIT(VIRTIO_NET_F_HOST_USO),
	  VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_USO6) },
};

/* Whether a packet's segmentation is one that @allowed permits; the table's column is that of @tx. */
static bool soft_gso_allowed(uint8_t gso_type, uint64_t allowed, bool tx)
{
	uint8_t type = gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (type != gso_type && !virtio_has(allowed, tx ? VIRTIO_NET_F_HOST_ECN : VIRTIO_NET_F_GUEST_ECN))
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(soft_gso_types); i++) {
		if (soft_gso_types[i].type == type)
			return allowed & (tx ? soft_gso_types[i].host : soft_gso_types[i].guest);
	}
	return gso_type == VIRTIO_NET_HDR_GSO_NONE;
}

/* Transmission */

/* The pieces behind the header in @iov; their number, or 0 if there are too many. */
static unsigned int soft_gather(const struct soft_queue *q, const struct vring_chain *chain,
				struct iovec *iov, unsigned int max)
{
	uint32_t skip = q->sv->header_len;
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
	/* Cut up by the network's next hop: as many as there will be. */
	if (hdr->gso_size > 0 && len > hdr->hdr_len) {
		c[SOFT_TX_GSO_SEGMENTS] += (len - hdr->hdr_len + hdr->gso_size - 1u) / hdr->gso_size;
		c[SOFT_TX_GSO_SEGMENT_BYTES] += len;
	}
}

static bool soft_header_ok(const struct soft_vdpa *sv, const struct virtio_net_hdr_v1 *hdr)
{
	if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !virtio_has(sv->features, VIRTIO_NET_F_CSUM))
		return false;
	return soft_gso_allowed(hdr->gso_type, sv->features, true);
}

static bool soft_chain_ok(struct soft_queue *q, const struct vring_chain *chain,
			  struct virtio_net_hdr_v1 *hdr)
{
	const struct soft_vdpa *sv = q->sv;

	return chain->n_write == 0 && chain->read_len >= sv->header_len + SOFT_MIN_FRAME &&
	       chain->read_len <= sv->header_len + SOFT_PACKET_MAX - SOFT_PORT_HEADER &&
	       vring_chain_read(q->vring.mem, chain, 0, hdr, sizeof(*hdr)) == sizeof(*hdr) &&
	       soft_header_ok(sv, hdr);
}

static void soft_send(struct soft_queue *q, const struct vring_chain *chain)
{
	struct soft_vdpa *sv = q->sv;
	struct virtio_net_hdr_v1 hdr;
	struct iovec iov[SOFT_MAX_IOV];
	uint8_t frame[SOFT_PEEK];
	uint32_t len, peeked;
	unsigned int n;
	int ret;

	if (!soft_chain_ok(q, chain, &hdr)) {
		q->counters[SOFT_DROPS]++;
		q->counters[SOFT_TX_MALFORMED]++;
		return;
	}
	len = chain->read_len - sv->header_len;
	peeked = vring_chain_read(q->vring.mem, chain, sv->header_len, frame, sizeof(frame));
	soft_steering_learn(sv, q->index / 2, frame, peeked);
	hdr.num_buffers = 0;
	iov[0] = (struct iovec){ &hdr, sizeof(hdr) };
	n = soft_gather(q, chain, iov + 1, SOFT_MAX_IOV - 1);
	if (n == 0) {
		/* Too many pieces for one call. */
		iov[1].iov_base = sv->packet;
		iov[1].iov_len = vring_chain_read(q->vring.mem, chain, sv->header_len, sv->packet, len);
		n = 1;
	}
	ret = sv->port->gone ? -ENODEV : sv->port->ops->send(sv->port, q->index / 2, iov, n + 1);
	if (ret == 0)
		soft_count_tx(q, &hdr, len);
	else
		q->counters[SOFT_DROPS]++;
	if (ret == -ENETDOWN || ret == -ENODEV)
		soft_port_look(sv);
}

static void soft_tx(struct soft_queue *q)
{
	struct vring_chain chain;
	uint32_t n = 0;
	int ret = 0;

	/* Disabled queues keep what they have. */
	if (q->index / 2 >= q->sv->steering.n_tx)
		return;
	do {
		vring_disable_kicks(&q->vring);
		while (n < SOFT_BURST && (ret = vring_pop(&q->vring, &chain)) == 1) {
			soft_send(q, &chain);
			vring_push(&q->vring, chain.head, 0);
			n++;
		}
		if (n == SOFT_BURST) {
			/* When the others have had their turn. */
			soft_queue_again(q);
			break;
		}
	} while (ret == 0 && vring_enable_kicks(&q->vring));
	if (n > 0 && q->sv->faults.bad_data_id)
		soft_queue_spoil(q);
	soft_queue_publish(q, n);
	if (q->vring.broken)
		soft_break(q->sv, q->index, q->vring.broken);
}

/* Reception */

/* Copies the next bytes of a packet into a chain's writable part, notes where num_buffers lies; how many. */
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

/* A packet with the guest's header into one chain, or as many as it takes. False: there is no room. */
static bool soft_deliver(struct soft_queue *q, const uint8_t *packet, uint32_t len)
{
	struct soft_vdpa *sv = q->sv;
	unsigned int max = virtio_has(sv->features, VIRTIO_NET_F_MRG_RXBUF) ? q->setup.size : 1, n = 0;
	uint8_t *num_buffers[2] = { NULL, NULL };
	struct vring_chain chain;
	uint32_t done = 0;

	while (done < len && n < max && vring_pop(&q->vring, &chain) == 1) {
		sv->heads[n] = chain.head;
		sv->lens[n] = soft_fill(q, &chain, packet + done, len - done, num_buffers, done);
		done += sv->lens[n++];
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
		vring_push(&q->vring, sv->heads[i], sv->lens[i]);
	if (sv->faults.bad_data_id)
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

/* Puts the guest's header in front of the frame at @frame, where there is room for it. */
static uint8_t *soft_put_header(const struct soft_vdpa *sv, uint8_t *frame,
				const struct virtio_net_hdr_v1 *hdr, struct soft_hash hash)
{
	uint8_t *packet = frame - sv->header_len;

	memset(packet, 0, sv->header_len);
	memcpy(packet, hdr, sizeof(*hdr));
	if (sv->header_len == sizeof(struct virtio_net_hdr_v1_hash)) {
		put_le32(packet + offsetof(struct virtio_net_hdr_v1_hash, hash_value), hash.value);
		put_le16(packet + offsetof(struct virtio_net_hdr_v1_hash, hash_report), hash.report);
	}
	return packet;
}

/* The packet of @len bytes that lies in sv->packet behind room for a longer header: filtered, steered,
 * delivered. The queue that has it now, or NULL. */
static struct soft_queue *soft_receive(struct soft_vdpa *sv, unsigned int source, uint32_t len)
{
	uint8_t *frame = sv->packet + sizeof(struct virtio_net_hdr_v1_hash);
	struct soft_hash hash = { 0 };
	struct virtio_net_hdr_v1 hdr;
	struct soft_queue *q;

	if (len < SOFT_PORT_HEADER + SOFT_MIN_FRAME)
		return NULL;
	len -= SOFT_PORT_HEADER;
	memcpy(&hdr, frame - SOFT_PORT_HEADER, sizeof(hdr));
	if (!soft_filter_passes(sv, frame, len))
		return NULL;
	if (sv->steering.hash_types)
		hash = soft_hash(&sv->steering, frame, len);
	q = &sv->queues[virtio_net_rx(soft_steer(sv, source, frame, len, hash))];
	if (!soft_serves(q))
		return NULL;
	if (!soft_gso_allowed(hdr.gso_type, sv->offloads, false) ||
	    ((hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	     !virtio_has(sv->offloads, VIRTIO_NET_F_GUEST_CSUM))) {
		q->counters[SOFT_DROPS]++;
		return NULL;
	}
	if (!virtio_has(sv->offloads, VIRTIO_NET_F_GUEST_CSUM))
		hdr.flags = 0;
	if (!soft_deliver(q, soft_put_header(sv, frame, &hdr, hash), sv->header_len + len)) {
		q->counters[SOFT_DROPS]++;
		q->counters[SOFT_RX_OVERRUNS]++;
		return NULL;
	}
	soft_count_rx(q, &hdr, len);
	return q;
}

/* Whether the queues that @source fills have buffers. */
static bool soft_has_room(struct soft_vdpa *sv, unsigned int source, bool (*look)(struct vring *))
{
	bool one = !sv->steering.rss && sv->port->n_sources > 1, room = false;

	for (unsigned int i = 0; i < sv->steering.n_rx; i++) {
		struct soft_queue *q = &sv->queues[virtio_net_rx(i)];

		if (soft_serves(q) && (!one || i == source))
			room |= look(&q->vring);
	}
	return room;
}

/* The packets of a source, as many as a burst has; how many each pair's queue got is added to @used. */
static void soft_receive_burst(struct soft_source *from, uint32_t *used)
{
	struct soft_vdpa *sv = from->sv;
	unsigned int source = (unsigned int)(from - sv->port->sources), n_failed = 0;
	uint8_t *buf = sv->packet + sizeof(struct virtio_net_hdr_v1_hash) - SOFT_PORT_HEADER;
	uint32_t size = (uint32_t)(sizeof(sv->packet) - (size_t)(buf - sv->packet));

	for (unsigned int n = 0; n < SOFT_BURST; n++) {
		struct soft_queue *q = NULL;
		bool room = soft_has_room(sv, source, vring_has_avail) ||
			    soft_has_room(sv, source, vring_enable_kicks);
		bool gone;
		int len;

		/* A packet that finds no buffer waits in the port; a kick makes it be looked for again. But
		 * who has not begun to receive does not want it. */
		sv->fed |= room;
		if (!room && sv->fed) {
			soft_port_unwatch(from);
			return;
		}
		len = sv->port->ops->receive(sv->port, source, buf, size);
		if (len == 0)
			return;
		/* No packet's error: the look at the port says what has become of it. */
		gone = len == -ENODEV || len == -ENETDOWN;
		if (len < 0 && !gone) {
			sv->queues[virtio_net_rx(source)].counters[SOFT_DROPS]++;
			log_limited(&sv->log_limit, LOG_WARN, "%s: cannot read a packet: %s", sv->name,
				    strerror(-len));
			n_failed++;
		}
		if (gone || n_failed == SOFT_BURST) {
			soft_port_rest(from);
			soft_port_look(sv);
			return;
		}
		if (len > 0 && room)
			q = soft_receive(sv, source, (uint32_t)len);
		if (q)
			used[q->index / 2]++;
	}
}

void soft_port_readable(struct loop_source *src, uint32_t events)
{
	struct soft_source *from = container_of(src, struct soft_source, event);
	struct soft_vdpa *sv = from->sv;
	uint32_t used[SOFT_MAX_PAIRS] = { 0 };

	soft_receive_burst(from, used);
	/* A fault that reading does not show would come again at once. */
	if ((events & (EPOLLERR | EPOLLHUP)) && from->watched) {
		soft_port_rest(from);
		soft_port_look(sv);
	}
	for (unsigned int i = 0; i < sv->n_pairs; i++) {
		struct soft_queue *q = &sv->queues[virtio_net_rx(i)];

		soft_queue_publish(q, used[i]);
		if (soft_serves(q) && q->vring.broken)
			soft_break(sv, q->index, q->vring.broken);
	}
}

void soft_serve(struct soft_queue *q)
{
	if (!soft_serves(q))
		return;
	if (q->index == soft_ctrl_index(q->sv)) {
		soft_ctrl_serve(q);
	} else if (soft_is_tx(q)) {
		soft_tx(q);
	} else {
		vring_disable_kicks(&q->vring);
		soft_port_watch(q->sv, true);
	}
}

void soft_kicked(struct loop_source *src, uint32_t events)
{
	struct soft_queue *q = container_of(src, struct soft_queue, kick);

	if (!loop_take(src->fd))
		return;
	q->counters[SOFT_NOTIFICATIONS] += !q->again;
	q->again = false;
	soft_serve(q);
}
