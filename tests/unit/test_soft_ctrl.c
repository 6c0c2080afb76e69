/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software: steering and hashes, offloads, coalescing, statistics, announcements; and what it
 * does wrong on request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "devices/soft_priv.h"
#include "tests/fake/soft.h"

#define BIT   VIRTIO_BIT
#define ALL   UINT64_MAX
#define NO_EV (~BIT(VIRTIO_RING_F_EVENT_IDX))

enum { MQ = VIRTIO_NET_CTRL_MQ, COAL = 6, TUNNEL = 7, STATS = 8 };

static int setup(void **state)
{
	struct soft_rig *r = calloc(1, sizeof(*r));

	soft_rig_init(r, SOFT_RIG_PAIRS);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	soft_rig_exit(*state);
	free(*state);
	return 0;
}

static int command(struct soft_rig *r, uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	return soft_rig_command(r, class, cmd, data, len, NULL, NULL);
}

/* Frames: Ethernet and IP, with the addresses of the published test vectors of the hash. */

static const uint8_t vector_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
static const uint8_t vector_ipv4[8] = { 66, 9, 149, 187, 161, 142, 100, 80 };
static const uint8_t vector_ipv6[32] = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0,
					 0,    0,    0,    0,    0x07, 0x3f, 0xfe, 0x25, 1, 2, 0,
					 0,    0x03, 0,    0,    0,    0,    0,    0,    0, 1 };
static const uint8_t vector_ports[4] = { 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255 };

static uint32_t put_ipv4(uint8_t *p, uint8_t protocol, const uint8_t *ports)
{
	memset(p, 0, 60);
	p[0] = 0x45;
	p[9] = protocol;
	memcpy(p + 12, vector_ipv4, 8);
	memcpy(p + 20, ports, 4);
	return 60;
}

static uint32_t put_eth(uint8_t *frame, unsigned int ethertype)
{
	static const uint8_t mac[6] = SOFT_RIG_MAC;

	memset(frame, 0, 14);
	memcpy(frame, mac, 6);
	frame[6] = 2;
	frame[12] = (uint8_t)(ethertype >> 8);
	frame[13] = (uint8_t)ethertype;
	return 14;
}

static uint32_t ipv4_frame(uint8_t *frame, uint8_t protocol, const uint8_t *ports)
{
	return put_eth(frame, 0x0800) + put_ipv4(frame + 14, protocol, ports);
}

static uint32_t ipv6_frame(uint8_t *frame, uint8_t protocol)
{
	put_eth(frame, 0x86dd);
	memset(frame + 14, 0, 80);
	frame[14] = 0x60;
	/* Behind an extension header of 16 bytes. */
	frame[14 + 6] = 60;
	memcpy(frame + 14 + 8, vector_ipv6, 32);
	frame[14 + 40] = protocol;
	frame[14 + 41] = 1;
	memcpy(frame + 14 + 56, vector_ports, 4);
	return 94;
}

/* Sends to the guest; the pair whose queue has it, or -1. */
static int arrives(struct soft_rig *r, const uint8_t *frame, uint32_t len, struct virtio_net_hdr_v1_hash *hdr)
{
	uint8_t in[512];
	int pair = -1;

	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	for (unsigned int i = 0; i < r->n_pairs; i++) {
		if (soft_rig_received(r, i, hdr, in, sizeof(in)) != (int)len)
			continue;
		assert_int_equal(pair, -1);
		assert_memory_equal(in, frame, len);
		pair = (int)i;
	}
	return pair;
}

static void post_all(struct soft_rig *r, unsigned int n)
{
	for (unsigned int i = 0; i < r->n_pairs; i++)
		soft_rig_post(r, i, n, 1024);
}

