/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control virtqueue's command table, and what follows from it: check, record, replay, save and load. */
#include "devices/cvq.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Debian 12's headers lack it. */
#define CVQ_F_GUEST_HDRLEN 59

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

_Static_assert(CVQ_MAX_MQ_COMMAND <= CVQ_MAX_COMMAND, "a buffer for any command");
_Static_assert(CVQ_MAX_MQ_COMMAND <= UINT16_MAX, "struct cvq_mq_slot's len");

struct cvq_row {
	uint8_t class, command;
	uint8_t feature; /* number of the bit that permits it */
	enum cvq_verdict verdict;
	uint32_t min, max; /* bytes of payload; without a check every length between is right */
	const char *name;
	/* Gives every reason against a payload of legal length, and zeroes what is reserved in it. */
	bool (*check)(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err);
	void (*remember)(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
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

/* A bit of the offload word and the feature it belongs to: not the same number for those above 63. */
static const struct {
	uint8_t bit, feature;
} cvq_offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
	{ VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_ECN },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_UFO },
	{ 46, 65 }, /* GUEST_UDP_TUNNEL_GSO */
	{ 47, 66 }, /* GUEST_UDP_TUNNEL_GSO_CSUM */
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO4 },
	{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_USO6 },
	{ CVQ_F_GUEST_HDRLEN, CVQ_F_GUEST_HDRLEN }, /* not in the specification's list, but Linux sets it */
};

static bool cvq_check_offloads(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint64_t allowed = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_offloads); i++) {
		unsigned int feature = cvq_offloads[i].feature;

		/* vhost-vdpa negotiates 64 features. */
		if (feature < 64 && virtio_has(limits->features, feature))
			allowed |= VIRTIO_BIT(cvq_offloads[i].bit);
	}
	if (get_le64(p) & ~allowed)
		return error_add(err, false,
				 "GUEST_OFFLOADS_SET: 0x%" PRIx64 ", negotiated features allow 0x%" PRIx64,
				 get_le64(p), allowed);
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

static const struct cvq_row cvq_rows[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, CVQ_FORWARD, 1, 1,
	  "RX_PROMISC", NULL, cvq_remember_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, CVQ_FORWARD, 1, 1,
	  "RX_ALLMULTI", NULL, cvq_remember_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  "RX_ALLUNI", NULL, cvq_remember_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  "RX_NOMULTI", NULL, cvq_remember_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  "RX_NOUNI", NULL, cvq_remember_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, CVQ_FORWARD, 1, 1,
	  "RX_NOBCAST", NULL, cvq_remember_rx_mode },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, CVQ_FORWARD, 8,
	  CVQ_MAX_COMMAND - 2, "MAC_TABLE_SET", cvq_check_mac_table, cvq_remember_mac_table },
	/* The specification's text says CTRL_RX, every driver and device CTRL_MAC_ADDR. */
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, CVQ_FORWARD, 6, 6,
	  "MAC_ADDR_SET", NULL, cvq_remember_mac },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, CVQ_FORWARD, 2, 2,
	  "VLAN_ADD", cvq_check_vlan, cvq_remember_vlan },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, CVQ_FORWARD, 2, 2,
	  "VLAN_DEL", cvq_check_vlan, cvq_remember_vlan },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE,
	  CVQ_ANNOUNCE_ACK, 0, 0, "ANNOUNCE_ACK", NULL, NULL },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, CVQ_FORWARD, 2, 2,
	  "MQ_VQ_PAIRS_SET", cvq_check_pairs, cvq_remember_mq },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_F_RSS, CVQ_FORWARD, RSS_FIXED + 2,
	  CVQ_MAX_MQ_COMMAND - 2, "MQ_RSS_CONFIG", cvq_check_rss, cvq_remember_mq },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, VIRTIO_NET_F_HASH_REPORT, CVQ_FORWARD,
	  HASH_FIXED, HASH_FIXED + CVQ_MAX_RSS_KEY, "MQ_HASH_CONFIG", cvq_check_hash_config,
	  cvq_remember_mq },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, CVQ_FORWARD, 8, 8, "GUEST_OFFLOADS_SET", cvq_check_offloads,
	  cvq_remember_offloads },
};

