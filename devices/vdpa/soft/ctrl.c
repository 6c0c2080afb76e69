/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands of the NIC in software: one table says what each is, a small function does it. */
#include "devices/vdpa/soft/ctrl.h"

#include <inttypes.h>

#include "devices/vdpa/soft/flow.h"
#include "devices/vdpa/soft/stats.h"
#include "devices/virtio/rss.h"
#include "vmm/mac.h"

/* The bytes of MAC_TABLE_SET without addresses are the two counts. */
#define CTRL_MAC_TABLES_FIXED 8u

/* A command as a row's function gets it: the driver may send it, and its payload has a legal length. */
struct soft_command {
	uint8_t command;
	const uint8_t *p; /* payload */
	uint32_t len;
	uint32_t room; /* bytes for a reply behind the ack */
};

/*
 * One row for each command. @run does it, and returns the length of the reply that it has put in soft->reply,
 * or -1 for VIRTIO_NET_ERR.
 */
struct soft_row {
	uint8_t class, command;
	uint8_t feature;
	uint32_t min, max; /* bytes of payload */
	int (*run)(struct soft *soft, const struct soft_command *c);
};

static int soft_rx_mode(struct soft *soft, const struct soft_command *c)
{
	soft->filter.mode[c->command] = c->p[0];
	return 0;
}

static int soft_mac_table(struct soft *soft, const struct soft_command *c)
{
	uint32_t n_unicast = get_le32(c->p), n_multicast;
	const uint8_t *multicast;

	if (n_unicast > SOFT_MAX_MACS || c->len < CTRL_MAC_TABLES_FIXED + 6 * n_unicast)
		return -1;
	multicast = c->p + 4 + 6 * n_unicast;
	n_multicast = get_le32(multicast);
	if (n_multicast > SOFT_MAX_MACS || c->len != CTRL_MAC_TABLES_FIXED + 6 * (n_unicast + n_multicast))
		return -1;
	soft_filter_set_macs(&soft->filter, c->p + 4, n_unicast, multicast + 4, n_multicast);
	return 0;
}

static int soft_mac_addr(struct soft *soft, const struct soft_command *c)
{
	if (!mac_valid(c->p))
		return -1;
	memcpy(soft->config + SOFT_CONFIG(mac), c->p, 6);
	return 0;
}

static int soft_vlan_add(struct soft *soft, const struct soft_command *c)
{
	if (get_le16(c->p) >= SOFT_N_VLANS)
		return -1;
	soft_filter_add_vlan(&soft->filter, get_le16(c->p));
	return 0;
}

static int soft_vlan_del(struct soft *soft, const struct soft_command *c)
{
	if (get_le16(c->p) >= SOFT_N_VLANS)
		return -1;
	soft_filter_remove_vlan(&soft->filter, get_le16(c->p));
	return 0;
}