/* An RSS configuration whose table of four names @t; the length. */
static uint32_t rss(uint8_t *p, uint32_t types, const uint8_t t[4], uint8_t unclassified, uint8_t n_tx)
{
	memset(p, 0, 64);
	put_le32(p, types);
	put_le16(p + 4, 3);
	put_le16(p + 6, unclassified);
	for (unsigned int i = 0; i < 4; i++)
		put_le16(p + 8 + 2 * i, t[i]);
	put_le16(p + 16, n_tx);
	p[18] = 40;
	memcpy(p + 19, vector_key, 40);
	return 59;
}

static void test_pairs(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[128], in[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, ALL);
	post_all(r, 8);
	/* One pair at first: what is in the others stays there. */
	soft_rig_send(r, 3, NULL, frame, len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 50), -1);
	assert_int_equal(arrives(r, frame, len, NULL), 0);
	assert_int_equal(command(r, MQ, 0, "\x05\0", 2), VIRTIO_NET_ERR);
	assert_int_equal(command(r, MQ, 0, "\0\0", 2), VIRTIO_NET_ERR);
	assert_int_equal(command(r, MQ, 0, "\x04\0", 2), VIRTIO_NET_OK);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
	/* Its flow was sent there, so its answers come there. */
	assert_int_equal(arrives(r, frame, len, NULL), 3);
	assert_int_equal(command(r, MQ, 0, "\x02\0", 2), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, NULL), 0);
}

static void test_rss(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_net_hdr_v1_hash hdr;
	uint8_t frame[128], config[80];
	uint32_t len = ipv4_frame(frame, 6, vector_ports), n;

	soft_rig_start(r, ALL);
	post_all(r, 16);
	/* 0x51ccc178: the table's first entry. 0x323e8fc2: its third. */
	n = rss(config, 0x3f, (const uint8_t[]){ 3, 1, 2, 0 }, 1, 4);
	assert_int_equal(command(r, MQ, 1, config, n), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, &hdr), 3);
	assert_int_equal(hdr.hash_value, 0x51ccc178);
	assert_int_equal(hdr.hash_report, 2);
	n = rss(config, 1, (const uint8_t[]){ 3, 1, 2, 0 }, 1, 4);
	assert_int_equal(command(r, MQ, 1, config, n + 1), VIRTIO_NET_OK); /* and a byte of padding */
	assert_int_equal(arrives(r, frame, len, &hdr), 2);
	assert_int_equal(hdr.hash_value, 0x323e8fc2);
	assert_int_equal(hdr.hash_report, 1);
	/* IPv6 is of no type now. */
	len = ipv6_frame(frame, 6);
	assert_int_equal(arrives(r, frame, len, &hdr), 1);
	assert_int_equal(hdr.hash_report, 0);
	n = rss(config, 0x3f, (const uint8_t[]){ 3, 1, 2, 0 }, 0, 4);
	assert_int_equal(command(r, MQ, 1, config, n), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, &hdr), 1); /* 0x40207d3d */
	assert_int_equal(hdr.hash_value, 0x40207d3d);
	assert_int_equal(hdr.hash_report, 5);
	len = ipv6_frame(frame, 50);
	assert_int_equal(arrives(r, frame, len, &hdr), 1); /* 0x2cc18cd5 */
	assert_int_equal(hdr.hash_value, 0x2cc18cd5);
	assert_int_equal(hdr.hash_report, 4);
	/* A fragment has no ports that could be told from data. */
	len = ipv4_frame(frame, 6, vector_ports);
	frame[14 + 6] = 0x20;
	assert_int_equal(arrives(r, frame, len, &hdr), 2);
	assert_int_equal(hdr.hash_report, 1);
	/* Pairs end it. */
	assert_int_equal(command(r, MQ, 0, "\x01\0", 2), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, NULL), 0);
}