uint64_t cvq_features(void)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_rows); i++)
		features |= VIRTIO_BIT(cvq_rows[i].feature);
	return features;
}

void cvq_reset(struct cvq_store *store)
{
	memset(store, 0, sizeof(*store));
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

	if (!virtio_has(limits->features, row->feature))
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

void cvq_remember(struct cvq_store *store, const uint8_t *cmd, uint32_t len)
{
	const struct cvq_row *row = cvq_find(cmd, len);

	assert(row && row->remember);
	row->remember(store, cmd[1], cmd + 2, len - 2);
}

/* Replay: each stage writes its next command, or returns 0 when it has no more. @index is the stage's own. */

static uint32_t cvq_command(uint8_t *cmd, uint8_t class, uint8_t command, const void *payload, uint32_t len)
{
	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, payload, len);
	return 2 + len;
}

static uint32_t cvq_replay_mac(struct cvq_replay *r, uint8_t *cmd)
{
	if (r->index++ > 0 || !r->to->mac_set)
		return 0;
	if (r->from->mac_set && memcmp(r->from->mac, r->to->mac, sizeof(r->to->mac)) == 0)
		return 0;
	return cvq_command(cmd, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, r->to->mac,
			   sizeof(r->to->mac));
}

static uint32_t cvq_replay_offloads(struct cvq_replay *r, uint8_t *cmd)
{
	uint8_t mask[8];

	if (r->index++ > 0 || !r->to->offloads_set)
		return 0;
	if (r->from->offloads_set && r->from->offloads == r->to->offloads)
		return 0;
	put_le64(mask, r->to->offloads);
	return cvq_command(cmd, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, mask,
			   sizeof(mask));
}

static uint32_t cvq_replay_rx_modes(struct cvq_replay *r, uint8_t *cmd)
{
	while (r->index < CVQ_N_RX_MODES) {
		uint8_t mode = (uint8_t)r->index++, on = r->to->rx_mode[mode] == CVQ_ON;

		/* CVQ_OFF is sent too: the specification gives these modes no default. */
		if (r->to->rx_mode[mode] != CVQ_NEVER && r->to->rx_mode[mode] != r->from->rx_mode[mode])
			return cvq_command(cmd, VIRTIO_NET_CTRL_RX, mode, &on, 1);
	}
	return 0;
}

/* MAC_TABLE_SET's payload. */
static uint32_t cvq_put_mac_table(const struct cvq_store *store, uint8_t *p)
{
	uint32_t unicast_len = 6 * store->n_unicast, multicast_len = 6 * store->n_multicast;

	put_le32(p, store->n_unicast);
	memcpy(p + 4, store->macs, unicast_len);
	put_le32(p + 4 + unicast_len, store->n_multicast);
	memcpy(p + 8 + unicast_len, (const uint8_t *)store->macs + unicast_len, multicast_len);
	return 8 + unicast_len + multicast_len;
}

