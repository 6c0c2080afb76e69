/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands as saved state. */
#include "devices/net/cvq/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/*
 * Save and load. A value is saved if it was ever set. Loading makes commands of them again, which go through
 * the same check and the same record as a guest's.
 */
static const struct {
	const char *payload, *sequence;
} cvq_mq_names[CVQ_N_MQ_COMMANDS] = {
	[VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET] = { "vq-pairs", "vq-pairs-sequence" },
	[VIRTIO_NET_CTRL_MQ_RSS_CONFIG] = { "rss", "rss-sequence" },
	[VIRTIO_NET_CTRL_MQ_HASH_CONFIG] = { "hash", "hash-sequence" },
};

/* Index: enum cvq_kind. */
static const char *const cvq_coal_names[CVQ_N_KINDS] = {
	[CVQ_TX] = "coalescing-tx", [CVQ_RX] = "coalescing-rx"
};

/* An RSS context's configuration. Index: its id - 1. */
static const char *const cvq_context_names[CVQ_MAX_CONTEXTS] = {
	"rss-context-1", "rss-context-2", "rss-context-3", "rss-context-4",
	"rss-context-5", "rss-context-6", "rss-context-7", "rss-context-8",
};

/* A queue's own coalescing: VQ_SET's payload, for each queue that has it, in the queues' order. */
#define CVQ_COAL_QUEUE_LEN 12u

/* More than a guest can count to, and far from a wrap. */
#define CVQ_MAX_SEQUENCE ((uint64_t)1 << 62)

static void cvq_save_coal(const struct cvq_store *store, struct state_writer *w)
{
	uint8_t queues[CVQ_COAL_QUEUE_LEN * CVQ_MAX_QUEUES] = { 0 };
	uint32_t len = 0;

	for (unsigned int kind = 0; kind < CVQ_N_KINDS; kind++) {
		if (store->coal[kind].set)
			state_put_blob(w, cvq_coal_names[kind], store->coal[kind].value,
				       sizeof(store->coal[kind].value));
	}
	for (unsigned int i = 0; i < CVQ_MAX_QUEUES; i++) {
		if (!store->coal_queue[i].set)
			continue;
		put_le16(queues + len, (uint16_t)i);
		memcpy(queues + len + 4, store->coal_queue[i].value, sizeof(store->coal_queue[i].value));
		len += CVQ_COAL_QUEUE_LEN;
	}
	if (len > 0)
		state_put_blob(w, "coalescing-queues", queues, len);
}

void cvq_save(const struct cvq_store *store, struct state_writer *w)
{
	uint8_t vlans[CVQ_N_VLANS / 8];

	state_put_blob(w, "rx-modes", store->rx_mode, sizeof(store->rx_mode));
	if (store->mac_set)
		state_put_blob(w, "mac", store->mac, sizeof(store->mac));
	if (store->mac_table_set) {
		state_put_blob(w, "mac-unicast", store->macs, 6 * store->n_unicast);
		state_put_blob(w, "mac-multicast", (const uint8_t *)store->macs + 6 * store->n_unicast,
			       6 * store->n_multicast);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(store->vlans); i++)
		put_le64(vlans + 8 * i, store->vlans[i]);
	state_put_blob(w, "vlans", vlans, sizeof(vlans));
	for (unsigned int i = 0; i < CVQ_N_MQ_COMMANDS; i++) {
		if (store->mq[i].sequence == 0)
			continue;
		state_put_u64(w, cvq_mq_names[i].sequence, store->mq[i].sequence);
		state_put_blob(w, cvq_mq_names[i].payload, store->mq[i].data, store->mq[i].len);
	}
	if (store->offloads_set)
		state_put_u64(w, "offloads", store->offloads);
	if (store->tunnel_types)
		state_put_u32(w, "hash-tunnel", store->tunnel_types);
	for (unsigned int i = 0; i < CVQ_MAX_CONTEXTS; i++) {
		if (store->contexts[i].len > 0)
			state_put_blob(w, cvq_context_names[i], store->contexts[i].data,
				       store->contexts[i].len);
	}
	cvq_save_coal(store, w);
}

struct cvq_loader {
	const struct cvq_limits *limits;
	struct error *err;
	struct cvq_store store;
	uint8_t cmd[CVQ_MAX_COMMAND];
};

static int cvq_load_command(struct cvq_loader *l, uint32_t len)
{
	if (cvq_check(l->limits, l->cmd, &len, l->err) != CVQ_FORWARD)
		return -EINVAL;
	cvq_remember(&l->store, l->cmd, len);
	return 0;
}

