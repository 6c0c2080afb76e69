/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checks of control commands, each with the reasons that it gives. */
#include "devices/net/cvq/checks.h"

#include <errno.h>
#include <inttypes.h>

#include "devices/virtio/rss.h"
#include "vmm/mac.h"

bool cvq_has(const struct cvq_limits *limits, unsigned int feature)
{
	return feature < 64 ? virtio_has(limits->features, feature)
			    : virtio_has(limits->features_high, feature - 64);
}

bool cvq_check_mac_table(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint32_t n_unicast = get_le32(p), n_multicast;

	/* The table bounds @*len from both sides, so the counts cannot overflow what follows. */
	if (n_unicast > (*len - 8) / 6) {
		error_add(err, "MAC_TABLE_SET: %u unicast addresses in %u bytes", n_unicast, *len);
		return false;
	}
	n_multicast = get_le32(p + 4 + 6 * n_unicast);
	if (n_multicast > CVQ_MAX_MACS || *len != 8 + 6 * (n_unicast + n_multicast)) {
		error_add(err, "MAC_TABLE_SET: %u unicast and %u multicast addresses in %u bytes", n_unicast,
			  n_multicast, *len);
		return false;
	}
	return true;
}

/* The specification bounds the address in no way, but some devices refuse zero and others a group's address,
 * and no driver could start again with one that it had set. */
bool cvq_check_mac(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (!mac_valid(p)) {
		error_add(err, "MAC_ADDR_SET: " MAC_FORMAT " is no address that an interface can have",
			  MAC_ARGS(p));
		return false;
	}
	return true;
}

bool cvq_check_vlan(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	/* 802.1Q reserves 4095; the device says whether it takes that one. */
	if (get_le16(p) >= CVQ_N_VLANS) {
		error_add(err, "there is no VLAN %u, the last is %u", get_le16(p), CVQ_N_VLANS - 1);
		return false;
	}
	return true;
}

bool cvq_check_pairs(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (get_le16(p) < 1 || get_le16(p) > limits->max_pairs) {
		error_add(err, "MQ_VQ_PAIRS_SET: %u queue pairs, this device has %u", get_le16(p),
			  limits->max_pairs);
		return false;
	}
	return true;
}

/* RSS and hash configurations both have hash types and a key. */
static bool cvq_check_hash(const struct cvq_limits *limits, const char *name, const struct virtio_rss *rss,
			   struct error *err)
{
	bool ok = true;

	if (rss->types & ~limits->hash_types) {
		error_add(err, "%s: hash types 0x%x, this device has 0x%x", name, rss->types,
			  limits->hash_types);
		ok = false;
	}
	if (rss->key_len > limits->rss_max_key) {
		error_add(err, "%s: hash key of %u bytes, this device takes %u", name, rss->key_len,
			  limits->rss_max_key);
		ok = false;
	}
	return ok;
}

static bool cvq_check_rss_queues(const struct cvq_limits *limits, const struct virtio_rss *rss,
				 struct error *err)
{
	bool ok = true;

	/* max_pairs is at most 0x8000, so this refuses the reserved bit 15 too. */
	if (rss->last_rx >= limits->max_pairs) {
		error_add(err, "MQ_RSS_CONFIG: receive queue %u, this device has %u", rss->last_rx,
			  limits->max_pairs);
		ok = false;
	}
	if (rss->max_tx_vq < 1 || rss->max_tx_vq > limits->max_pairs) {
		error_add(err, "MQ_RSS_CONFIG: %u transmit queues, this device has %u", rss->max_tx_vq,
			  limits->max_pairs);
		ok = false;
	}
	return ok;
}

bool cvq_check_rss(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	struct virtio_rss rss;
	bool ok = true;

	if (!virtio_rss_read(&rss, p, *len)) {
		error_add(err, "MQ_RSS_CONFIG: table of %u entries and key of %u bytes in %u bytes",
			  rss.n_entries, rss.key_len, *len);
		return false;
	}
	/* Linux sends a byte of padding behind the key, which neither the device nor the record needs. */
	*len = rss.len;
	if (rss.n_entries > limits->rss_max_table) {
		error_add(err, "MQ_RSS_CONFIG: table of %u entries, this device takes %u", rss.n_entries,
			  limits->rss_max_table);
		ok = false;
	}
	ok &= cvq_check_hash(limits, "MQ_RSS_CONFIG", &rss, err);
	ok &= cvq_check_rss_queues(limits, &rss, err);
	return ok;
}