static void test_rss_refusals(void **state)
{
	struct soft_rig *r = *state;
	static const uint8_t good[4] = { 3, 1, 2, 0 };
	uint8_t config[80], frame[128];
	uint32_t n = rss(config, 0x3f, good, 1, 4);
	const struct {
		unsigned int at;
		uint8_t value;
	} bad[] = {
		{ 0, 0x7f }, { 4, 2 },  { 5, 1 },  { 6, 4 },   { 8, 4 },
		{ 9, 0x80 }, { 16, 0 }, { 16, 5 }, { 18, 41 },
	};

	soft_rig_start(r, ALL);
	post_all(r, 4);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rss(config, 0x3f, good, 1, 4);
		config[bad[i].at] = bad[i].value;
		assert_int_equal(command(r, MQ, 1, config, n), VIRTIO_NET_ERR);
	}
	rss(config, 0x3f, good, 1, 4);
	for (uint32_t len = 0; len < n; len++)
		assert_int_equal(command(r, MQ, 1, config, len), VIRTIO_NET_ERR);
	assert_int_equal(arrives(r, frame, ipv4_frame(frame, 6, vector_ports), NULL), 0);
	soft_rig_reset(r);
	soft_rig_start(r, ~BIT(VIRTIO_NET_F_RSS));
	assert_int_equal(command(r, MQ, 1, config, n), VIRTIO_NET_ERR);
}

/* Hashes without RSS; what Linux leaves in reserved bytes does no harm. And of inner packets. */
static void test_hash(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_net_hdr_v1_hash hdr;
	uint8_t frame[200] = { 0 }, config[64] = { 0x3f, [10] = 4, [12] = 40 };
	uint32_t len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, ~BIT(VIRTIO_NET_F_RSS));
	post_all(r, 16);
	assert_int_equal(arrives(r, frame, len, &hdr), 0);
	assert_int_equal(hdr.hash_report, 0);
	memcpy(config + 13, vector_key, 40);
	assert_int_equal(command(r, MQ, 2, config, 53), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, &hdr), 0);
	assert_int_equal(hdr.hash_value, 0x51ccc178);
	assert_int_equal(hdr.hash_report, 3);
	assert_int_equal(command(r, MQ, 2, config, 52), VIRTIO_NET_ERR);
	config[12] = 41;
	assert_int_equal(command(r, MQ, 2, config, 54), VIRTIO_NET_ERR);

	/* In VXLAN, by command. */
	len = put_eth(frame, 0x0800) + 20 + 8 + 8;
	put_ipv4(frame + 14, 17, (const uint8_t[]){ 1, 2, 0x12, 0xb5 });
	memset(frame + 14 + 12, 9, 8);
	len += ipv4_frame(frame + len, 17, vector_ports);
	assert_int_equal(arrives(r, frame, len, &hdr), 0);
	assert_int_not_equal(hdr.hash_value, 0x51ccc178);
	assert_int_equal(command(r, TUNNEL, 0, "\0\x02\0\0", 4), VIRTIO_NET_ERR);
	assert_int_equal(command(r, TUNNEL, 0, "\x10\0\0\0", 4), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, &hdr), 0);
	assert_int_equal(hdr.hash_value, 0x51ccc178);
}

