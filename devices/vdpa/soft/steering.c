/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steering of received packets, by Toeplitz hash or by where their flow was sent last: see the header. */
#include "devices/vdpa/soft/steering.h"

#include <string.h>

#include "devices/vdpa/soft/flow.h"
#include "vmm/util.h"

/* The bits of the hash types by IP's version: alone, with TCP and with UDP follow one another. The number in
 * a report is one more than the bit's. */
enum { HASH_IPV4 = 0, HASH_IPV6 = 3, HASH_WITH_TCP = 1, HASH_WITH_UDP = 2 };

/* The longest input has two addresses of IPv6 and two ports. */
#define HASH_MAX_INPUT 36u

_Static_assert(SOFT_RSS_KEY >= HASH_MAX_INPUT + 4, "the key covers what is hashed");

static uint32_t soft_toeplitz(const uint8_t *key, const uint8_t *data, uint32_t len)
{
	uint64_t window = (uint64_t)key[0] << 56 | (uint64_t)key[1] << 48 | (uint64_t)key[2] << 40 |
			  (uint64_t)key[3] << 32;
	uint32_t hash = 0;

	for (uint32_t i = 0; i < len; i++) {
		window |= (uint64_t)key[i + 4] << 24;
		for (unsigned int bit = 0x80; bit; bit >>= 1) {
			if (data[i] & bit)
				hash ^= (uint32_t)(window >> 32);
			window <<= 1;
		}
	}
	return hash;
}

/* Finds the packet whose addresses and ports are hashed: the one inside a tunnel, where the guest has asked
 * for that. */
static struct soft_flow soft_hashed_flow(const struct soft_steering *s, const uint8_t *frame, uint32_t len)
{
	struct soft_flow f = soft_flow_parse(frame, len), inner;

	if (!s->tunnel_types || !f.version)
		return f;
	inner = soft_flow_parse_inner(&f, s->tunnel_types);
	return inner.version ? inner : f;
}

struct soft_hash soft_steering_hash(const struct soft_steering *s, const uint8_t *frame, uint32_t len)
{
	struct soft_flow f = soft_hashed_flow(s, frame, len);
	unsigned int bit = f.version == 4 ? HASH_IPV4 : HASH_IPV6, with_ports;
	const uint8_t *addresses, *ports;
	uint8_t input[HASH_MAX_INPUT];
	uint32_t n;

	if (!f.version)
		return (struct soft_hash){ 0 };
	addresses = soft_flow_addresses(&f, &n);
	memcpy(input, addresses, n);
	ports = soft_flow_ports(&f);
	with_ports = bit + (f.protocol == SOFT_PROTO_TCP ? HASH_WITH_TCP : HASH_WITH_UDP);
	if (ports && (s->hash_types >> with_ports & 1)) {
		memcpy(input + n, ports, 4);
		n += 4;
		bit = with_ports;
	}
	if (!(s->hash_types >> bit & 1))
		return (struct soft_hash){ 0 };
	return (struct soft_hash){ soft_toeplitz(s->key, input, n), (uint16_t)(bit + 1) };
}

void soft_steering_reset(struct soft_steering *s, unsigned int n_sources)
{
	*s = (struct soft_steering){ .n_rx = 1, .n_tx = 1, .by_source = n_sources > 1 };
}

unsigned int soft_steering_pairs(const struct soft_steering *s)
{
	return s->n_rx > s->n_tx ? s->n_rx : s->n_tx;
}

/* Returns a bucket that is the same for both directions of a flow; SOFT_FLOWS for a packet that has none. */
static unsigned int soft_bucket(const uint8_t *frame, uint32_t len)
{
	struct soft_flow f = soft_flow_parse(frame, len);
	const uint8_t *addresses, *ports;
	uint8_t x = 0;
	uint32_t n;

	if (!f.version)
		return SOFT_FLOWS;
	addresses = soft_flow_addresses(&f, &n);
	for (uint32_t i = 0; i < n; i++)
		x ^= addresses[i];
	ports = soft_flow_ports(&f);
	for (uint32_t i = 0; ports && i < 4; i++)
		x ^= ports[i];
	return x;
}

void soft_steering_learn(struct soft_steering *s, unsigned int pair, const uint8_t *frame, uint32_t len)
{
	unsigned int bucket = soft_bucket(frame, len);

	if (bucket < SOFT_FLOWS)
		s->flows[bucket] = (uint8_t)pair;
}

unsigned int soft_steering_pair(const struct soft_steering *s, unsigned int source, const uint8_t *frame,
				uint32_t len, struct soft_hash hash)
{
	unsigned int pair = source;

	if (s->rss)
		return hash.report ? s->table[hash.value & s->mask] : s->unclassified;
	if (soft_steering_learns(s)) {
		unsigned int bucket = soft_bucket(frame, len);

		pair = bucket < SOFT_FLOWS ? s->flows[bucket] : 0;
	}
	return pair < s->n_rx ? pair : 0;
}
