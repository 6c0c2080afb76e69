/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control virtqueue's command table, and the functions that look a command up in it. */
#include "devices/net/cvq/cvq.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/virtio/rss.h"

/* VQ_GET's answer is packets and microseconds. The specification does not say clearly whether the ack is
 * before or behind them, and devices differ: the guest gets every byte from where the device put it. */
static const struct cvq_reply cvq_coal_reply = { .len = 8 };

/* CAP_GET's answer is how many contexts the device takes. The place of its ack is as uncertain. */
static const struct cvq_reply cvq_context_reply = { .len = 2 };

const struct cvq_row cvq_rows[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, "RX_PROMISC", CVQ_FORWARD, 1,
	  1, CVQ_NUMBER, .slot = { .keep = CVQ_KEEP_MODE, .turn = CVQ_WITH_FILTERS, .property = "rx-modes" },
	  .told_as = "promiscuous", .words = cvq_words_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, "RX_ALLMULTI", CVQ_FORWARD,
	  1, 1, CVQ_NUMBER, .slot = { .keep = CVQ_KEEP_MODE, .turn = CVQ_WITH_FILTERS },
	  .told_as = "allMulticast", .words = cvq_words_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, "RX_ALLUNI", CVQ_FORWARD,
	  1, 1, CVQ_NUMBER, .slot = { .keep = CVQ_KEEP_MODE, .turn = CVQ_WITH_FILTERS },
	  .told_as = "allUnicast", .words = cvq_words_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, "RX_NOMULTI",
	  CVQ_FORWARD, 1, 1, CVQ_NUMBER, .slot = { .keep = CVQ_KEEP_MODE, .turn = CVQ_WITH_FILTERS },
	  .told_as = "noMulticast", .words = cvq_words_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, "RX_NOUNI", CVQ_FORWARD,
	  1, 1, CVQ_NUMBER, .slot = { .keep = CVQ_KEEP_MODE, .turn = CVQ_WITH_FILTERS },
	  .told_as = "noUnicast", .words = cvq_words_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, "RX_NOBCAST",
	  CVQ_FORWARD, 1, 1, CVQ_NUMBER, .slot = { .keep = CVQ_KEEP_MODE, .turn = CVQ_WITH_FILTERS },
	  .told_as = "noBroadcast", .words = cvq_words_mode },
	/* The specification's text names CTRL_RX here, but every driver and device goes by CTRL_MAC_ADDR. */
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, "MAC_ADDR_SET",
	  CVQ_FORWARD, 6, 6, CVQ_MAC, .check = cvq_check_mac,
	  .slot = { .keep = CVQ_KEEP_VALUE, .turn = CVQ_BEFORE_FILTERS, .property = "mac" },
	  .told_as = "macAddress", .words = cvq_words_mac },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, "MAC_TABLE_SET",
	  CVQ_FORWARD, 8, CVQ_MAX_COMMAND - 2, CVQ_NAME_ONLY, .check = cvq_check_mac_table,
	  .slot = { .keep = CVQ_KEEP_MACS, .property = "mac" }, .told_as = "macTable",
	  .words = cvq_words_macs },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, "VLAN_ADD", CVQ_FORWARD, 2,
	  2, CVQ_NUMBER, .check = cvq_check_vlan, .slot = { .keep = CVQ_KEEP_VLANS, .property = "vlans" },
	  .told_as = "vlans", .words = cvq_words_vlans },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, "VLAN_DEL", CVQ_FORWARD, 2,
	  2, CVQ_NUMBER, .check = cvq_check_vlan, .slot = { .keep = CVQ_KEEP_VLANS } },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE, "ANNOUNCE_ACK",
	  CVQ_ANNOUNCE_ACK, 0, 0, CVQ_NAME_ONLY, .check = NULL },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, "MQ_VQ_PAIRS_SET",
	  CVQ_FORWARD, 2, 2, CVQ_NUMBER, .check = cvq_check_pairs,
	  .slot = { .keep = CVQ_KEEP_MQ, .property = "vq-pairs" }, .told_as = "queuePairs",
	  .words = cvq_words_pairs },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_F_RSS, "MQ_RSS_CONFIG", CVQ_FORWARD,
	  VIRTIO_RSS_MIN, CVQ_MAX_MQ_COMMAND - 2, CVQ_NAME_ONLY, .check = cvq_check_rss,
	  .slot = { .keep = CVQ_KEEP_MQ, .property = "rss" }, .told_as = "rss", .words = cvq_words_rss },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, VIRTIO_NET_F_HASH_REPORT, "MQ_HASH_CONFIG",
	  CVQ_FORWARD, VIRTIO_HASH_KEY, VIRTIO_HASH_KEY + CVQ_MAX_RSS_KEY, CVQ_NAME_ONLY,
	  .check = cvq_check_hash_config, .slot = { .keep = CVQ_KEEP_MQ, .property = "hash" },
	  .told_as = "hash", .words = cvq_words_hash },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, "GUEST_OFFLOADS_SET", CVQ_FORWARD, 8, 8, CVQ_BITS,
	  .check = cvq_check_offloads,
	  .slot = { .keep = CVQ_KEEP_VALUE, .turn = CVQ_BEFORE_FILTERS, .property = "offloads" },
	  .told_as = "guestOffloads", .words = cvq_words_offloads },
	{ VIRTIO_NET_CTRL_HASH_TUNNEL, VIRTIO_NET_CTRL_HASH_TUNNEL_SET, VIRTIO_NET_F_HASH_TUNNEL,
	  "HASH_TUNNEL_SET", CVQ_FORWARD, 4, 4, CVQ_BITS, .check = cvq_check_tunnel,
	  .slot = { .keep = CVQ_KEEP_VALUE,
		    .turn = CVQ_AFTER_STEERING,
		    .zero_default = true,
		    .property = "hash-tunnel" },
	  .told_as = "hashTunnel", .words = cvq_words_tunnel },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_CAP_GET, VIRTIO_NET_F_RSS_CONTEXT,
	  "RSS_CTX_CAP_GET", CVQ_PASS, 0, 0, CVQ_NAME_ONLY, .reply = &cvq_context_reply },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_ADD, VIRTIO_NET_F_RSS_CONTEXT, "RSS_CTX_ADD",
	  CVQ_FORWARD, CVQ_CONTEXT_CONFIG + VIRTIO_RSS_MIN, CVQ_CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND - 2,
	  CVQ_ID, .check = cvq_check_context, .slot = { .keep = CVQ_KEEP_CONTEXT, .property = "rss-context" },
	  .told_as = "rssContexts", .words = cvq_words_contexts },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_MOD, VIRTIO_NET_F_RSS_CONTEXT, "RSS_CTX_MOD",
	  CVQ_FORWARD, CVQ_CONTEXT_CONFIG + VIRTIO_RSS_MIN, CVQ_CONTEXT_CONFIG + CVQ_MAX_MQ_COMMAND - 2,
	  CVQ_ID, .check = cvq_check_context, .slot = { .keep = CVQ_KEEP_CONTEXT } },
	{ VIRTIO_NET_CTRL_RSS_CTX, VIRTIO_NET_CTRL_RSS_CTX_DEL, VIRTIO_NET_F_RSS_CONTEXT, "RSS_CTX_DEL",
	  CVQ_FORWARD, 2, 2, CVQ_ID, .check = cvq_check_context_id, .slot = { .keep = CVQ_KEEP_CONTEXT } },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, VIRTIO_NET_F_NOTF_COAL,
	  "NOTF_COAL_TX_SET", CVQ_FORWARD, 8, 8, CVQ_COAL,
	  .slot = { .keep = CVQ_KEEP_COAL,
		    .turn = CVQ_LAST,
		    .zero_default = true,
		    .property = "coalescing-tx" },
	  .told_as = "coalescingTx", .words = cvq_words_coal },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, VIRTIO_NET_F_NOTF_COAL,
	  "NOTF_COAL_RX_SET", CVQ_FORWARD, 8, 8, CVQ_COAL,
	  .slot = { .keep = CVQ_KEEP_COAL,
		    .turn = CVQ_LAST,
		    .zero_default = true,
		    .property = "coalescing-rx" },
	  .told_as = "coalescingRx", .words = cvq_words_coal },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, VIRTIO_NET_F_VQ_NOTF_COAL,
	  "NOTF_COAL_VQ_SET", CVQ_FORWARD, 12, 12, CVQ_COAL_QUEUE, .check = cvq_check_coal_queue,
	  .slot = { .keep = CVQ_KEEP_COAL_QUEUE, .property = "coalescing-queues" },
	  .told_as = "coalescingQueues", .words = cvq_words_coal_queues },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, VIRTIO_NET_F_VQ_NOTF_COAL,
	  "NOTF_COAL_VQ_GET", CVQ_PASS, 4, 4, CVQ_QUEUE, .check = cvq_check_coal_queue,
	  .reply = &cvq_coal_reply },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, VIRTIO_NET_F_DEVICE_STATS, "STATS_QUERY",
	  CVQ_PASS, 0, 0, CVQ_NAME_ONLY, .reply = &cvq_stats_query },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, VIRTIO_NET_F_DEVICE_STATS, "STATS_GET", CVQ_PASS,
	  16, 16 * CVQ_MAX_STATS_ITEMS, CVQ_NAME_ONLY, .check = cvq_check_stats, .reply = &cvq_stats_get },
};

