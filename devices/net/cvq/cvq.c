/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control virtqueue's command table, and what follows from it: check and record. */
#include "devices/net/cvq/cvq_priv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/mac.h"

/* struct virtio_net_rss_config has a table in its middle: what lies behind counts from the table's end. */
#define RSS_TYPES        0u
#define RSS_MASK         4u
#define RSS_UNCLASSIFIED 6u
#define RSS_TABLE        8u
#define RSS_FIXED        11u
#define RSS_MAX_TX_VQ(n) (RSS_TABLE + 2 * (n))
#define RSS_KEY_LEN(n)   (RSS_MAX_TX_VQ(n) + 2)

#define HASH_RESERVED 4u
#define HASH_KEY_LEN  12u
#define HASH_FIXED    13u

/* An RSS context's id and what is reserved behind it, in front of its configuration. */
#define CONTEXT_RESERVED 2u
#define CONTEXT_CONFIG   8u

_Static_assert(CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND <= CVQ_MAX_COMMAND, "a buffer for any command");
_Static_assert(CVQ_MAX_MQ_COMMAND <= UINT16_MAX, "struct cvq_mq_slot's len");

/* What of a command's payload is said in messages. */
enum cvq_words { CVQ_NAME_ONLY, CVQ_NUMBER, CVQ_ID, CVQ_HEX, CVQ_MAC, CVQ_COAL, CVQ_QUEUE, CVQ_COAL_QUEUE };

struct cvq_row {
	uint8_t class, command;
	uint8_t feature; /* number of the bit that permits it */
	enum cvq_verdict verdict;
	uint32_t min, max; /* bytes of payload; without a check every length between is right */
	enum cvq_words words;
	const char *name;
	/* Gives every reason against a payload of legal length, and zeroes what is reserved in it. */
	bool (*check)(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err);
	void (*remember)(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
	const struct cvq_reply *reply; /* of what is passed through */
};

/* Checks */

static bool cvq_check_mac_table(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint32_t n_unicast = get_le32(p), n_multicast;

	/* @*len is at least 8 and has a bound, so that the counts cannot overflow what follows. */
	if (n_unicast > (*len - 8) / 6)
		return error_add(err, false, "MAC_TABLE_SET: %u unicast addresses in %u bytes", n_unicast,
				 *len);
	n_multicast = get_le32(p + 4 + 6 * n_unicast);
	if (n_multicast > CVQ_MAX_MACS || *len != 8 + 6 * (n_unicast + n_multicast))
		return error_add(err, false,
				 "MAC_TABLE_SET: %u unicast and %u multicast addresses in %u bytes",
				 n_unicast, n_multicast, *len);
	return true;
}

/* The specification asks for none, but devices may take it for any: some refuse zero, others a group's, and
 * no driver could start again with what it had set. */
static bool cvq_check_mac(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (!mac_valid(p))
		return error_add(err, false,
				 "MAC_ADDR_SET: " MAC_FORMAT " is no address that an interface can have",
				 MAC_ARGS(p));
	return true;
}

static bool cvq_check_vlan(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	/* 4095 is reserved by 802.1Q: whether it can be had is for the device to say. */
	if (get_le16(p) >= CVQ_N_VLANS)
		return error_add(err, false, "VLAN %u, the last is %u", get_le16(p), CVQ_N_VLANS - 1);
	return true;
}

static bool cvq_check_pairs(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (get_le16(p) < 1 || get_le16(p) > limits->max_pairs)
		return error_add(err, false, "MQ_VQ_PAIRS_SET: %u queue pairs, this device has %u",
				 get_le16(p), limits->max_pairs);
	return true;
}

/*
 * Linux 6.12 and later send the hash key by the size of a struct that ends in a byte of padding, so one byte
 * follows it. Neither the device nor the record needs that.
 */
static bool cvq_trim(uint32_t *len, uint32_t right)
{
	bool ok = *len == right || *len == right + 1;

	if (ok)
		*len = right;
	return ok;
}

/* What RSS and hash configurations share. */
static bool cvq_check_hash(const struct cvq_limits *limits, const char *name, uint32_t types,
			   unsigned int key_len, struct error *err)
{
	bool ok = true;

	if (types & ~limits->hash_types)
		ok = error_add(err, false, "%s: hash types 0x%x, this device has 0x%x", name, types,
			       limits->hash_types);
	if (key_len > limits->rss_max_key)
		ok = error_add(err, false, "%s: hash key of %u bytes, this device takes %u", name, key_len,
			       limits->rss_max_key);
	return ok;
}

/* @n entries of the table are inside the payload. */
static bool cvq_check_rss_queues(const struct cvq_limits *limits, const uint8_t *p, uint32_t n,
				 struct error *err)
{
	unsigned int last = get_le16(p + RSS_UNCLASSIFIED), max_tx_vq = get_le16(p + RSS_MAX_TX_VQ(n));
	bool ok = true;

