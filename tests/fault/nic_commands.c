/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands of each family: see the header. */
#include "tests/fault/nic_commands.h"

#include "devices/vdpa/soft/packet.h"
#include "devices/virtio/virtio.h"
#include "tests/fault/nic_random.h"

/* What the NIC in software takes. */
#define NIC_KEY   40u
#define NIC_TYPES 0x3fu
#define NIC_PAIRS 2u

const char *const nic_families[NIC_N_FAMILIES] = {
	[NIC_RX] = "RX",
	[NIC_RX_EXTRA] = "RX_EXTRA",
	[NIC_MAC_TABLE] = "MAC table",
	[NIC_MAC_ADDR] = "MAC address",
	[NIC_VLAN] = "VLAN",
	[NIC_ANNOUNCE] = "ANNOUNCE_ACK",
	[NIC_MQ] = "MQ",
	[NIC_RSS] = "RSS",
	[NIC_HASH] = "hash",
	[NIC_OFFLOADS] = "guest offloads",
	[NIC_COALESCE] = "coalescing",
	[NIC_STATS] = "statistics",
	[NIC_TUNNEL] = "hash of tunnels",
	[NIC_CONTEXTS] = "RSS contexts",
};

static void nic_begin(struct nic_command *c, uint8_t class, uint8_t command)
{
	c->len = 2;
	c->bytes[0] = class;
	c->bytes[1] = command;
}

static void nic_put(struct nic_command *c, uint64_t v, unsigned int n_bytes)
{
	for (; n_bytes > 0; n_bytes--, v >>= 8)
		c->bytes[c->len++] = (uint8_t)v;
}

static void nic_put_macs(struct nic_command *c, uint8_t first, unsigned int n, uint64_t *random)
{
	nic_put(c, n, 4);
	for (; n > 0; n--) {
		nic_put(c, first, 1);
		nic_put(c, nic_random(random), 5);
	}
}

static void nic_mac_table(struct nic_command *c, uint64_t *random)
{
	nic_begin(c, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET);
	nic_put_macs(c, 0x02, (unsigned int)(nic_random(random) % 40), random);
	nic_put_macs(c, 0x33, (unsigned int)(nic_random(random) % 200), random);
}

static void nic_key(struct nic_command *c, uint64_t *random)
{
	uint8_t len = nic_random(random) % 4 ? NIC_KEY : (uint8_t)(nic_random(random) % NIC_KEY);

	nic_put(c, len, 1);
	for (unsigned int i = 0; i < len; i++)
		nic_put(c, nic_random(random), 1);
}

static void nic_rss(struct nic_command *c, uint64_t *random)
{
	unsigned int n = 1u << nic_random(random) % 8;

	nic_put(c, nic_random(random) & NIC_TYPES, 4);
	nic_put(c, n - 1, 2);
	nic_put(c, nic_random(random) % NIC_PAIRS, 2);
	for (unsigned int i = 0; i < n; i++)
		nic_put(c, nic_random(random) % NIC_PAIRS, 2);
	nic_put(c, nic_random(random) % NIC_PAIRS + 1, 2);
	nic_key(c, random);
}

static void nic_hash(struct nic_command *c, uint64_t *random)
{
	nic_begin(c, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG);
	nic_put(c, nic_random(random) & NIC_TYPES, 4);
	nic_put(c, 0, 8);
	nic_key(c, random);
}

/* Some microseconds: a packet that waits for others, and for no time, may wait for ever. */
static void nic_values(struct nic_command *c, uint64_t *random)
{
	nic_put(c, nic_random(random) % 4, 4);
	nic_put(c, 1 + nic_random(random) % 500, 4);
}

static void nic_coalesce(struct nic_command *c, uint64_t *random)
{
	uint8_t command = nic_random(random) & 3;

	nic_begin(c, VIRTIO_NET_CTRL_NOTF_COAL, command);
	if (command >= VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET)
		nic_put(c, nic_random(random) % (2 * NIC_PAIRS), 4);
	if (command != VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET)
		nic_values(c, random);
}

static void nic_stats(struct nic_command *c, uint64_t *random)
{
	bool ask = nic_random(random) & 1;

	nic_begin(c, VIRTIO_NET_CTRL_STATS, ask ? VIRTIO_NET_CTRL_STATS_QUERY : VIRTIO_NET_CTRL_STATS_GET);
	if (ask)
		return;
	/* The packets of the first receive queue. */
	nic_put(c, 0, 8);
	nic_put(c, 1, 8);
}

static void nic_context(struct nic_command *c, uint64_t *random)
{
	nic_begin(c, 9, (uint8_t)(nic_random(random) % 4));
	if (c->bytes[1] == 0)
		return;
	nic_put(c, nic_random(random) % 9, 2);
	if (c->bytes[1] == 3)
		return;
	nic_put(c, 0, 6);
	nic_rss(c, random);
}

/* Another length. One that says itself how long it is may be longer: Linux has sent such. */
static void nic_spoil(struct nic_command *c, uint64_t *random)
{
	if (c->len > 2 && (c->bytes[0] == VIRTIO_NET_CTRL_MQ || nic_random(random) & 1))
		c->len--;
	else
		nic_put(c, 0xff, 1);
}

void nic_command_make(struct nic_command *c, enum nic_family family, uint64_t features, uint64_t *random)
{
	uint64_t v = nic_random(random);

	switch (family) {
	case NIC_RX:
		nic_begin(c, VIRTIO_NET_CTRL_RX, v >> 1 & 1);
		nic_put(c, v & 1, 1);
		break;
	case NIC_RX_EXTRA:
		nic_begin(c, VIRTIO_NET_CTRL_RX, (uint8_t)(2 + (v >> 1) % 4));
		nic_put(c, v & 1, 1);
		break;
	case NIC_MAC_TABLE:
		nic_mac_table(c, random);
		break;
	case NIC_MAC_ADDR:
		nic_begin(c, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET);
		nic_put(c, 0x02 | v << 8, 6);
		break;
	case NIC_VLAN:
		nic_begin(c, VIRTIO_NET_CTRL_VLAN, v & 1);
		nic_put(c, (v >> 1) % 3 ? (v >> 3) % 8 : (v >> 3) % 4096, 2);
		break;
	case NIC_ANNOUNCE:
		nic_begin(c, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK);
		return;
	case NIC_MQ:
		nic_begin(c, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET);
		nic_put(c, v % NIC_PAIRS + 1, 2);
		break;
	case NIC_RSS:
		nic_begin(c, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
		nic_rss(c, random);
		break;
	case NIC_HASH:
		nic_hash(c, random);
		break;
	case NIC_OFFLOADS:
		nic_begin(c, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET);
		nic_put(c, v & features & SOFT_GUEST_OFFLOADS, 8);
		break;
	case NIC_COALESCE:
		nic_coalesce(c, random);
		break;
	case NIC_STATS:
		nic_stats(c, random);
		break;
	case NIC_TUNNEL:
		nic_begin(c, VIRTIO_NET_CTRL_HASH_TUNNEL, VIRTIO_NET_CTRL_HASH_TUNNEL_SET);
		nic_put(c, v & 0x1ff, 4);
		break;
	case NIC_CONTEXTS:
	default:
		nic_context(c, random);
		break;
	}
	if (nic_random(random) % 10 == 0)
		nic_spoil(c, random);
}
