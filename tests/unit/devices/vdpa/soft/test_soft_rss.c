/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software: which pair of queues a frame goes to, and its hash. */
#include "tests/unit/devices/vdpa/soft/soft_fixture.h"

static const uint8_t vector_key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
static const uint8_t vector_ipv6[32] = { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0,
					 0,    0,    0,    0,    0x07, 0x3f, 0xfe, 0x25, 1, 2, 0,
					 0,    0x03, 0,    0,    0,    0,    0,    0,    0, 1 };

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

static void test_flows_come_back_on_the_pair_that_sent_them(void **state)
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
	/* The flow was sent on that pair, so its answers come there. */
	assert_int_equal(arrives(r, frame, len, NULL), 3);
	assert_int_equal(command(r, MQ, 0, "\x02\0", 2), VIRTIO_NET_OK);
	assert_int_equal(arrives(r, frame, len, NULL), 0);
}

static void test_rss_steers_by_its_table(void **state)
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

static void test_configurations_that_the_device_cannot_have_are_refused(void **state)
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
static void test_hashes_are_reported_without_rss(void **state)
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

/* A row for each tunnel: the bytes between the outer addresses and the packet of the vector, and the bits of
 * its kinds. */
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

/* Of a packet that ends where its memory does: a look behind the end is the sanitizers'. */
static struct soft_hash hash_of(const struct soft_steering *s, const uint8_t *frame, uint32_t len)
{
	uint8_t *copy = malloc(len);
	struct soft_hash hash;

	assert_non_null(copy);
	memcpy(copy, frame, len);
	hash = soft_steering_hash(s, copy, len);
	free(copy);
	return hash;
}

/* Hashed is what is inside of a tunnel of an enabled kind, and of no other; and nothing behind the end of a
 * packet that was cut off: the sanitizers see to it. */
static void test_only_tunnels_of_enabled_types_are_looked_into(void **state)
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
			hash = soft_steering_hash(&s, frame, len);
			if ((hash.value == value) != (t->kinds >> bit & 1))
				fail_msg("row %u, kind %u: 0x%x", i, bit, hash.value);
		}
		s.tunnel_types = SOFT_TUNNEL_TYPES;
		for (uint32_t n = 14; n < len; n++)
			assert_true(hash_of(&s, frame, n).report <= 6);
	}
}

/* Packets that are cut off anywhere are hashed without a look behind their end: the sanitizers see to it. */
static void test_packets_that_are_cut_off_are_not_read_behind_their_end(void **state)
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
			struct soft_hash hash = hash_of(&s, frame, n);

			assert_true(n > 33 || hash.report == 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flows_come_back_on_the_pair_that_sent_them, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_rss_steers_by_its_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_configurations_that_the_device_cannot_have_are_refused,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_hashes_are_reported_without_rss, setup, teardown),
		cmocka_unit_test(test_only_tunnels_of_enabled_types_are_looked_into),
		cmocka_unit_test(test_packets_that_are_cut_off_are_not_read_behind_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