static uint32_t cvq_replay_mac_table(struct cvq_replay *r, uint8_t *cmd)
{
	const struct cvq_store *from = r->from, *to = r->to;

	/* Two tables that were never set and that are empty are the same: this default is specified. */
	if (r->index++ > 0 || (from->n_unicast == to->n_unicast && from->n_multicast == to->n_multicast &&
			       memcmp(from->macs, to->macs, 6 * (to->n_unicast + to->n_multicast)) == 0))
		return 0;
	cmd[0] = VIRTIO_NET_CTRL_MAC;
	cmd[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	return 2 + cvq_put_mac_table(to, cmd + 2);
}

/* The next id from @index on that is in @a and not in @b. */
static uint32_t cvq_replay_vlans(struct cvq_replay *r, const uint64_t *a, const uint64_t *b, uint8_t command,
				 uint8_t *cmd)
{
	while (r->index < CVQ_N_VLANS) {
		uint64_t word = (a[r->index / 64] & ~b[r->index / 64]) >> r->index % 64;
		uint8_t vid[2];

		if (word == 0) {
			r->index = (r->index / 64 + 1) * 64;
			continue;
		}
		r->index += (unsigned int)__builtin_ctzll(word);
		put_le16(vid, (uint16_t)r->index++);
		return cvq_command(cmd, VIRTIO_NET_CTRL_VLAN, command, vid, sizeof(vid));
	}
	return 0;
}

static uint32_t cvq_replay_vlan_del(struct cvq_replay *r, uint8_t *cmd)
{
	return cvq_replay_vlans(r, r->from->vlans, r->to->vlans, VIRTIO_NET_CTRL_VLAN_DEL, cmd);
}

static uint32_t cvq_replay_vlan_add(struct cvq_replay *r, uint8_t *cmd)
{
	return cvq_replay_vlans(r, r->to->vlans, r->from->vlans, VIRTIO_NET_CTRL_VLAN_ADD, cmd);
}

/* The MQ command that came as number @rank, from 0, of those after @sequence. NULL: fewer came. */
static const struct cvq_mq_slot *cvq_mq_after(const struct cvq_store *store, uint64_t sequence,
					      unsigned int rank)
{
	for (unsigned int i = 0; i < CVQ_N_MQ_COMMANDS; i++) {
		const struct cvq_mq_slot *slot = &store->mq[i];
		unsigned int n_before = 0;

		for (unsigned int j = 0; j < CVQ_N_MQ_COMMANDS; j++)
			n_before +=
				store->mq[j].sequence > sequence && store->mq[j].sequence < slot->sequence;
		if (slot->sequence > sequence && n_before == rank)
			return slot;
	}
	return NULL;
}

/*
 * What came after @from, in its order: the last of them decides on the steering mode, and some devices forget
 * the hash configuration when the number of pairs is set. Each overwrites the same fields whenever it comes,
 * so that earlier instances do not matter.
 */
static uint32_t cvq_replay_mq(struct cvq_replay *r, uint8_t *cmd)
{
	const struct cvq_mq_slot *slot = cvq_mq_after(r->to, r->from->mq_sequence, r->index);

	/* One pair is what a device has that got no MQ command yet. */
	if (slot == &r->to->mq[VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET] && r->index == 0 &&
	    r->from->mq_sequence == 0 && get_le16(slot->data) == 1)
		slot = cvq_mq_after(r->to, 0, ++r->index);
	r->index++;
	return slot ? cvq_command(cmd, VIRTIO_NET_CTRL_MQ, (uint8_t)(slot - r->to->mq), slot->data, slot->len)
		    : 0;
}

/* The order is the reference's, 2.4. Ids go before others come, for devices whose table is small. */
static uint32_t (*const cvq_stages[])(struct cvq_replay *r, uint8_t *cmd) = {
	cvq_replay_mac,      cvq_replay_offloads, cvq_replay_rx_modes, cvq_replay_mac_table,
	cvq_replay_vlan_del, cvq_replay_vlan_add, cvq_replay_mq,
};

void cvq_replay_init(struct cvq_replay *replay, const struct cvq_store *from, const struct cvq_store *to)
{
	*replay = (struct cvq_replay){ .from = from, .to = to };
}

uint32_t cvq_replay_next(struct cvq_replay *replay, uint8_t *cmd)
{
	for (; replay->stage < ARRAY_SIZE(cvq_stages); replay->stage++, replay->index = 0) {
		uint32_t len = cvq_stages[replay->stage](replay, cmd);

		if (len > 0)
			return len;
	}
	return 0;
}

/* Words */

void cvq_describe(const uint8_t *cmd, uint32_t len, char name[CVQ_NAME_MAX])
{
	const struct cvq_row *row = cvq_find(cmd, len);
	const uint8_t *p = cmd + 2;

	if (!row && len < 2)
		snprintf(name, CVQ_NAME_MAX, "command of %u bytes", len);
	else if (!row)
		snprintf(name, CVQ_NAME_MAX, "unknown command %u/%u", cmd[0], cmd[1]);
	else if (row->min != row->max || len - 2 != row->min || row->min == 0)
		snprintf(name, CVQ_NAME_MAX, "%s", row->name);
	else if (row->min == 6)
		snprintf(name, CVQ_NAME_MAX, "%s %02x:%02x:%02x:%02x:%02x:%02x", row->name, p[0], p[1], p[2],
			 p[3], p[4], p[5]);
	else if (row->min == 8)
		snprintf(name, CVQ_NAME_MAX, "%s 0x%" PRIx64, row->name, get_le64(p));
	else
		snprintf(name, CVQ_NAME_MAX, "%s %u", row->name,
			 row->min == 1 ? (unsigned int)p[0] : get_le16(p));
}

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

/* More than a guest can count to, and far from a wrap. */
#define CVQ_MAX_SEQUENCE ((uint64_t)1 << 62)

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
}