bool cvq_check_hash_config(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	struct virtio_rss rss;

	/* Linux sends an RSS structure with one entry here and leaves its max_tx_vq set. */
	memset(p + VIRTIO_HASH_RESERVED, 0, VIRTIO_HASH_KEY_LEN - VIRTIO_HASH_RESERVED);
	if (!virtio_rss_read_hash(&rss, p, *len)) {
		error_add(err, "MQ_HASH_CONFIG: key of %u bytes in %u bytes", rss.key_len, *len);
		return false;
	}
	*len = rss.len;
	return cvq_check_hash(limits, "MQ_HASH_CONFIG", &rss, err);
}

/* A context's id is all of DEL, and ADD and MOD begin with one. The device itself says how many contexts it
 * takes, by CAP_GET or by its refusal. */
bool cvq_check_context_id(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (get_le16(p) < 1 || get_le16(p) > CVQ_MAX_CONTEXTS) {
		error_add(err, "RSS context %u, possible are 1 to %u", get_le16(p), CVQ_MAX_CONTEXTS);
		return false;
	}
	return true;
}

bool cvq_check_context(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint32_t config_len = *len - CVQ_CONTEXT_CONFIG;
	bool ok = cvq_check_context_id(limits, p, len, err);

	memset(p + CVQ_CONTEXT_RESERVED, 0, CVQ_CONTEXT_CONFIG - CVQ_CONTEXT_RESERVED);
	ok &= cvq_check_rss(limits, p + CVQ_CONTEXT_CONFIG, &config_len, err);
	*len = CVQ_CONTEXT_CONFIG + config_len;
	if (!ok)
		error_add(err, "and so RSS context %u cannot be had", get_le16(p));
	return ok;
}

/* Bits of the offload word with the features that they belong to. The numbers differ for features from 64 on,
 * and HDRLEN is not in the specification's list, but Linux sets it. */
static const struct {
	uint8_t bit, feature;
	const char *name;
} cvq_offloads[] = {
	{ VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_CSUM, "checksums" },
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO4, "TSO of IPv4" },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_TSO6, "TSO of IPv6" },
	{ VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_ECN, "TSO with ECN" },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_UFO, "UFO" },
	{ 46, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO, "GSO in UDP tunnels" },
	{ 47, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM, "checksums of UDP tunnels" },
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO4, "USO of IPv4" },
	{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_USO6, "USO of IPv6" },
	{ VIRTIO_NET_F_GUEST_HDRLEN, VIRTIO_NET_F_GUEST_HDRLEN, "header lengths" },
};

const char *cvq_offload_name(unsigned int bit)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_offloads); i++) {
		if (cvq_offloads[i].bit == bit)
			return cvq_offloads[i].name;
	}
	return NULL;
}

bool cvq_check_offloads(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	uint64_t allowed = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cvq_offloads); i++) {
		if (cvq_has(limits, cvq_offloads[i].feature))
			allowed |= VIRTIO_BIT(cvq_offloads[i].bit);
	}
	if (get_le64(p) & ~allowed) {
		error_add(err, "GUEST_OFFLOADS_SET: 0x%" PRIx64 ", negotiated features allow 0x%" PRIx64,
			  get_le64(p), allowed);
		return false;
	}
	return true;
}

bool cvq_check_tunnel(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	if (get_le32(p) & ~limits->tunnel_types) {
		error_add(err, "HASH_TUNNEL_SET: tunnel types 0x%x, this device has 0x%x", get_le32(p),
			  limits->tunnel_types);
		return false;
	}
	return true;
}

/* VQ_SET and VQ_GET name a transmit or receive queue that the guest has enabled. */
bool cvq_check_coal_queue(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err)
{
	unsigned int queue = get_le16(p), n = 2u * limits->max_pairs;

	if (queue >= n || queue >= CVQ_MAX_QUEUES) {
		error_add(err, "coalescing of queue %u, this device has %u data queues", queue, n);
		return false;
	}
	if (limits->queue_disabled[queue]) {
		error_add(err, "coalescing of queue %u, which is not enabled", queue);
		return false;
	}
	/* Two bytes behind the queue's number are reserved. */
	put_le16(p + 2, 0);
	return true;
}
