/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands of the vDPA NIC in software: one table says what each is, a small function does it. */
#include "devices/vdpa/soft/device.h"

#include <inttypes.h>
#include <unistd.h>

#include "devices/virtio/rss.h"
#include "vmm/mac.h"

#define MAC_TABLES_FIXED 8u
#define CONFIG_STATUS    ((unsigned int)offsetof(struct virtio_net_config, status))

/* What a command does: the length of its reply behind the ack, or -1: VIRTIO_NET_ERR. */
struct soft_row {
	uint8_t class, command;
	uint8_t feature;
	uint32_t min, max; /* bytes of payload */
	int (*run)(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room);
};

static int soft_rx_mode(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	sv->filter.mode[command] = p[0];
	return 0;
}

static int soft_mac_table(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len,
			  uint32_t room)
{
	uint32_t n_unicast = get_le32(p), n_multicast;

	if (n_unicast > SOFT_MAX_MACS || len < MAC_TABLES_FIXED + 6 * n_unicast)
		return -1;
	n_multicast = get_le32(p + 4 + 6 * n_unicast);
	if (n_multicast > SOFT_MAX_MACS || len != MAC_TABLES_FIXED + 6 * (n_unicast + n_multicast))
		return -1;
	soft_filter_set_macs(&sv->filter, p + 4, n_unicast, p + 8 + 6 * n_unicast, n_multicast);
	return 0;
}

static int soft_mac_addr(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	if (!mac_valid(p))
		return -1;
	memcpy(sv->config, p, 6);
	return 0;
}

static int soft_vlan(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	uint16_t vid = get_le16(p);

	if (vid > 4095)
		return -1;
	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		sv->filter.vlans[vid / 64] |= UINT64_C(1) << vid % 64;
	else
		sv->filter.vlans[vid / 64] &= ~(UINT64_C(1) << vid % 64);
	return 0;
}