static int soft_announce_ack(struct soft *soft, const struct soft_command *c)
{
	uint8_t *p = soft->config + SOFT_CONFIG(status);

	if (!(get_le16(p) & VIRTIO_NET_S_ANNOUNCE))
		return -1;
	put_le16(p, get_le16(p) & (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
	return 0;
}

/* Serves the pairs of @next, if the port can. A queue that was not served before may have something to do, so
 * each is kicked. */
static int soft_steer_as(struct soft *soft, const struct soft_steering *next)
{
	int ret = soft_steer(soft, next);

	if (ret < 0) {
		log_limited(&soft->log_limit, LOG_WARN, "%s: cannot serve %u queue pairs: %s", soft->name,
			    soft_steering_pairs(next), strerror(-ret));
		return -1;
	}
	for (unsigned int i = 0; i < 2 * soft->n_pairs; i++)
		soft_queue_again(&soft->queues[i]);
	return 0;
}

static int soft_pairs(struct soft *soft, const struct soft_command *c)
{
	struct soft_steering next = soft->steering;
	uint16_t n = get_le16(c->p);

	if (n < 1 || n > soft->n_pairs)
		return -1;
	next.rss = false;
	next.n_rx = next.n_tx = n;
	return soft_steer_as(soft, &next);
}

/* Takes the part that RSS and hash configurations share. A key that is shorter than what is hashed counts as
 * if zeros followed. */
static bool soft_take_hash(struct soft_steering *s, const struct virtio_rss *rss)
{
	if ((rss->types & ~SOFT_HASH_TYPES) || rss->key_len > SOFT_RSS_KEY)
		return false;
	s->hash_types = rss->types;
	memset(s->key, 0, sizeof(s->key));
	memcpy(s->key, rss->key, rss->key_len);
	return true;
}

static int soft_rss(struct soft *soft, const struct soft_command *c)
{
	struct soft_steering next = soft->steering;
	struct virtio_rss rss;

	if (!virtio_rss_read(&rss, c->p, c->len) || rss.n_entries > SOFT_RSS_TABLE ||
	    rss.last_rx >= soft->n_pairs || rss.max_tx_vq < 1 || rss.max_tx_vq > soft->n_pairs ||
	    !soft_take_hash(&next, &rss))
		return -1;
	for (uint32_t i = 0; i < rss.n_entries; i++)
		next.table[i] = virtio_rss_entry(&rss, i);
	next.mask = (uint16_t)(rss.n_entries - 1);
	next.unclassified = rss.unclassified;
	next.rss = true;
	next.n_rx = rss.last_rx + 1u;
	next.n_tx = rss.max_tx_vq;
	return soft_steer_as(soft, &next);
}

/* Reserved fields are not looked at, because Linux leaves the number of pairs in them. */
static int soft_hash_config(struct soft *soft, const struct soft_command *c)
{
	struct virtio_rss rss;

	return virtio_rss_read_hash(&rss, c->p, c->len) && soft_take_hash(&soft->steering, &rss) ? 0 : -1;
}

static int soft_hash_tunnel(struct soft *soft, const struct soft_command *c)
{
	if (get_le32(c->p) & ~SOFT_TUNNEL_TYPES)
		return -1;
	soft->steering.tunnel_types = get_le32(c->p);
	return 0;
}

static int soft_offloads(struct soft *soft, const struct soft_command *c)
{
	uint64_t offloads = get_le64(c->p);
	int ret;

	if (offloads & ~(soft->features & SOFT_GUEST_OFFLOADS))
		return -1;
	ret = soft_port_set_offloads(soft->port, offloads);
	if (ret < 0) {
		log_limited(&soft->log_limit, LOG_WARN, "%s: cannot set the offloads 0x%" PRIx64 ": %s",
			    soft->name, offloads, strerror(-ret));
		return -1;
	}
	soft->offloads = offloads;
	return 0;
}

static struct soft_coalesce soft_get_coalesce(const uint8_t *p)
{
	return (struct soft_coalesce){ .max_packets = get_le32(p), .max_usecs = get_le32(p + 4) };
}

/* Sets all queues of a kind, also those that were given a value of their own. */
static int soft_coalesce_all(struct soft *soft, const struct soft_command *c)
{
	bool tx = c->command == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET;

	for (unsigned int i = 0; i < soft_ctrl_index(soft); i++) {
		if (soft_is_tx(&soft->queues[i]) == tx)
			soft_queue_set_coalesce(&soft->queues[i], soft_get_coalesce(c->p));
	}
	return 0;
}

/*
 * Returns the data queue that a command names, or NULL if its ring is not enabled. Steering may leave the
 * queue out at the moment, because Linux sets all of them when it has resized rings.
 */
static struct soft_queue *soft_enabled_queue(struct soft *soft, uint16_t index)
{
	if (index >= soft_ctrl_index(soft) || !soft->queues[index].live)
		return NULL;
	return &soft->queues[index];
}

static int soft_coalesce_set(struct soft *soft, const struct soft_command *c)
{
	struct soft_queue *q = soft_enabled_queue(soft, get_le16(c->p));

	if (!q)
		return -1;
	soft_queue_set_coalesce(q, soft_get_coalesce(c->p + 4));
	return 0;
}

static int soft_coalesce_get(struct soft *soft, const struct soft_command *c)
{
	const struct soft_queue *q = soft_enabled_queue(soft, get_le16(c->p));

	if (!q)
		return -1;
	put_le32(soft->reply, q->coalesce.max_packets);
	put_le32(soft->reply + 4, q->coalesce.max_usecs);
	return 8;
}

static int soft_query_stats(struct soft *soft, const struct soft_command *c)
{
	return soft_stats_query(soft, soft->reply);
}

static int soft_get_stats(struct soft *soft, const struct soft_command *c)
{
	return soft_stats_get(soft, c->p, c->len, soft->reply,
			      (uint32_t)min_u64(c->room, sizeof(soft->reply)));
}

/* clang-format off */
static const struct soft_row soft_rows[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1, soft_rx_mode },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, CTRL_MAC_TABLES_FIXED,
	  SOFT_MAX_COMMAND, soft_mac_table },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, 6, 6, soft_mac_addr },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, 2, 2, soft_vlan_add },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, 2, 2, soft_vlan_del },
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
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, VIRTIO_NET_F_VQ_NOTF_COAL, 12, 12, soft_coalesce_set },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, VIRTIO_NET_F_VQ_NOTF_COAL, 4, 4, soft_coalesce_get },
	{ VIRTIO_NET_CTRL_HASH_TUNNEL, VIRTIO_NET_CTRL_HASH_TUNNEL_SET, VIRTIO_NET_F_HASH_TUNNEL, 4, 4, soft_hash_tunnel },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, VIRTIO_NET_F_DEVICE_STATS, 0, 0, soft_query_stats },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, VIRTIO_NET_F_DEVICE_STATS, 16, SOFT_MAX_COMMAND, soft_get_stats },
};
/* clang-format on */