	for (uint32_t i = 0; i < n; i++) {
		if (get_le16(p + RSS_TABLE + 2 * i) > last)
			last = get_le16(p + RSS_TABLE + 2 * i);
	}
	/* Bit 15 is reserved; max_pairs, which is at most 0x8000, refuses it too. */
	if (last >= limits->max_pairs)
		ok = error_add(err, false, "MQ_RSS_CONFIG: receive queue %u, this device has %u", last,
			       limits->max_pairs);
	if (max_tx_vq < 1 || max_tx_vq > limits->max_pairs)
		ok = error_add(err, false, "MQ_RSS_CONFIG: %u transmit queues, this device has %u", max_tx_vq,
			       limits->max_pairs);
	return ok;
}

static bool cvq_check_rss(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint32_t n = get_le16(p + RSS_MASK) + 1u, key_len;
	bool ok = true;

	if (!is_power_of_2(n) || *len < RSS_FIXED + 2 * n)
		return error_add(err, false, "MQ_RSS_CONFIG: table of %u entries in %u bytes", n, *len);
	key_len = p[RSS_KEY_LEN(n)];
	if (!cvq_trim(len, RSS_FIXED + 2 * n + key_len))
		return error_add(err, false,
				 "MQ_RSS_CONFIG: table of %u entries and key of %u bytes in %u bytes", n,
				 key_len, *len);
	if (n > limits->rss_max_table)
		ok = error_add(err, false, "MQ_RSS_CONFIG: table of %u entries, this device takes %u", n,
			       limits->rss_max_table);
	ok &= cvq_check_hash(limits, "MQ_RSS_CONFIG", get_le32(p + RSS_TYPES), key_len, err);
	ok &= cvq_check_rss_queues(limits, p, n, err);
	return ok;
}

static bool cvq_check_hash_config(const struct cvq_limits *limits, uint8_t *p, uint32_t *len,
				  struct error *err)
{
	unsigned int key_len = p[HASH_KEY_LEN];

	/* Linux sends an RSS structure with one entry here and leaves its max_tx_vq set. */
	memset(p + HASH_RESERVED, 0, HASH_KEY_LEN - HASH_RESERVED);
	if (!cvq_trim(len, HASH_FIXED + key_len))
		return error_add(err, false, "MQ_HASH_CONFIG: key of %u bytes in %u bytes", key_len, *len);
	return cvq_check_hash(limits, "MQ_HASH_CONFIG", get_le32(p + RSS_TYPES), key_len, err);
}

/* DEL, and what the others begin with. How many the device takes it says itself: CAP_GET, or its refusal. */
static bool cvq_check_context_id(const struct cvq_limits *limits, uint8_t *p, uint32_t *len,
				 struct error *err)
{
	if (get_le16(p) < 1 || get_le16(p) > CVQ_MAX_CONTEXTS)
		return error_add(err, false, "RSS context %u, possible are 1 to %u", get_le16(p),
				 CVQ_MAX_CONTEXTS);
	return true;
}

static bool cvq_check_context(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint32_t config_len = *len - CONTEXT_CONFIG;
	bool ok = cvq_check_context_id(limits, p, len, err);

	memset(p + CONTEXT_RESERVED, 0, CONTEXT_CONFIG - CONTEXT_RESERVED);
	ok &= cvq_check_rss(limits, p + CONTEXT_CONFIG, &config_len, err);
	*len = CONTEXT_CONFIG + config_len;
	return ok ? ok : error_add(err, false, "and so RSS context %u cannot be had", get_le16(p));
}

/* Whether a bit is negotiated, also one from 64 on. */
static bool cvq_has(const struct cvq_limits *limits, unsigned int feature)
{
	return feature < 64 ? virtio_has(limits->features, feature)
			    : virtio_has(limits->features_high, feature - 64);
}

/* A bit of the offload word and the feature it belongs to: not the same number for those above 63. */
static const struct {
	uint8_t bit, feature;
} cvq_offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
	{ VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_UFO },
	{ 46, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO },
	{ 47, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM },
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO4 },
	{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_USO6 },
	{ VIRTIO_NET_F_GUEST_HDRLEN,
	  VIRTIO_NET_F_GUEST_HDRLEN }, /* not in the specification's list, but Linux sets it */
};