static int cvq_load_rx_modes(struct cvq_loader *l, struct state_node *node)
{
	uint8_t modes[CVQ_N_RX_MODES];
	int ret = state_get_bytes(node, "rx-modes", modes, sizeof(modes));

	for (uint8_t i = 0; ret == 0 && i < CVQ_N_RX_MODES; i++) {
		uint8_t on = modes[i] == CVQ_ON;

		if (modes[i] > CVQ_ON)
			ret = error_add(l->err, -EINVAL, "RX mode %u is %u, the largest value is %u", i,
					modes[i], CVQ_ON);
		else if (modes[i] != CVQ_NEVER)
			ret = cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_RX, i, &on, 1));
	}
	return ret;
}

static int cvq_load_mac(struct cvq_loader *l, struct state_node *node)
{
	uint8_t mac[6];
	int ret;

	if (!state_has(node, "mac"))
		return 0;
	ret = state_get_bytes(node, "mac", mac, sizeof(mac));
	if (ret < 0)
		return ret;
	return cvq_load_command(
		l, cvq_command(l->cmd, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, sizeof(mac)));
}

static int cvq_load_mac_table(struct cvq_loader *l, struct state_node *node)
{
	uint32_t unicast_len = 0, multicast_len = 0;
	const uint8_t *unicast = NULL, *multicast = NULL;
	uint8_t *p = l->cmd + 2;
	int ret;

	if (!state_has(node, "mac-unicast") && !state_has(node, "mac-multicast"))
		return 0;
	ret = state_get_blob(node, "mac-unicast", 0, 6 * CVQ_MAX_MACS, &unicast, &unicast_len);
	if (ret == 0)
		ret = state_get_blob(node, "mac-multicast", 0, 6 * CVQ_MAX_MACS - unicast_len, &multicast,
				     &multicast_len);
	if (ret != 0)
		return ret;
	if (unicast_len % 6 != 0 || multicast_len % 6 != 0)
		return error_add(l->err, -EINVAL, "MAC tables of %u and %u bytes, an address has 6",
				 unicast_len, multicast_len);
	l->cmd[0] = VIRTIO_NET_CTRL_MAC;
	l->cmd[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	put_le32(p, unicast_len / 6);
	memcpy(p + 4, unicast, unicast_len);
	put_le32(p + 4 + unicast_len, multicast_len / 6);
	memcpy(p + 8 + unicast_len, multicast, multicast_len);
	return cvq_load_command(l, 2 + 8 + unicast_len + multicast_len);
}

/*
 * Not one command each, for a guest stands still meanwhile: what the record can hold is in range, and whether
 * there may be a VLAN at all is asked once.
 */
static int cvq_load_vlans(struct cvq_loader *l, struct state_node *node)
{
	uint8_t vlans[CVQ_N_VLANS / 8], vid[2] = { 0 };
	int ret = state_get_bytes(node, "vlans", vlans, sizeof(vlans));
	uint64_t any = 0;
	uint32_t len;

	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < ARRAY_SIZE(l->store.vlans); i++) {
		l->store.vlans[i] = get_le64(vlans + 8 * i);
		any |= l->store.vlans[i];
	}
	len = cvq_command(l->cmd, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vid, sizeof(vid));
	if (any != 0 && cvq_check(l->limits, l->cmd, &len, l->err) != CVQ_FORWARD)
		return -EINVAL;
	return 0;
}

static int cvq_load_mq_slot(struct cvq_loader *l, struct state_node *node, unsigned int i)
{
	const char *payload_name = cvq_mq_names[i].payload, *sequence_name = cvq_mq_names[i].sequence;
	const uint8_t *payload = NULL;
	uint64_t sequence = 0;
	uint32_t len = 0;
	int ret;

	if (!state_has(node, payload_name) && !state_has(node, sequence_name))
		return 0;
	ret = state_get_u64(node, sequence_name, 1, CVQ_MAX_SEQUENCE, &sequence);
	if (ret == 0)
		ret = state_get_blob(node, payload_name, 1, CVQ_MAX_MQ_COMMAND - 2, &payload, &len);
	if (ret != 0)
		return ret;
	for (unsigned int j = 0; j < i; j++) {
		if (l->store.mq[j].sequence == sequence)
			return error_add(l->err, -EINVAL, "%s and %s are both %" PRIu64, sequence_name,
					 cvq_mq_names[j].sequence, sequence);
	}
	ret = cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_MQ, (uint8_t)i, payload, len));
	if (ret == 0)
		l->store.mq[i].sequence = sequence;
	return ret;
}

static int cvq_load_mq(struct cvq_loader *l, struct state_node *node)
{
	int ret = 0;

	for (unsigned int i = 0; i < CVQ_N_MQ_COMMANDS; i++) {
		int slot_ret = cvq_load_mq_slot(l, node, i);

		ret = slot_ret < 0 ? slot_ret : ret;
	}
	l->store.mq_sequence = 0;
	for (unsigned int i = 0; i < CVQ_N_MQ_COMMANDS; i++)
		l->store.mq_sequence = max_u64(l->store.mq_sequence, l->store.mq[i].sequence);
	return ret;
}