/* Tunnels: what is between the outer addresses and the packet of the vector, and bits of the kinds it is. */
static const struct tunnel {
	uint32_t kinds;
	uint8_t outer; /* version of IP */
	uint8_t protocol, len;
	const char *head;
	unsigned int inner; /* ethertype, 0: with an Ethernet header */
} tunnels[] = {
	/* GRE: plain, with a checksum, a key, a sequence number, all; IPv6 in it or around it. */
	{ 0x001, 4, 47, 4, "\0\0\x08\0", 0x0800 },
	{ 0x001, 4, 47, 4, "\0\0\x65\x58", 0 },
	{ 0x001, 4, 47, 8, "\x80\0\x08\0cccc", 0x0800 },
	{ 0x002, 4, 47, 8, "\x20\0\x08\0kkkk", 0x0800 },
	{ 0x002, 4, 47, 8, "\x10\0\x08\0ssss", 0x0800 },
	{ 0x002, 4, 47, 16,
	  "\xb0\0\x86\xdd"
	  "cccckkkkssss",
	  0x86dd },
	{ 0x005, 4, 47, 4, "\0\0\x86\xdd", 0x86dd },
	{ 0x005, 6, 47, 4, "\0\0\x08\0", 0x0800 },
	{ 0x102, 4, 47, 8,
	  "\x20\0\x65\x58"
	  "vsid",
	  0 },
	{ 0x002, 4, 47, 12,
	  "\x30\0\x65\x58"
	  "kkkkssss",
	  0 },
	{ 0x000, 4, 47, 4, "\0\1\x08\0", 0x0800 }, /* another version */
	{ 0x000, 4, 47, 4, "\0\0\x08\6", 0x0800 }, /* not IP */
	{ 0x008, 4, 17, 12, "pp\x12\x92llcc\0\0\x08\0", 0x0800 },
	{ 0x008, 6, 17, 16,
	  "pp\x12\x92llcc\x20\0\x65\x58"
	  "kkkk",
	  0 },
	{ 0x010, 4, 17, 16, "pp\x12\xb5llcc\x08\0\0\0vvv\0", 0 },
	{ 0x010, 6, 17, 16, "pp\x12\xb5llcc\x08\0\0\0vvv\0", 0 },
	{ 0x020, 4, 17, 16, "pp\x12\xb6llcc\x0c\0\0\1vvv\0", 0x0800 },
	{ 0x020, 4, 17, 16, "pp\x12\xb6llcc\x0c\0\0\2vvv\0", 0x86dd },
	{ 0x020, 4, 17, 16, "pp\x12\xb6llcc\x0c\0\0\3vvv\0", 0 },
	{ 0x000, 4, 17, 16, "pp\x12\xb6llcc\x0c\0\0\4vvv\0", 0 }, /* a network service header */
	{ 0x000, 4, 17, 16, "pp\x12\xb6llcc\x08\0\0\3vvv\0", 0 }, /* says nothing of what follows */
	{ 0x040, 4, 17, 16, "pp\x17\xc1llcc\0\0\x65\x58vvv\0", 0 },
	{ 0x040, 4, 17, 24, "pp\x17\xc1llcc\2\0\x86\xddvvv\0optioned", 0x86dd },
	{ 0x000, 4, 17, 16, "pp\x17\xc1llcc\x40\0\x65\x58vvv\0", 0 }, /* another version */
	{ 0x080, 4, 4, 0, "", 0x0800 },
	{ 0x080, 6, 41, 0, "", 0x86dd },
	{ 0x000, 4, 17, 16, "pp\x12\xb7llcc\x08\0\0\0vvv\0", 0 }, /* a port of nobody's */
};

/* The frame's length. */
static uint32_t put_tunnel(const struct tunnel *t, uint8_t *frame)
{
	uint8_t inner[128];
	uint32_t skip = t->inner ? 14 : 0, len, inner_len;

	inner_len = t->inner == 0x86dd ? ipv6_frame(inner, 17) : ipv4_frame(inner, 17, vector_ports);
	if (t->outer == 4) {
		len = ipv4_frame(frame, t->protocol, vector_ports) - 40;
		memset(frame + 14 + 12, 9, 8);
	} else {
		ipv6_frame(frame, t->protocol);
		memset(frame + 14 + 8, 9, 32);
		len = 14 + 56;
	}
	memcpy(frame + len, t->head, t->len);
	len += t->len;
	memcpy(frame + len, inner + skip, inner_len - skip);
	return len + inner_len - skip;
}

/* Hashed is what is inside of a tunnel of an enabled kind, and of no other; and nothing behind the end of a
 * packet that was cut off: the sanitizers see to it. */