static bool cvq_check_offloads(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint64_t allowed = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_offloads); i++) {
		if (cvq_has(limits, cvq_offloads[i].feature))
			allowed |= VIRTIO_BIT(cvq_offloads[i].bit);
	}
	if (get_le64(p) & ~allowed)
		return error_add(err, false,
				 "GUEST_OFFLOADS_SET: 0x%" PRIx64 ", negotiated features allow 0x%" PRIx64,
				 get_le64(p), allowed);
	return true;
}

static bool cvq_check_tunnel(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (get_le32(p) & ~limits->tunnel_types)
		return error_add(err, false, "HASH_TUNNEL_SET: tunnel types 0x%x, this device has 0x%x",
				 get_le32(p), limits->tunnel_types);
	return true;
}

/* VQ_SET and VQ_GET: a transmit or receive queue that the guest has enabled. */
static bool cvq_check_coal_queue(const struct cvq_limits *limits, uint8_t *p, uint32_t *len,
				 struct error *err)
{
	unsigned int queue = get_le16(p), n = 2u * limits->max_pairs;

	if (queue >= n || queue >= CVQ_MAX_QUEUES)
		return error_add(err, false, "coalescing of queue %u, this device has %u data queues", queue,
				 n);
	if (limits->queue_disabled[queue])
		return error_add(err, false, "coalescing of queue %u, which is not enabled", queue);
	/* Reserved. */
	put_le16(p + 2, 0);
	return true;
}

/* Records */

static void cvq_remember_rx_mode(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->rx_mode[command] = p[0] ? CVQ_ON : CVQ_OFF;
}

static void cvq_remember_mac_table(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->mac_table_set = true;
	store->n_unicast = get_le32(p);
	p += 4;
	memcpy(store->macs, p, 6 * store->n_unicast);
	p += 6 * store->n_unicast;
	store->n_multicast = get_le32(p);
	memcpy((uint8_t *)store->macs + 6 * store->n_unicast, p + 4, 6 * store->n_multicast);
}

static void cvq_remember_mac(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->mac_set = true;
	memcpy(store->mac, p, len);
}

static void cvq_remember_vlan(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	uint16_t vid = get_le16(p);

	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		store->vlans[vid / 64] |= (uint64_t)1 << vid % 64;
	else
		store->vlans[vid / 64] &= ~((uint64_t)1 << vid % 64);
}

static void cvq_remember_mq(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_mq_slot *slot = &store->mq[command];

	/* The rest of @data keeps what it had: nobody looks behind @len. */
	slot->sequence = ++store->mq_sequence;
	slot->len = (uint16_t)len;
	memcpy(slot->data, p, len);
}

static void cvq_remember_offloads(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->offloads_set = true;
	store->offloads = get_le64(p);
}

static void cvq_remember_tunnel(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->tunnel_types = get_le32(p);
}