struct cvq_loader {
	const struct cvq_limits *limits;
	struct error *err;
	struct cvq_store store;
	uint8_t cmd[CVQ_MAX_COMMAND];
};

static int cvq_load_command(struct cvq_loader *l, uint32_t len)
{
	const struct cvq_row *row = cvq_find(l->cmd, len);

	if (!cvq_allows(row, l->limits, l->cmd, &len, l->err))
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
	uint32_t unicast_len, multicast_len;
	const uint8_t *unicast, *multicast;
	uint8_t *p = l->cmd + 2;
	int ret;

	if (!state_has(node, "mac-unicast") && !state_has(node, "mac-multicast"))
		return 0;
	ret = state_get_blob(node, "mac-unicast", 0, 6 * CVQ_MAX_MACS, &unicast, &unicast_len);
	if (ret == 0)
		ret = state_get_blob(node, "mac-multicast", 0, 6 * CVQ_MAX_MACS - unicast_len, &multicast,
				     &multicast_len);
	if (ret < 0)
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

static int cvq_load_vlans(struct cvq_loader *l, struct state_node *node)
{
	uint8_t vlans[CVQ_N_VLANS / 8], vid[2];
	int ret = state_get_bytes(node, "vlans", vlans, sizeof(vlans));

	for (uint16_t i = 0; ret == 0 && i < CVQ_N_VLANS; i++) {
		if (!(vlans[i / 8] >> i % 8 & 1))
			continue;
		put_le16(vid, i);
		ret = cvq_load_command(l, cvq_command(l->cmd, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD,
						      vid, sizeof(vid)));
	}
	return ret;
}

static int cvq_load_mq_slot(struct cvq_loader *l, struct state_node *node, unsigned int i)
{
	const char *payload_name = cvq_mq_names[i].payload, *sequence_name = cvq_mq_names[i].sequence;
	const uint8_t *payload;
	uint64_t sequence;
	uint32_t len;
	int ret;

	if (!state_has(node, payload_name) && !state_has(node, sequence_name))
		return 0;
	ret = state_get_u64(node, sequence_name, 1, CVQ_MAX_SEQUENCE, &sequence);
	if (ret == 0)
		ret = state_get_blob(node, payload_name, 1, CVQ_MAX_MQ_COMMAND - 2, &payload, &len);
	if (ret < 0)
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

static int (*const cvq_loads[])(struct cvq_loader *l, struct state_node *node) = {
	cvq_load_rx_modes, cvq_load_mac, cvq_load_mac_table, cvq_load_vlans, cvq_load_mq, cvq_load_offloads,
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