static int soft_announce_ack(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len,
			     uint32_t room)
{
	uint16_t status = get_le16(sv->config + CONFIG_STATUS);

	if (!(status & VIRTIO_NET_S_ANNOUNCE))
		return -1;
	put_le16(sv->config + CONFIG_STATUS, status & (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
	return 0;
}

/* Serves another number of queues, if the port can. Queues that were not served before may have something to
 * do. */
static int soft_steer_as(struct soft_vdpa *sv, const struct soft_steering *next)
{
	int ret = soft_port_steer(sv, next);

	if (ret < 0) {
		log_limited(&sv->log_limit, LOG_WARN, "%s: cannot serve %u queue pairs: %s", sv->name,
			    next->n_rx > next->n_tx ? next->n_rx : next->n_tx, strerror(-ret));
		return -1;
	}
	for (unsigned int i = 0; i < 2 * sv->n_pairs; i++)
		soft_queue_again(&sv->queues[i]);
	return 0;
}

static int soft_pairs(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	struct soft_steering next = sv->steering;
	uint16_t n = get_le16(p);

	if (n < 1 || n > sv->n_pairs)
		return -1;
	next.rss = false;
	next.n_rx = next.n_tx = n;
	return soft_steer_as(sv, &next);
}

/* The hash part of both configurations. A key that is shorter than what is hashed counts as if zeros
 * followed. */
static bool soft_take_hash(struct soft_steering *s, const struct virtio_rss *rss)
{
	if ((rss->types & ~SOFT_HASH_TYPES) || rss->key_len > SOFT_RSS_KEY)
		return false;
	s->hash_types = rss->types;
	memset(s->key, 0, sizeof(s->key));
	memcpy(s->key, rss->key, rss->key_len);
	return true;
}

static int soft_rss(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	struct soft_steering next = sv->steering;
	struct virtio_rss rss;

	if (!virtio_rss_read(&rss, p, len) || rss.n_entries > SOFT_RSS_TABLE || rss.last_rx >= sv->n_pairs ||
	    rss.max_tx_vq < 1 || rss.max_tx_vq > sv->n_pairs || !soft_take_hash(&next, &rss))
		return -1;
	for (uint32_t i = 0; i < rss.n_entries; i++)
		next.table[i] = virtio_rss_entry(&rss, i);
	next.mask = (uint16_t)(rss.n_entries - 1);
	next.unclassified = rss.unclassified;
	next.rss = true;
	next.n_rx = rss.last_rx + 1u;
	next.n_tx = rss.max_tx_vq;
	return soft_steer_as(sv, &next);
}

/* What is reserved there is not looked at: Linux leaves the number of pairs in it. */
static int soft_hash_config(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len,
			    uint32_t room)
{
	struct virtio_rss rss;

	return virtio_rss_read_hash(&rss, p, len) && soft_take_hash(&sv->steering, &rss) ? 0 : -1;
}

static int soft_offloads(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	uint64_t offloads = get_le64(p);
	int ret;

	if (offloads & ~(sv->features & SOFT_GUEST_OFFLOADS))
		return -1;
	ret = soft_port_set_offloads(sv, offloads);
	if (ret < 0) {
		log_limited(&sv->log_limit, LOG_WARN, "%s: cannot set the offloads 0x%" PRIx64 ": %s",
			    sv->name, offloads, strerror(-ret));
		return -1;
	}
	sv->offloads = offloads;
	return 0;
}

static struct soft_coalesce soft_get_coalesce(const uint8_t *p)
{
	return (struct soft_coalesce){ .max_packets = get_le32(p), .max_usecs = get_le32(p + 4) };
}

/* All queues of a kind, those with a value of their own too. */
static int soft_coalesce_all(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len,
			     uint32_t room)
{
	for (unsigned int i = command == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET ? 1 : 0; i < 2 * sv->n_pairs;
	     i += 2)
		soft_queue_set_coalesce(&sv->queues[i], soft_get_coalesce(p));
	return 0;
}

/* The data queue that a command names, or NULL if its ring is not enabled. It may be one that steering leaves
 * out at the moment: Linux sets all when it has resized rings. */
static struct soft_queue *soft_enabled_queue(struct soft_vdpa *sv, uint16_t index)
{
	if (index >= soft_ctrl_index(sv) || !sv->queues[index].live)
		return NULL;
	return &sv->queues[index];
}

static int soft_coalesce_vq(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len,
			    uint32_t room)
{
	struct soft_queue *q = soft_enabled_queue(sv, get_le16(p));

	if (!q)
		return -1;
	if (command == VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET) {
		soft_queue_set_coalesce(q, soft_get_coalesce(p + 4));
		return 0;
	}
	put_le32(sv->reply, q->coalesce.max_packets);
	put_le32(sv->reply + 4, q->coalesce.max_usecs);
	return 8;
}

static int soft_hash_tunnel(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len,
			    uint32_t room)
{
	if (get_le32(p) & ~SOFT_TUNNEL_TYPES)
		return -1;
	sv->steering.tunnel_types = get_le32(p);
	return 0;
}

static int soft_stats(struct soft_vdpa *sv, uint8_t command, const uint8_t *p, uint32_t len, uint32_t room)
{
	if (command == 0)
		return soft_stats_query(sv, sv->reply);
	return soft_stats_get(sv, p, len, sv->reply, (uint32_t)min_u64(room, sizeof(sv->reply)));
}

/* clang-format off */
static const struct soft_row soft_rows[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, MAC_TABLES_FIXED,
	  SOFT_MAX_COMMAND, soft_mac_table },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, 6, 6, soft_mac_addr },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, 2, 2, soft_vlan },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, 2, 2, soft_vlan },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE, 0, 0,
	  soft_announce_ack },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 2, 2, soft_pairs },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_F_RSS, VIRTIO_RSS_MIN,
	  SOFT_MAX_COMMAND, soft_rss },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, VIRTIO_NET_F_HASH_REPORT, VIRTIO_HASH_KEY,
	  SOFT_MAX_COMMAND, soft_hash_config },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 8, 8, soft_offloads },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, VIRTIO_NET_F_NOTF_COAL, 8, 8, soft_coalesce_all },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, VIRTIO_NET_F_NOTF_COAL, 8, 8, soft_coalesce_all },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, VIRTIO_NET_F_VQ_NOTF_COAL, 12, 12, soft_coalesce_vq },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, VIRTIO_NET_F_VQ_NOTF_COAL, 4, 4, soft_coalesce_vq },
	{ VIRTIO_NET_CTRL_HASH_TUNNEL, VIRTIO_NET_CTRL_HASH_TUNNEL_SET, VIRTIO_NET_F_HASH_TUNNEL, 4, 4, soft_hash_tunnel },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, VIRTIO_NET_F_DEVICE_STATS, 0, 0, soft_stats },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, VIRTIO_NET_F_DEVICE_STATS, 16, SOFT_MAX_COMMAND, soft_stats },
};
/* clang-format on */