static int cvq_load_offloads(struct cvq_loader *l, struct state_node *node)
{
	uint64_t offloads;
	uint8_t mask[8];
	int ret;

	if (!state_has(node, "offloads"))
		return 0;
	ret = state_get_u64(node, "offloads", 0, UINT64_MAX, &offloads);
	if (ret < 0)
		return ret;
	put_le64(mask, offloads);
	return cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
					       VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, mask, sizeof(mask)));
}

static int cvq_load_tunnel(struct cvq_loader *l, struct state_node *node)
{
	uint32_t types;
	uint8_t p[4];
	int ret;

	if (!state_has(node, "hash-tunnel"))
		return 0;
	/* 0 is not saved: it is the default. */
	ret = state_get_u32(node, "hash-tunnel", 1, UINT32_MAX, &types);
	if (ret < 0)
		return ret;
	put_le32(p, types);
	return cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_HASH_TUNNEL,
					       VIRTIO_NET_CTRL_HASH_TUNNEL_SET, p, sizeof(p)));
}

static int cvq_load_contexts(struct cvq_loader *l, struct state_node *node)
{
	int ret = 0;

	for (unsigned int i = 0; i < CVQ_MAX_CONTEXTS; i++) {
		const uint8_t *config = NULL;
		uint32_t len = 0;
		int context_ret;

		if (!state_has(node, cvq_context_names[i]))
			continue;
		context_ret =
			state_get_blob(node, cvq_context_names[i], 1, CVQ_MAX_MQ_COMMAND - 2, &config, &len);
		if (context_ret == 0)
			context_ret = cvq_load_command(
				l, cvq_put_context(l->cmd, VIRTIO_NET_CTRL_RSS_CTX_ADD, i + 1, config, len));
		ret = context_ret < 0 ? context_ret : ret;
	}
	return ret;
}

static int cvq_load_coal(struct cvq_loader *l, struct state_node *node)
{
	int ret = 0;

	for (unsigned int kind = 0; kind < CVQ_N_KINDS; kind++) {
		uint8_t p[8];
		int kind_ret = 0;

		if (!state_has(node, cvq_coal_names[kind]))
			continue;
		kind_ret = state_get_bytes(node, cvq_coal_names[kind], p, sizeof(p));
		if (kind_ret == 0)
			kind_ret = cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_NOTF_COAL,
								   (uint8_t)kind, p, sizeof(p)));
		ret = kind_ret < 0 ? kind_ret : ret;
	}
	return ret;
}

/* After cvq_load_coal(), which undoes it. */
static int cvq_load_coal_queues(struct cvq_loader *l, struct state_node *node)
{
	const uint8_t *p = NULL;
	uint32_t len = 0;
	int last = -1, ret;

	if (!state_has(node, "coalescing-queues"))
		return 0;
	ret = state_get_blob(node, "coalescing-queues", CVQ_COAL_QUEUE_LEN,
			     CVQ_COAL_QUEUE_LEN * CVQ_MAX_QUEUES, &p, &len);
	if (ret == 0 && len % CVQ_COAL_QUEUE_LEN != 0)
		ret = error_add(l->err, -EINVAL, "coalescing of queues in %u bytes, each has %u", len,
				CVQ_COAL_QUEUE_LEN);
	for (uint32_t i = 0; ret == 0 && i < len; i += CVQ_COAL_QUEUE_LEN) {
		if (get_le16(p + i) <= last || get_le16(p + i + 2) != 0)
			return error_add(l->err, -EINVAL, "coalescing of queue %u after that of queue %d",
					 get_le16(p + i), last);
		last = get_le16(p + i);
		ret = cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_NOTF_COAL,
						      VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, p + i,
						      CVQ_COAL_QUEUE_LEN));
	}
	return ret;
}

static int (*const cvq_loads[])(struct cvq_loader *l, struct state_node *node) = {
	cvq_load_rx_modes, cvq_load_mac,    cvq_load_mac_table, cvq_load_vlans, cvq_load_mq,
	cvq_load_offloads, cvq_load_tunnel, cvq_load_contexts,  cvq_load_coal,  cvq_load_coal_queues,
};

int cvq_load(struct cvq_store *store, const struct cvq_limits *limits, struct state_node *node)
{
	struct cvq_loader *l = calloc(1, sizeof(*l));
	int ret = 0;

	if (!l)
		return error_add(node->err, -ENOMEM, "no memory for the control queue's state");
	l->limits = limits;
	l->err = node->err;
	/* All of them, whatever fails: the peer is to learn every reason at once. */
	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_loads); i++) {
		int load_ret = cvq_loads[i](l, node);

		ret = load_ret < 0 ? load_ret : ret;
	}
	if (ret == 0)
		*store = l->store;
	free(l);
	return ret;
}
