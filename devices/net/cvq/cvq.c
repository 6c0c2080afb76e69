/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control virtqueue's command table, and what follows from it: check and record. */
#include "devices/net/cvq/cvq.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/virtio/rss.h"

_Static_assert(CVQ_CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND <= CVQ_MAX_COMMAND, "a buffer for any command");
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
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_F_RSS, CVQ_FORWARD, VIRTIO_RSS_MIN,
	  CVQ_MAX_MQ_COMMAND - 2, CVQ_NAME_ONLY, "MQ_RSS_CONFIG", cvq_check_rss, cvq_remember_mq, NULL },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, VIRTIO_NET_F_HASH_REPORT, CVQ_FORWARD,
	  VIRTIO_HASH_KEY, VIRTIO_HASH_KEY + CVQ_MAX_RSS_KEY, CVQ_NAME_ONLY, "MQ_HASH_CONFIG",
	  cvq_check_hash_config, cvq_remember_mq, NULL },
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
	  CVQ_CONTEXT_CONFIG + VIRTIO_RSS_MIN, CVQ_CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND - 2, CVQ_ID,
	  "RSS_CTX_ADD", cvq_check_context, cvq_remember_context, NULL },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_MOD, VIRTIO_NET_F_RSS_CONTEXT, CVQ_FORWARD,
	  CVQ_CONTEXT_CONFIG + VIRTIO_RSS_MIN, CVQ_CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND - 2, CVQ_ID,
	  "RSS_CTX_MOD", cvq_check_context, cvq_remember_context, NULL },
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