/* Does the command of @len bytes in soft->command, as a row's function says. */
static int soft_execute(struct soft *soft, uint32_t len, uint32_t room)
{
	const uint8_t *cmd = soft->command;
	struct soft_command c;

	soft->n_commands++;
	if (len < 2 || soft->n_commands == soft->faults.refuse_nth)
		return -1;
	c = (struct soft_command){ .command = cmd[1], .p = cmd + 2, .len = len - 2, .room = room };
	for (unsigned int i = 0; i < ARRAY_SIZE(soft_rows); i++) {
		const struct soft_row *r = &soft_rows[i];

		if (r->class != cmd[0] || r->command != cmd[1])
			continue;
		if (!virtio_has(soft->features, r->feature) || c.len < r->min || c.len > r->max)
			return -1;
		return r->run(soft, &c);
	}
	return -1;
}

/* Puts the ack into the chain's first writable byte. The memory has no log of dirty pages, so the byte is
 * written directly. */
static void soft_put_ack(struct soft_queue *q, const struct vring_chain *chain, uint8_t ack)
{
	uint8_t *p = memory_at(q->vring.mem, chain->segs[chain->n_read].addr, 1);

	if (p)
		*p = ack;
}

/* Does the command in a chain. Returns how many bytes were written for it. */
static uint32_t soft_serve_command(struct soft *soft, struct soft_queue *q, const struct vring_chain *chain)
{
	uint8_t ack = VIRTIO_NET_ERR;
	int reply = -1;
	uint32_t n = 0;

	/* A chain without a writable byte has no room for an answer. */
	if (chain->write_len == 0)
		return 0;
	if (chain->read_len <= sizeof(soft->command)) {
		uint32_t len = vring_chain_read(q->vring.mem, chain, 0, soft->command, chain->read_len);

		reply = soft_execute(soft, len, chain->write_len - 1);
		/* A reply that is cut would not be the one that was asked for. */
		if (reply > 0 && (uint32_t)reply > chain->write_len - 1)
			reply = -1;
	}
	if (reply >= 0) {
		ack = VIRTIO_NET_OK;
		soft->n_accepted++;
	}
	if (reply > 0)
		n = vring_chain_write(q->vring.mem, chain, 1, soft->reply, (uint32_t)reply);
	soft_put_ack(q, chain, ack);
	return 1 + n;
}

void soft_ctrl_flush(struct soft *soft)
{
	struct soft_queue *q = &soft->queues[soft_ctrl_index(soft)];
	unsigned int n = soft->n_answers;

	soft->n_answers = 0;
	if (!q->live)
		return;
	for (unsigned int i = 0; i < n; i++) {
		const struct soft_answer *a = &soft->answers[soft->faults.reverse ? n - 1 - i : i];

		vring_push(&q->vring, a->head, a->len);
		if (soft->faults.bad_ctrl_id)
			soft_queue_spoil(q);
	}
	soft_queue_publish(q, n);
}

void soft_ctrl_serve(struct soft *soft, struct soft_queue *q)
{
	struct vring_chain chain;
	int ret;

	do {
		vring_disable_kicks(&q->vring);
		/* A chain in flight has one answer at most, so the ring's size bounds the answers. */
		while ((ret = vring_pop(&q->vring, &chain)) == 1) {
			uint32_t len = soft_serve_command(soft, q, &chain);

			soft->answers[soft->n_answers++] = (struct soft_answer){ chain.head, len };
		}
	} while (ret == 0 && vring_enable_kicks(&q->vring));
	if (soft->faults.delay_ms == 0)
		soft_ctrl_flush(soft);
	else if (soft->n_answers > 0)
		loop_timer_arm(&soft->answer_timer, end_of((int)soft->faults.delay_ms));
}

void soft_ctrl_reset(struct soft *soft)
{
	soft->n_commands = soft->n_accepted = 0;
	soft->n_answers = 0;
	loop_timer_stop(&soft->answer_timer);
}