const unsigned int cvq_n_rows = ARRAY_SIZE(cvq_rows);

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

	if (!cvq_has(limits, row->feature)) {
		error_add(err, "%s needs feature bit %u", row->name, row->feature);
		return false;
	}
	if (payload < row->min || payload > row->max) {
		error_add(err, "%s has %u bytes, allowed are %u to %u", row->name, payload, row->min,
			  row->max);
		return false;
	}
	if (row->check && !row->check(limits, cmd + 2, &payload, err))
		return false;
	*len = payload + 2;
	return true;
}

enum cvq_verdict cvq_check(const struct cvq_limits *limits, uint8_t *cmd, uint32_t *len, struct error *err)
{
	const struct cvq_row *row = cvq_find(cmd, *len);

	if (!row)
		error_add(err, "there is no such command (%u bytes)", *len);
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

	assert(row);
	cvq_keep(store, &row->slot, cmd, len);
}

void cvq_tell(const struct cvq_store *store, struct facts *f)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_rows); i++) {
		const struct cvq_row *row = &cvq_rows[i];

		if (!row->words)
			continue;
		facts_list(f, row->told_as);
		row->words(store, row->class, row->command, f);
		facts_list_end(f);
	}
}

/* @p has at least row->min bytes, which is all that is looked at. */
static void cvq_describe_payload(const struct cvq_row *row, const uint8_t *p, char *buf, size_t size)
{
	switch (row->form) {
	case CVQ_NUMBER:
		snprintf(buf, size, " %u", row->min == 1 ? (unsigned int)p[0] : get_le16(p));
		break;
	case CVQ_ID:
		snprintf(buf, size, " %u", get_le16(p));
		break;
	case CVQ_BITS:
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
		if (len - 2 == row->min || (len - 2 > row->min && row->form == CVQ_ID))
			cvq_describe_payload(row, cmd + 2, name + n, CVQ_NAME_MAX - (size_t)n);
	}
}