static void test_tunnels(void **state)
{
	struct soft_steering s = { .hash_types = SOFT_HASH_TYPES };

	memcpy(s.key, vector_key, sizeof(s.key));
	for (unsigned int i = 0; i < ARRAY_SIZE(tunnels); i++) {
		const struct tunnel *t = &tunnels[i];
		uint32_t value = t->inner == 0x86dd ? 0x40207d3d : 0x51ccc178, len;
		uint8_t frame[256];

		len = put_tunnel(t, frame);
		for (unsigned int bit = 0; bit < 9; bit++) {
			struct soft_hash hash;

			s.tunnel_types = 1u << bit;
			hash = soft_hash(&s, frame, len);
			if ((hash.value == value) != (t->kinds >> bit & 1))
				fail_msg("row %u, kind %u: 0x%x", i, bit, hash.value);
		}
		s.tunnel_types = SOFT_TUNNEL_TYPES;
		for (uint32_t n = 14; n < len; n++) {
			uint8_t *copy = malloc(n);

			assert_non_null(copy);
			memcpy(copy, frame, n);
			assert_true(soft_hash(&s, copy, n).report <= 6);
			free(copy);
		}
	}
}

/* Packets that are cut off anywhere are hashed without a look behind their end: the sanitizers see to it. */
static void test_short_frames(void **state)
{
	struct soft_steering s = { .hash_types = SOFT_HASH_TYPES, .tunnel_types = SOFT_TUNNEL_TYPES };
	const uint8_t vxlan_ports[4] = { 0, 1, 0x12, 0xb5 }, gre[4] = { 0xb0, 0, 0x65, 0x58 };
	uint8_t frame[256] = { 0 };
	uint32_t len = 0;

	for (unsigned int kind = 0; kind < 6; kind++) {
		switch (kind) {
		case 0:
			len = ipv6_frame(frame, 6);
			break;
		case 1:
			frame[14 + 41] = 255; /* an extension header beyond everything */
			break;
		case 2:
			len = ipv6_frame(frame, 4);
			break;
		case 3:
			len = ipv4_frame(frame, 47, gre);
			break;
		case 4:
			len = ipv4_frame(frame, 17, vxlan_ports);
			break;
		default:
			put_eth(frame, 0x8100);
			memset(frame + 12, 0x81, len - 12);
			break;
		}
		for (uint32_t n = 14; n <= len; n++) {
			uint8_t *copy = malloc(n);
			struct soft_hash hash;

			assert_non_null(copy);
			memcpy(copy, frame, n);
			hash = soft_hash(&s, copy, n);
			assert_true(n > 33 || hash.report == 0);
			free(copy);
		}
	}
}

static void test_offloads(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					 .gso_size = 20 };
	uint8_t frame[128], in[128], mask[8] = { 0 };
	uint32_t len = ipv4_frame(frame, 6, vector_ports);

	soft_rig_start(r, ALL);
	post_all(r, 8);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_OK);
	soft_net_send(&r->net, &hdr, frame, len);
	hdr.gso_type = 0;
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
	mask[0] = 2;
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_OK);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	/* Linux sends the bit of GUEST_HDRLEN along; those that were not negotiated are refused. */
	put_le64(mask, BIT(VIRTIO_NET_F_GUEST_HDRLEN) | BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_OK);
	put_le64(mask, BIT(VIRTIO_NET_F_CSUM));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_ERR);
}

static uint32_t coal(uint8_t *p, uint32_t packets, uint32_t usecs)
{
	put_le32(p, packets);
	put_le32(p + 4, usecs);
	return 8;
}

static unsigned int interrupts_of(struct soft_rig *r, unsigned int pair, unsigned int n)
{
	uint8_t frame[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);
	unsigned int calls = 0;

	while (n-- > 0) {
		assert_int_equal(arrives(r, frame, len, NULL), (int)pair);
		calls += soft_rig_calls(r, 2 * pair);
	}
	return calls;
}