static int soft_execute(struct soft_vdpa *sv, uint32_t len, uint32_t room)
{
	const uint8_t *cmd = sv->command;

	sv->n_commands++;
	if (len < 2 || sv->n_commands == sv->faults.refuse_nth)
		return -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(soft_rows); i++) {
		const struct soft_row *r = &soft_rows[i];

		if (r->class != cmd[0] || r->command != cmd[1])
			continue;
		if (!virtio_has(sv->features, r->feature) || len - 2 < r->min || len - 2 > r->max)
			return -1;
		return r->run(sv, cmd[1], cmd + 2, len - 2, room);
	}
	return -1;
}

/* One command; the bytes that were written for it. */
static uint32_t soft_command(struct soft_queue *q, const struct vring_chain *chain)
{
	struct soft_vdpa *sv = q->sv;
	uint8_t ack = VIRTIO_NET_ERR;
	int reply = -1;

	/* Nowhere to answer. */
	if (chain->write_len == 0)
		return 0;
	if (chain->read_len <= sizeof(sv->command)) {
		uint32_t len = vring_chain_read(q->vring.mem, chain, 0, sv->command, chain->read_len);

		reply = soft_execute(sv, len, chain->write_len - 1);
		/* A reply that is cut would not be what was asked for. */
		if (reply > 0 && (uint32_t)reply > chain->write_len - 1)
			reply = -1;
	}
	if (reply >= 0) {
		ack = VIRTIO_NET_OK;
		sv->n_accepted++;
		reply = (int)vring_chain_write(q->vring.mem, chain, 1, sv->reply, (uint32_t)reply);
	}
	vring_chain_write(q->vring.mem, chain, 0, &ack, 1);
	return 1 + (reply > 0 ? (uint32_t)reply : 0);
}

void soft_ctrl_flush(struct soft_vdpa *sv)
{
	struct soft_queue *q = &sv->queues[soft_ctrl_index(sv)];
	unsigned int n = sv->n_answers;

	sv->n_answers = 0;
	if (!q->live)
		return;
	for (unsigned int i = 0; i < n; i++) {
		const struct soft_answer *a = &sv->answers[sv->faults.reverse ? n - 1 - i : i];

		vring_push(&q->vring, a->head, a->len);
		if (sv->faults.bad_ctrl_id)
			soft_queue_spoil(q);
	}
	soft_queue_publish(q, n);
}

void soft_ctrl_late(struct loop_timer *timer)
{
	struct soft_vdpa *sv = container_of(timer, struct soft_vdpa, answer_timer);

	if (!sv->faults.gone)
		soft_ctrl_flush(sv);
}

void soft_ctrl_serve(struct soft_queue *q)
{
	struct soft_vdpa *sv = q->sv;
	struct vring_chain chain;
	int ret;

	do {
		vring_disable_kicks(&q->vring);
		/* Each in flight has one answer at most: a ring's entries bound them. */
		while ((ret = vring_pop(&q->vring, &chain)) == 1) {
			uint32_t len = soft_command(q, &chain);

			sv->answers[sv->n_answers++] = (struct soft_answer){ chain.head, len };
		}
	} while (ret == 0 && vring_enable_kicks(&q->vring));
	if (sv->faults.delay_ms == 0)
		soft_ctrl_flush(sv);
	else if (sv->n_answers > 0)
		loop_timer_arm(&sv->answer_timer, end_of((int)sv->faults.delay_ms));
	if (q->vring.broken)
		soft_break(sv, q->index, q->vring.broken);
}

void soft_ctrl_reset(struct soft_vdpa *sv)
{
	sv->n_commands = sv->n_accepted = 0;
	sv->n_answers = 0;
	loop_timer_stop(&sv->answer_timer);
}