static void cvq_remember_context(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_context *context = &store->contexts[get_le16(p) - 1];

	context->len = 0;
	if (command == VIRTIO_NET_CTRL_RSS_CTX_DEL)
		return;
	context->len = (uint16_t)(len - CONTEXT_CONFIG);
	memcpy(context->data, p + CONTEXT_CONFIG, context->len);
}

/* For every queue of its kind, those that had a value of their own included. */
static void cvq_remember_coal(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	store->coal[command].set = true;
	memcpy(store->coal[command].value, p, len);
	for (unsigned int queue = 0; queue < CVQ_MAX_QUEUES; queue++) {
		if (cvq_kind_of(queue) == command)
			cvq_reset_queue(store, queue);
	}
}

static void cvq_remember_coal_queue(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len)
{
	struct cvq_coal *coal = &store->coal_queue[get_le16(p)];

	coal->set = true;
	memcpy(coal->value, p + 4, sizeof(coal->value));
}

/* VQ_GET: packets and microseconds. Whether the ack is before or behind them is not clear from the
 * specification, and devices differ: every byte is the device's. */
static const struct cvq_reply cvq_coal_reply = { .len = 8 };

/* CAP_GET: how many contexts the device takes. Its ack is as uncertain. */
static const struct cvq_reply cvq_context_reply = { .len = 2 };