static void test_coalescing(void **state)
{
	struct soft_rig *r = *state;
	struct pollfd pfd = { .fd = r->call[0], .events = POLLIN };
	uint8_t c[12] = { 0 }, reply[8192];
	uint32_t len;

	/* Without event_idx, so that the driver wants every one. */
	soft_rig_start(r, NO_EV);
	post_all(r, 32);
	assert_int_equal(interrupts_of(r, 0, 4), 4);
	assert_int_equal(command(r, COAL, 1, c, coal(c, 4, 60000000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 3), 0);
	assert_int_equal(interrupts_of(r, 0, 1), 1);
	/* Time alone. */
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 100000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 1), 0);
	assert_int_equal(poll(&pfd, 1, 2000), 1);
	assert_int_equal(soft_rig_calls(r, 0), 1);
	/* One queue's own; what is held under the old rule is told at once. */
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 60000000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 1), 0);
	put_le32(c, 0);
	coal(c + 4, 2, 60000000);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_OK);
	soft_settle(r);
	assert_int_equal(soft_rig_calls(r, 0), 1);
	assert_int_equal(interrupts_of(r, 0, 4), 2);
	assert_int_equal(soft_rig_command(r, COAL, 3, c, 4, reply, &len), VIRTIO_NET_OK);
	assert_int_equal(len, 8);
	assert_int_equal(get_le32(reply), 2);
	assert_int_equal(get_le32(reply + 4), 60000000);
	/* Also of one that no packet is steered to at the moment, as Linux does; not of the control queue, or
	 * behind. */
	put_le32(c, 2);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_OK);
	put_le32(c, 9);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_ERR);
	put_le32(c, 8);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_ERR);
	assert_int_equal(soft_rig_command(r, COAL, 3, c, 4, reply, &len), VIRTIO_NET_ERR);
	/* For all, its own is gone. */
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 0)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 2), 2);
}

static void test_coalesced_suspend(void **state)
{
	struct soft_rig *r = *state;
	struct error err = { 0 };
	uint8_t c[8];

	soft_rig_start(r, NO_EV);
	post_all(r, 8);
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 60000000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 1), 0);
	assert_int_equal(r->vdpa->ops->suspend(r->vdpa, &err), 0);
	assert_int_equal(soft_rig_calls(r, 0), 1);
}

static void test_statistics(void **state)
{
	struct soft_rig *r = *state;
	uint8_t reply[8192], request[48] = { 0 }, frame[128], in[128];
	uint32_t len, frame_len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, NO_EV);
	assert_int_equal(soft_rig_command(r, STATS, 0, NULL, 0, reply, &len), VIRTIO_NET_OK);
	assert_int_equal(len, 8);
	assert_int_equal(get_le64(reply), 0x1000f000fULL);
	post_all(r, 8);
	assert_int_equal(interrupts_of(r, 0, 3), 3);
	soft_rig_send(r, 0, NULL, frame, frame_len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), frame_len);
	assert_int_equal(command(r, 77, 0, NULL, 0), VIRTIO_NET_ERR);
	put_le64(request + 8, 1);
	put_le16(request + 16, 1);
	put_le64(request + 24, 1 << 16);
	put_le16(request + 32, 8);
	put_le64(request + 40, BIT(32));
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 48, reply, &len), VIRTIO_NET_OK);
	assert_int_equal(len, 56 + 56 + 24);
	assert_int_equal(reply[0], 0);
	assert_int_equal(get_le16(reply + 6), 56);
	assert_int_equal(get_le64(reply + 16), 3);             /* packets */
	assert_int_equal(get_le64(reply + 24), 3 * frame_len); /* bytes */
	assert_int_equal(get_le64(reply + 32), 3);             /* interrupts */
	assert_int_equal(get_le64(reply + 40), 0);             /* drops */
	assert_int_equal(reply[56], 16);
	assert_int_equal(get_le16(reply + 58), 1);
	assert_int_equal(get_le64(reply + 56 + 8), 1); /* kicks */
	assert_int_equal(get_le64(reply + 56 + 16), 1);
	assert_int_equal(get_le64(reply + 56 + 24), frame_len);
	assert_int_equal(reply[112], 32);
	assert_int_equal(get_le64(reply + 120), 3);
	assert_int_equal(get_le64(reply + 128), 1);
	/* As a whole, if anything in it is wrong: the type, the queue, the length. */
	put_le64(request + 24, 1);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 48, reply, &len), VIRTIO_NET_ERR);
	put_le16(request, 9);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 16, reply, &len), VIRTIO_NET_ERR);
	put_le16(request, 0);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 24, reply, &len), VIRTIO_NET_ERR);
	put_le64(request + 8, 16);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 16, reply, &len), VIRTIO_NET_ERR);
}

