/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two commands that configure a hash, as bytes on the wire: MQ_RSS_CONFIG with struct
 * virtio_net_rss_config and MQ_HASH_CONFIG with struct virtio_net_hash_config (virtio 1.4, "Receive-Side
 * Scaling", "Hash Configuration"). The functions find the parts and check that these fill the payload; which
 * values a device takes is for the caller to check. The tests and the device model spell the numbers out:
 * they check them.
 */
#ifndef FERRY_DEVICES_VIRTIO_RSS_H
#define FERRY_DEVICES_VIRTIO_RSS_H

#include <stdint.h>

#include "vmm/util.h"

/*
 * struct virtio_net_rss_config has a table in its middle, so what lies behind it counts from the table's end.
 */
#define VIRTIO_RSS_TYPES        0u
#define VIRTIO_RSS_MASK         4u /* number of the table's entries, less one */
#define VIRTIO_RSS_UNCLASSIFIED 6u
#define VIRTIO_RSS_TABLE        8u
#define VIRTIO_RSS_MAX_TX_VQ(n) (VIRTIO_RSS_TABLE + 2 * (n))
#define VIRTIO_RSS_KEY_LEN(n)   (VIRTIO_RSS_MAX_TX_VQ(n) + 2)
#define VIRTIO_RSS_KEY(n)       (VIRTIO_RSS_KEY_LEN(n) + 1)
/* All of it but the table and the key; and the shortest one, with one entry and no key. */
#define VIRTIO_RSS_FIXED VIRTIO_RSS_KEY(0)
#define VIRTIO_RSS_MIN   VIRTIO_RSS_KEY(1)

/* struct virtio_net_hash_config. */
#define VIRTIO_HASH_TYPES    0u
#define VIRTIO_HASH_RESERVED 4u
#define VIRTIO_HASH_KEY_LEN  12u
#define VIRTIO_HASH_KEY      13u

/* The parts of a payload; pointers into it. A HASH_CONFIG has neither table nor queues. */
struct virtio_rss {
	uint32_t types;
	uint32_t n_entries;
	const uint8_t *table; /* le16 each: virtio_rss_entry() */
	uint16_t unclassified;
	uint16_t last_rx; /* the highest receive queue of the table and @unclassified */
	uint16_t max_tx_vq;
	uint8_t key_len;
	const uint8_t *key;
	uint32_t len; /* bytes of the payload that count */
};

static inline uint16_t virtio_rss_entry(const struct virtio_rss *rss, uint32_t i)
{
	return get_le16(rss->table + 2 * i);
}

/*
 * Linux 6.12 and later send the hash key by the size of a struct that ends in a byte of padding, so one byte
 * may follow the key. It does not count.
 */
static inline bool virtio_rss_fits(const struct virtio_rss *rss, uint32_t len)
{
	return len == rss->len || len == rss->len + 1;
}

/*
 * Reads an RSS_CONFIG of @len bytes, VIRTIO_RSS_MIN at least. False: the table's length is no power of two,
 * or table and key do not fill the payload; then @n_entries and @key_len, which is 0 where the table alone is
 * too long, say what it was to have.
 */
static inline bool virtio_rss_read(struct virtio_rss *rss, const uint8_t *p, uint32_t len)
{
	uint32_t n = get_le16(p + VIRTIO_RSS_MASK) + 1u;

	*rss = (struct virtio_rss){
		.types = get_le32(p + VIRTIO_RSS_TYPES),
		.n_entries = n,
		.table = p + VIRTIO_RSS_TABLE,
		.unclassified = get_le16(p + VIRTIO_RSS_UNCLASSIFIED),
	};
	if (!is_power_of_2(n) || len < VIRTIO_RSS_KEY(n))
		return false;
	rss->max_tx_vq = get_le16(p + VIRTIO_RSS_MAX_TX_VQ(n));
	rss->key_len = p[VIRTIO_RSS_KEY_LEN(n)];
	rss->key = p + VIRTIO_RSS_KEY(n);
	rss->len = VIRTIO_RSS_KEY(n) + rss->key_len;
	rss->last_rx = rss->unclassified;
	for (uint32_t i = 0; i < n; i++) {
		if (virtio_rss_entry(rss, i) > rss->last_rx)
			rss->last_rx = virtio_rss_entry(rss, i);
	}
	return virtio_rss_fits(rss, len);
}

/* Reads a HASH_CONFIG of @len bytes, VIRTIO_HASH_KEY at least. False: the key does not fill the payload. */
static inline bool virtio_rss_read_hash(struct virtio_rss *rss, const uint8_t *p, uint32_t len)
{
	*rss = (struct virtio_rss){
		.types = get_le32(p + VIRTIO_HASH_TYPES),
		.key_len = p[VIRTIO_HASH_KEY_LEN],
		.key = p + VIRTIO_HASH_KEY,
		.len = VIRTIO_HASH_KEY + p[VIRTIO_HASH_KEY_LEN],
	};
	return virtio_rss_fits(rss, len);
}

#endif