static const struct cvq_row cvq_rows[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, CVQ_FORWARD, 1, 1, CVQ_NUMBER,
	  "RX_PROMISC", NULL, cvq_remember_rx_mode, NULL },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, CVQ_FORWARD, 1, 1,
	  CVQ_NUMBER, "RX_ALLMULTI", NULL, cvq_remember_rx_mode, NULL },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  CVQ_NUMBER, "RX_ALLUNI", NULL, cvq_remember_rx_mode, NULL },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  CVQ_NUMBER, "RX_NOMULTI", NULL, cvq_remember_rx_mode, NULL },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  CVQ_NUMBER, "RX_NOUNI", NULL, cvq_remember_rx_mode, NULL },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  CVQ_NUMBER, "RX_NOBCAST", NULL, cvq_remember_rx_mode, NULL },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, CVQ_FORWARD, 8,
	  CVQ_MAX_COMMAND - 2, CVQ_NAME_ONLY, "MAC_TABLE_SET", cvq_check_mac_table, cvq_remember_mac_table,
	  NULL },
	/* The specification's text says CTRL_RX, every driver and device CTRL_MAC_ADDR. */
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, CVQ_FORWARD, 6, 6,
	  CVQ_MAC, "MAC_ADDR_SET", cvq_check_mac, cvq_remember_mac, NULL },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, CVQ_FORWARD, 2, 2,
	  CVQ_NUMBER, "VLAN_ADD", cvq_check_vlan, cvq_remember_vlan, NULL },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, CVQ_FORWARD, 2, 2,
	  CVQ_NUMBER, "VLAN_DEL", cvq_check_vlan, cvq_remember_vlan, NULL },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE,
	  CVQ_ANNOUNCE_ACK, 0, 0, CVQ_NAME_ONLY, "ANNOUNCE_ACK", NULL, NULL, NULL },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, CVQ_FORWARD, 2, 2, CVQ_NUMBER,
	  "MQ_VQ_PAIRS_SET", cvq_check_pairs, cvq_remember_mq, NULL },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_F_RSS, CVQ_FORWARD, RSS_FIXED + 2,
	  CVQ_MAX_MQ_COMMAND - 2, CVQ_NAME_ONLY, "MQ_RSS_CONFIG", cvq_check_rss, cvq_remember_mq, NULL },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, VIRTIO_NET_F_HASH_REPORT, CVQ_FORWARD,
	  HASH_FIXED, HASH_FIXED + CVQ_MAX_RSS_KEY, CVQ_NAME_ONLY, "MQ_HASH_CONFIG", cvq_check_hash_config,
	  cvq_remember_mq, NULL },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, CVQ_FORWARD, 8, 8, CVQ_HEX, "GUEST_OFFLOADS_SET",
	  cvq_check_offloads, cvq_remember_offloads, NULL },
	{ VIRTIO_NET_CTRL_HASH_TUNNEL, VIRTIO_NET_CTRL_HASH_TUNNEL_SET, VIRTIO_NET_F_HASH_TUNNEL, CVQ_FORWARD,
	  4, 4, CVQ_HEX, "HASH_TUNNEL_SET", cvq_check_tunnel, cvq_remember_tunnel, NULL },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, VIRTIO_NET_F_NOTF_COAL, CVQ_FORWARD, 8,
	  8, CVQ_COAL, "NOTF_COAL_TX_SET", NULL, cvq_remember_coal, NULL },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, VIRTIO_NET_F_NOTF_COAL, CVQ_FORWARD, 8,
	  8, CVQ_COAL, "NOTF_COAL_RX_SET", NULL, cvq_remember_coal, NULL },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, VIRTIO_NET_F_VQ_NOTF_COAL, CVQ_FORWARD,
	  12, 12, CVQ_COAL_QUEUE, "NOTF_COAL_VQ_SET", cvq_check_coal_queue, cvq_remember_coal_queue, NULL },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, VIRTIO_NET_F_VQ_NOTF_COAL, CVQ_PASS, 4,
	  4, CVQ_QUEUE, "NOTF_COAL_VQ_GET", cvq_check_coal_queue, NULL, &cvq_coal_reply },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_CAP_GET, VIRTIO_NET_F_RSS_CONTEXT, CVQ_PASS, 0, 0,
	  CVQ_NAME_ONLY, "RSS_CTX_CAP_GET", NULL, NULL, &cvq_context_reply },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_ADD, VIRTIO_NET_F_RSS_CONTEXT, CVQ_FORWARD,
	  CONTEXT_CONFIG + RSS_FIXED + 2, CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND - 2, CVQ_ID, "RSS_CTX_ADD",
	  cvq_check_context, cvq_remember_context, NULL },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_MOD, VIRTIO_NET_F_RSS_CONTEXT, CVQ_FORWARD,
	  CONTEXT_CONFIG + RSS_FIXED + 2, CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND - 2, CVQ_ID, "RSS_CTX_MOD",
	  cvq_check_context, cvq_remember_context, NULL },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_DEL, VIRTIO_NET_F_RSS_CONTEXT, CVQ_FORWARD, 2, 2,
	  CVQ_ID, "RSS_CTX_DEL", cvq_check_context_id, cvq_remember_context, NULL },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, VIRTIO_NET_F_DEVICE_STATS, CVQ_PASS, 0, 0,
	  CVQ_NAME_ONLY, "STATS_QUERY", NULL, NULL, &cvq_stats_query },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, VIRTIO_NET_F_DEVICE_STATS, CVQ_PASS, 16,
	  16 * CVQ_MAX_STATS_ITEMS, CVQ_NAME_ONLY, "STATS_GET", cvq_check_stats, NULL, &cvq_stats_get },
};

uint64_t cvq_features(void)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_rows); i++)
		features |= cvq_rows[i].feature < 64 ? VIRTIO_BIT(cvq_rows[i].feature) : 0;
	return features;
}

void cvq_reset(struct cvq_store *store)
{
	memset(store, 0, sizeof(*store));
}

void cvq_reset_queue(struct cvq_store *store, unsigned int queue)
{
	store->coal_queue[queue] = (struct cvq_coal){ 0 };
}

static const struct cvq_row *cvq_find(const uint8_t *cmd, uint32_t len)
{
	for (unsigned int i = 0; len >= 2 && i < ARRAY_SIZE(cvq_rows); i++) {
		if (cvq_rows[i].class == cmd[0] && cvq_rows[i].command == cmd[1])
			return &cvq_rows[i];
	}
	return NULL;
}