static uint16_t config_status(struct soft_rig *r)
{
	struct error err = { 0 };
	uint8_t status[2];

	assert_int_equal(r->vdpa->ops->get_config(r->vdpa, 6, status, 2, &err), 0);
	return get_le16(status);
}

static void test_announce(void **state)
{
	struct soft_rig *r = *state;
	uint64_t count;

	soft_rig_start(r, ALL);
	assert_int_equal(config_status(r), 1);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_ERR);
	soft_vdpa_announce(r->vdpa);
	assert_int_equal(read(r->config_call, &count, sizeof(count)), 8);
	assert_int_equal(config_status(r), 3);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_OK);
	assert_int_equal(config_status(r), 1);
	soft_vdpa_set_link(r->vdpa, false);
	assert_int_equal(config_status(r), 0);
}

/* Commands of any form: answered, whatever they are. */
static void test_strange_commands(void **state)
{
	struct soft_rig *r = *state;
	struct fake_driver *q = &r->queues[8];
	struct virtio_seg segs[3] = { { 0xe00000, 1 }, { 0xf00000, 1 }, { 0x800000, 200000 } };
	uint16_t head;
	uint32_t len;

	soft_rig_start(r, NO_EV);
	assert_true(fake_driver_add(q, segs, 1, 1) >= 0);     /* half a header */
	assert_true(fake_driver_add(q, segs + 1, 0, 1) >= 0); /* none */
	assert_true(fake_driver_add(q, segs, 1, 0) >= 0);     /* nowhere to answer */
	segs[0] = segs[2];
	assert_true(fake_driver_add(q, segs, 1, 1) >= 0); /* longer than any */
	fake_driver_publish(q);
	soft_rig_kick(r, 8);
	soft_settle(r);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(fake_driver_get_used(q, &head, &len), 1);
		assert_int_equal(len, i == 2 ? 0 : 1);
	}
	assert_int_equal(command(r, 0, 0, "\0", 1), VIRTIO_NET_OK);
}

static void test_misbehaviour(void **state)
{
	struct soft_rig *r = *state;
	struct fake_driver *q = &r->queues[8];
	struct virtio_seg segs[2] = { { 0xe00000, 3 }, { 0xf00000, 1 } };
	struct error err = { 0 };
	uint8_t status;
	uint16_t head;
	uint32_t len;
	uint64_t start;
	int heads[3];

	soft_rig_start(r, NO_EV);
	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .refuse_nth = 2 });
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_OK);
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_OK);

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .delay_ms = 100 });
	start = now_ns();
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_OK);
	assert_true(now_ns() - start >= 99000000);

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .reverse = true });
	for (unsigned int i = 0; i < 3; i++)
		heads[i] = fake_driver_add(q, segs, 1, 1);
	fake_driver_publish(q);
	soft_rig_kick(r, 8);
	soft_settle(r);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(fake_driver_get_used(q, &head, &len), 1);
		assert_int_equal(head, heads[2 - i]);
	}

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .bad_ctrl_id = true });
	assert_true(fake_driver_add(q, segs, 1, 1) >= 0);
	fake_driver_publish(q);
	soft_rig_kick(r, 8);
	soft_settle(r);
	assert_int_equal(fake_driver_get_used(q, &head, &len), -1);

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .gone = true });
	assert_int_equal(r->vdpa->ops->get_status(r->vdpa, &status, &err), -ENODEV);
	assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 0, &err), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rss, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rss_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hash, setup, teardown),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_short_frames),
		cmocka_unit_test_setup_teardown(test_offloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_coalescing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_coalesced_suspend, setup, teardown),
		cmocka_unit_test_setup_teardown(test_statistics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_announce, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strange_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_misbehaviour, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