static bool cvq_allows(const struct cvq_row *row, const struct cvq_limits *limits, uint8_t *cmd,
		       uint32_t *len, struct error *err)
{
	uint32_t payload = *len - 2;

	if (!cvq_has(limits, row->feature))
		return error_add(err, false, "%s without feature bit %u", row->name, row->feature);
	if (payload < row->min || payload > row->max)
		return error_add(err, false, "%s of %u bytes, allowed are %u to %u", row->name, payload,
				 row->min, row->max);
	if (row->check && !row->check(limits, cmd + 2, &payload, err))
		return false;
	*len = payload + 2;
	return true;
}

enum cvq_verdict cvq_check(const struct cvq_limits *limits, uint8_t *cmd, uint32_t *len, struct error *err)
{
	const struct cvq_row *row = cvq_find(cmd, *len);

	if (!row)
		error_add(err, -EINVAL, "no such command (%u bytes)", *len);
	return row && cvq_allows(row, limits, cmd, len, err) ? row->verdict : CVQ_REFUSE;
}

uint32_t cvq_reply_len(const uint8_t *cmd, uint32_t len, uint32_t room)
{
	const struct cvq_row *row = cvq_find(cmd, len);

	assert(row);
	if (!row->reply)
		return 1;
	if (row->reply->len == 0)
		return 1 + cvq_stats_len(cmd + 2, len - 2);
	return room > row->reply->len ? 1 + row->reply->len : 0;
}

uint32_t cvq_take_reply(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *cmd,
			uint32_t len, uint8_t *reply, uint32_t reply_len)
{
	const struct cvq_row *row = cvq_find(cmd, len);

	assert(row && row->reply && reply_len > 0);
	if (!row->reply->take)
		return reply_len;
	if (reply[0] == VIRTIO_NET_OK &&
	    row->reply->take(stats, limits, cmd + 2, len - 2, reply + 1, reply_len - 1))
		return reply_len;
	reply[0] = VIRTIO_NET_ERR;
	return 1;
}

void cvq_remember(struct cvq_store *store, const uint8_t *cmd, uint32_t len)
{
	const struct cvq_row *row = cvq_find(cmd, len);

	assert(row && row->remember);
	row->remember(store, cmd[1], cmd + 2, len - 2);
}

/* At least row->min bytes of payload at @p, which are all there are. */
static void cvq_describe_payload(const struct cvq_row *row, const uint8_t *p, char *buf, size_t size)
{
	switch (row->words) {
	case CVQ_NUMBER:
		snprintf(buf, size, " %u", row->min == 1 ? (unsigned int)p[0] : get_le16(p));
		break;
	case CVQ_ID:
		snprintf(buf, size, " %u", get_le16(p));
		break;
	case CVQ_HEX:
		snprintf(buf, size, " 0x%" PRIx64, row->min == 4 ? get_le32(p) : get_le64(p));
		break;
	case CVQ_MAC:
		snprintf(buf, size, " %02x:%02x:%02x:%02x:%02x:%02x", p[0], p[1], p[2], p[3], p[4], p[5]);
		break;
	case CVQ_COAL:
		snprintf(buf, size, " %u packets %u us", get_le32(p), get_le32(p + 4));
		break;
	case CVQ_QUEUE:
		snprintf(buf, size, " queue %u", get_le16(p));
		break;
	case CVQ_COAL_QUEUE:
		snprintf(buf, size, " queue %u %u packets %u us", get_le16(p), get_le32(p + 4),
			 get_le32(p + 8));
		break;
	case CVQ_NAME_ONLY:
		break;
	}
}

void cvq_describe(const uint8_t *cmd, uint32_t len, char name[CVQ_NAME_MAX])
{
	const struct cvq_row *row = cvq_find(cmd, len);
	int n;

	if (!row && len < 2) {
		snprintf(name, CVQ_NAME_MAX, "command of %u bytes", len);
	} else if (!row) {
		snprintf(name, CVQ_NAME_MAX, "unknown command %u/%u", cmd[0], cmd[1]);
	} else {
		n = snprintf(name, CVQ_NAME_MAX, "%s", row->name);
		if (len - 2 == row->min || (len - 2 > row->min && row->words == CVQ_ID))
			cvq_describe_payload(row, cmd + 2, name + n, CVQ_NAME_MAX - (size_t)n);
	}
}
