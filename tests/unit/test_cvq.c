/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands: every row's bounds, record and replay against an oracle, saved state and its damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "devices/cvq.h"
#include "tests/fake/model_nic.h"

#define GUEST_HDRLEN 59
#define ALL_FEATURES (~(uint64_t)0)

static const struct cvq_limits limits = { .features = ALL_FEATURES,
					  .features_high = ALL_FEATURES,
					  .max_pairs = 8,
					  .rss_max_key = 40,
					  .rss_max_table = 128,
					  .hash_types = 0x1ff,
					  .tunnel_types = 0x1ff,
					  .device_ctrl = 16 };
static const uint8_t factory_mac[6] = { 2, 0, 0, 0, 0, 1 };

static uint8_t cmd[CVQ_MAX_COMMAND + 64];
static uint32_t checked_len; /* of the command that was checked last, as cvq_check() left it */

static uint32_t set_cmd(uint8_t class, uint8_t command, const void *payload, uint32_t len)
{
	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, payload, len);
	return len + 2;
}

static enum cvq_verdict check(const struct cvq_limits *l, uint8_t class, uint8_t command, const void *payload,
			      uint32_t len)
{
	/* Of exactly that size, so that ASan sees a read beyond it. */
	uint8_t *copy = malloc(len + 2);
	struct error reason = { 0 };
	enum cvq_verdict verdict;

	set_cmd(class, command, payload, len);
	memcpy(copy, cmd, len + 2);
	checked_len = len + 2;
	verdict = cvq_check(l, copy, &checked_len, &reason);
	memcpy(cmd, copy, len + 2);
	free(copy);
	return verdict;
}

/* RSS_CONFIG's payload with @n entries, all of queue @queue. */
static uint32_t put_rss(uint8_t *p, uint32_t types, uint32_t n, uint16_t unclassified, uint16_t queue,
			uint16_t max_tx_vq, uint8_t key_len)
{
	put_le32(p, types);
	put_le16(p + 4, (uint16_t)(n - 1));
	put_le16(p + 6, unclassified);
	for (uint32_t i = 0; i < n; i++)
		put_le16(p + 8 + 2 * i, queue);
	put_le16(p + 8 + 2 * n, max_tx_vq);
	p[10 + 2 * n] = key_len;
	memset(p + 11 + 2 * n, 0x6d, key_len);
	return 11 + 2 * n + key_len;
}

static uint32_t put_hash(uint8_t *p, uint32_t types, uint8_t key_len)
{
	memset(p, 0, 13);
	put_le32(p, types);
	p[12] = key_len;
	memset(p + 13, 0x55, key_len);
	return 13u + key_len;
}

static uint32_t put_macs(uint8_t *p, uint32_t n_unicast, uint32_t n_multicast)
{
	uint8_t *start = p;

	put_le32(p, n_unicast);
	p += 4;
	for (uint32_t i = 0; i < n_unicast; i++, p += 6)
		memcpy(p, (uint8_t[]){ 2, 0, 0, 1, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	put_le32(p, n_multicast);
	p += 4;
	for (uint32_t i = 0; i < n_multicast; i++, p += 6)
		memcpy(p, (uint8_t[]){ 0x33, 0x33, 0, 2, (uint8_t)(i >> 8), (uint8_t)i }, 6);
	return (uint32_t)(p - start);
}

/* Every command, with the number of the bit that permits it, and a payload that is right. */
static const struct good {
	uint8_t class, command, feature;
	const char *name;
	uint32_t len;
	const char *payload;
	const char *words;
} goods[] = {
	{ 0, 0, 18, "RX_PROMISC", 1, "\1", "RX_PROMISC 1" },
	{ 0, 1, 18, "RX_ALLMULTI", 1, "\0", "RX_ALLMULTI 0" },
	{ 0, 2, 20, "RX_ALLUNI", 1, "\1", "RX_ALLUNI 1" },
	{ 0, 3, 20, "RX_NOMULTI", 1, "\1", "RX_NOMULTI 1" },
	{ 0, 4, 20, "RX_NOUNI", 1, "\1", "RX_NOUNI 1" },
	{ 0, 5, 20, "RX_NOBCAST", 1, "\1", "RX_NOBCAST 1" },
	{ 1, 0, 18, "MAC_TABLE_SET", 8, "\0\0\0\0\0\0\0", "MAC_TABLE_SET" },
	{ 1, 0, 18, "MAC_TABLE_SET", 20, "\1\0\0\0\2\0\0\0\0\1\1\0\0\0\63\63\0\0\0\1", "MAC_TABLE_SET" },
	{ 1, 1, 23, "MAC_ADDR_SET", 6, "\2\3\4\5\6\177", "MAC_ADDR_SET 02:03:04:05:06:7f" },
	{ 2, 0, 19, "VLAN_ADD", 2, "\144\0", "VLAN_ADD 100" },
	{ 2, 1, 19, "VLAN_DEL", 2, "\376\17", "VLAN_DEL 4094" },
	{ 3, 0, 21, "ANNOUNCE_ACK", 0, "", "ANNOUNCE_ACK" },
	{ 4, 0, 22, "MQ_VQ_PAIRS_SET", 2, "\4\0", "MQ_VQ_PAIRS_SET 4" },
	{ 4, 1, 60, "MQ_RSS_CONFIG", 15, "\1\0\0\0\0\0\0\0\1\0\2\0\2kk", "MQ_RSS_CONFIG" },
	{ 4, 2, 57, "MQ_HASH_CONFIG", 15, "\1\0\0\0\0\0\0\0\0\0\0\0\2kk", "MQ_HASH_CONFIG" },
	{ 5, 0, 2, "GUEST_OFFLOADS_SET", 8, "\0\0\0\0\0\0\0", "GUEST_OFFLOADS_SET 0x0" },
	{ 6, 0, 53, "NOTF_COAL_TX_SET", 8, "\20\0\0\0\10\1\0\0", "NOTF_COAL_TX_SET 16 packets 264 us" },
	{ 6, 1, 53, "NOTF_COAL_RX_SET", 8, "\377\377\377\377\0\0\0\0",
	  "NOTF_COAL_RX_SET 4294967295 packets 0 us" },
	{ 6, 2, 52, "NOTF_COAL_VQ_SET", 12, "\17\0\0\0\1\0\0\0\2\0\0\0",
	  "NOTF_COAL_VQ_SET queue 15 1 packets 2 us" },
	{ 6, 3, 52, "NOTF_COAL_VQ_GET", 4, "\1\0\0\0", "NOTF_COAL_VQ_GET queue 1" },
	{ 7, 0, 51, "HASH_TUNNEL_SET", 4, "\1\1\0\0", "HASH_TUNNEL_SET 0x101" },
	{ 9, 0, 64, "RSS_CTX_CAP_GET", 0, "", "RSS_CTX_CAP_GET" },
	{ 9, 1, 64, "RSS_CTX_ADD", 23, "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\2\0\2kk", "RSS_CTX_ADD 1" },
	{ 9, 2, 64, "RSS_CTX_MOD", 23, "\10\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\2\0\2kk", "RSS_CTX_MOD 8" },
	{ 9, 3, 64, "RSS_CTX_DEL", 2, "\3\0", "RSS_CTX_DEL 3" },
	{ 8, 0, 50, "STATS_QUERY", 0, "", "STATS_QUERY" },
	{ 8, 1, 50, "STATS_GET", 16, "\1\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0", "STATS_GET" },
};

static enum cvq_verdict right_verdict(const struct good *g)
{
	if (g->class == 8 || (g->class == 6 && g->command == 3) || (g->class == 9 && g->command == 0))
		return CVQ_PASS;
	return g->class == 3 ? CVQ_ANNOUNCE_ACK : CVQ_FORWARD;
}

static bool has_hash_key(const struct good *g)
{
	return (g->class == 4 && g->command > 0) || (g->class == 9 && g->command % 3 != 0);
}

/* The bits of a row's feature alone, in either word. */
static void set_feature(struct cvq_limits *l, const struct good *g, bool on)
{
	uint64_t *word = g->feature < 64 ? &l->features : &l->features_high;
	uint64_t bit = VIRTIO_BIT(g->feature % 64);

	*word = on ? *word | bit : *word & ~bit;
}

static void test_every_row(void **state)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(goods); i++) {
		const struct good *g = &goods[i];
		enum cvq_verdict right = right_verdict(g);
		struct cvq_limits l = limits;
		char words[CVQ_NAME_MAX];
		uint8_t longer[32] = { 0 };

		memcpy(longer, g->payload, g->len);
		assert_int_equal(check(&limits, g->class, g->command, g->payload, g->len), right);
		cvq_describe(cmd, g->len + 2, words);
		assert_string_equal(words, g->words);
		assert_int_equal(checked_len, g->len + 2);
		/* But for a byte behind a hash key: Linux sends it, nobody else gets it. */
		assert_int_equal(check(&limits, g->class, g->command, longer, g->len + 1),
				 has_hash_key(g) ? right : CVQ_REFUSE);
		assert_int_equal(checked_len, g->len + (has_hash_key(g) ? 2 : 3));
		assert_int_equal(check(&limits, g->class, g->command, longer, g->len + 2), CVQ_REFUSE);
		cvq_describe(cmd, g->len + 3, words);
		/* What is long has its id in it. */
		assert_string_equal(words, g->class == 9 && g->command > 0 ? g->words : g->name);
		for (uint32_t len = 0; len < g->len; len++) {
			/* Two MAC tables: the shorter one is right for a length of 8 and zero counts only. */
			assert_int_equal(check(&limits, g->class, g->command, g->payload, len), CVQ_REFUSE);
			cvq_describe(cmd, len + 2, words);
		}
		set_feature(&l, g, false);
		assert_int_equal(check(&l, g->class, g->command, g->payload, g->len), CVQ_REFUSE);
		l.features = l.features_high = 0;
		set_feature(&l, g, true);
		assert_int_equal(check(&l, g->class, g->command, g->payload, g->len), right);
		assert_true(g->feature > 63 || virtio_has(cvq_features(), g->feature));
	}
	assert_true(cvq_features() ==
		    (VIRTIO_BIT(2) | VIRTIO_BIT(18) | VIRTIO_BIT(19) | VIRTIO_BIT(20) | VIRTIO_BIT(21) |
		     VIRTIO_BIT(22) | VIRTIO_BIT(23) | VIRTIO_BIT(50) | VIRTIO_BIT(51) | VIRTIO_BIT(52) |
		     VIRTIO_BIT(53) | VIRTIO_BIT(57) | VIRTIO_BIT(60)));
}

static void test_unknown(void **state)
{
	struct error reason = { 0 };
	char words[CVQ_NAME_MAX];

	for (unsigned int class = 0; class < 256; class ++) {
		for (unsigned int command = 0; command < 256; command++) {
			bool known = false;

			for (unsigned int i = 0; i < ARRAY_SIZE(goods); i++)
				known |= goods[i].class == class && goods[i].command == command;
			if (known)
				continue;
			for (uint32_t len = 0; len < 16; len++)
				assert_int_equal(check(&limits, (uint8_t) class, (uint8_t)command,
						       "0123456789abcdef", len),
						 CVQ_REFUSE);
		}
	}
	checked_len = 1;
	assert_int_equal(cvq_check(&limits, cmd, &checked_len, &reason), CVQ_REFUSE);
	assert_non_null(strstr(reason.text, "no such command"));
	checked_len = 0;
	assert_int_equal(cvq_check(&limits, cmd, &checked_len, &reason), CVQ_REFUSE);
	cvq_describe(cmd, 1, words);
	assert_string_equal(words, "command of 1 bytes");
	set_cmd(10, 1, "", 0);
	cvq_describe(cmd, 2, words);
	assert_string_equal(words, "unknown command 10/1");
}

static void test_vlan_and_pairs_bounds(void **state)
{
	static const struct {
		uint8_t class;
		uint16_t v;
		enum cvq_verdict verdict;
	} cases[] = {
		{ 2, 0, CVQ_FORWARD },     { 2, 4094, CVQ_FORWARD },  { 2, 4095, CVQ_FORWARD },
		{ 2, 4096, CVQ_REFUSE },   { 2, 0xffff, CVQ_REFUSE }, { 4, 0, CVQ_REFUSE },
		{ 4, 1, CVQ_FORWARD },     { 4, 8, CVQ_FORWARD },     { 4, 9, CVQ_REFUSE },
		{ 4, 0x8000, CVQ_REFUSE }, { 4, 0xffff, CVQ_REFUSE },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t v[2];

		put_le16(v, cases[i].v);
		assert_int_equal(check(&limits, cases[i].class, 0, v, 2), cases[i].verdict);
		if (cases[i].class == 2)
			assert_int_equal(check(&limits, 2, 1, v, 2), cases[i].verdict);
	}
}

static void test_mac_table_bounds(void **state)
{
	static uint8_t p[8 + 6 * (CVQ_MAX_MACS + 1)];
	uint32_t len;

	/* As many as can be, spread in every way; one more is refused. */
	for (uint32_t n = 0; n <= CVQ_MAX_MACS; n += CVQ_MAX_MACS / 2) {
		len = put_macs(p, n, CVQ_MAX_MACS - n);
		assert_int_equal(len + 2, CVQ_MAX_COMMAND);
		assert_int_equal(check(&limits, 1, 0, p, len), CVQ_FORWARD);
		len = put_macs(p, n, CVQ_MAX_MACS + 1 - n);
		assert_int_equal(check(&limits, 1, 0, p, len), CVQ_REFUSE);
	}
	/* Counts that do not fit the length, or that wrap when multiplied. */
	len = put_macs(p, 2, 2);
	for (uint32_t offset = 0; offset <= 16; offset += 16) {
		static const uint32_t counts[] = { 0,          1,          3,          4,         0x2aaaaaab,
						   0x2aaaaaad, 0x55555556, 0xfffffffe, 0xffffffff };

		for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
			put_macs(p, 2, 2);
			put_le32(p + offset, counts[i]);
			assert_int_equal(check(&limits, 1, 0, p, len), CVQ_REFUSE);
		}
	}
}

static void test_rss_bounds(void **state)
{
	static const struct {
		uint32_t types, n;
		uint16_t unclassified, queue, max_tx_vq;
		uint8_t key_len;
		enum cvq_verdict verdict;
	} cases[] = {
		{ 0x3f, 128, 0, 7, 8, 40, CVQ_FORWARD },
		{ 0, 1, 7, 0, 1, 0, CVQ_FORWARD },
		{ 0x1ff, 64, 7, 7, 8, 40, CVQ_FORWARD },
		{ 0x200, 128, 0, 7, 8, 40, CVQ_REFUSE },
		{ 0x80000000, 128, 0, 7, 8, 40, CVQ_REFUSE },
		{ 0, 256, 0, 7, 8, 40, CVQ_REFUSE },
		{ 0, 3, 0, 7, 8, 40, CVQ_REFUSE },
		{ 0, 127, 0, 7, 8, 40, CVQ_REFUSE },
		{ 0, 128, 8, 7, 8, 40, CVQ_REFUSE },
		{ 0, 128, 0x8000, 7, 8, 40, CVQ_REFUSE },
		{ 0, 128, 0, 8, 8, 40, CVQ_REFUSE },
		{ 0, 128, 0, 0x8001, 8, 40, CVQ_REFUSE },
		{ 0, 128, 0, 7, 0, 40, CVQ_REFUSE },
		{ 0, 128, 0, 7, 9, 40, CVQ_REFUSE },
		{ 0, 128, 0, 7, 8, 41, CVQ_REFUSE },
		{ 0, 128, 0, 7, 8, 255, CVQ_REFUSE },
	};
	uint8_t p[CVQ_MAX_MQ_COMMAND];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t len = put_rss(p, cases[i].types, cases[i].n, cases[i].unclassified, cases[i].queue,
				       cases[i].max_tx_vq, cases[i].key_len);

		assert_int_equal(check(&limits, 4, 1, p, len), cases[i].verdict);
		assert_int_equal(check(&limits, 4, 1, p, len - 1), CVQ_REFUSE);
		p[len] = 0;
		assert_int_equal(check(&limits, 4, 1, p, len + 2), CVQ_REFUSE);
	}
	/* The last entry of a table counts too, and so does a mask that points behind the payload. */
	uint32_t len = put_rss(p, 0, 128, 0, 0, 1, 40);

	put_le16(p + 8 + 2 * 127, 8);
	assert_int_equal(check(&limits, 4, 1, p, len), CVQ_REFUSE);
	put_le16(p + 4, 0xffff);
	assert_int_equal(check(&limits, 4, 1, p, len), CVQ_REFUSE);
}

static void test_rss_largest(void **state)
{
	const struct cvq_limits l = { .features = ALL_FEATURES,
				      .max_pairs = 0x8000,
				      .rss_max_key = 255,
				      .rss_max_table = 0xffff,
				      .hash_types = ~0u };
	uint8_t p[CVQ_MAX_MQ_COMMAND + 1024];
	uint32_t len = put_rss(p, ~0u, CVQ_MAX_RSS_TABLE, 0x7fff, 0x7fff, 0x8000, 255);

	assert_int_equal(len + 2, CVQ_MAX_MQ_COMMAND);
	assert_int_equal(check(&l, 4, 1, p, len), CVQ_FORWARD);
	len = put_rss(p, ~0u, CVQ_MAX_RSS_TABLE, 0x8000, 0x7fff, 0x8000, 255);
	assert_int_equal(check(&l, 4, 1, p, len), CVQ_REFUSE);
	len = put_rss(p, ~0u, 2 * CVQ_MAX_RSS_TABLE, 0, 0, 1, 0);
	assert_int_equal(check(&l, 4, 1, p, len), CVQ_REFUSE);
	len = put_hash(p, ~0u, 255);
	assert_int_equal(check(&l, 4, 2, p, len), CVQ_FORWARD);
}

static void test_hash_config(void **state)
{
	static const struct {
		uint32_t types;
		uint8_t key_len;
		enum cvq_verdict verdict;
	} cases[] = {
		{ 0, 0, CVQ_FORWARD },
		{ 0x1ff, 40, CVQ_FORWARD },
		{ 0x200, 40, CVQ_REFUSE },
		{ 0x1ff, 41, CVQ_REFUSE },
	};
	uint8_t p[300], zero[8] = { 0 };
	uint32_t len;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		len = put_hash(p, cases[i].types, cases[i].key_len);
		assert_int_equal(check(&limits, 4, 2, p, len), cases[i].verdict);
		p[len] = 0;
		assert_int_equal(check(&limits, 4, 2, p, len + 2), CVQ_REFUSE);
	}
	/* What Linux sends: the number of pairs in the reserved part. Neither device nor record see it. */
	len = put_hash(p, 0x3f, 40);
	memset(p + 4, 0xff, 8);
	assert_int_equal(check(&limits, 4, 2, p, len), CVQ_FORWARD);
	assert_memory_equal(cmd + 2 + 4, zero, 8);
	assert_memory_equal(cmd + 2 + 12, p + 12, len - 12);
}

static void test_offloads(void **state)
{
	/* Of the UDP tunnels' the features have other numbers. */
	static const uint8_t known[] = { 1, 7, 8, 9, 10, 46, 47, 54, 55, 59 };

	for (unsigned int bit = 0; bit < 64; bit++) {
		bool is_known = memchr(known, (int)bit, sizeof(known)) != NULL;
		struct cvq_limits l = limits;
		uint8_t mask[8];

		put_le64(mask, VIRTIO_BIT(bit));
		assert_int_equal(check(&limits, 5, 0, mask, 8), is_known ? CVQ_FORWARD : CVQ_REFUSE);
		/* Only with the feature of its own; CTRL_GUEST_OFFLOADS, that of the row, stays. */
		l.features = VIRTIO_BIT(2);
		l.features_high = 0;
		if (bit == 46 || bit == 47)
			l.features_high = VIRTIO_BIT(bit + 19 - 64);
		else
			l.features |= VIRTIO_BIT(bit);
		assert_int_equal(check(&l, 5, 0, mask, 8), is_known ? CVQ_FORWARD : CVQ_REFUSE);
		l.features = ~l.features | VIRTIO_BIT(2);
		l.features_high = ~l.features_high;
		assert_int_equal(check(&l, 5, 0, mask, 8), CVQ_REFUSE);
	}
}

static void test_queue_bounds(void **state)
{
	struct cvq_limits l = limits;
	uint8_t p[12] = { 0 };

	/* The control queue has no coalescing, nor has what lies behind it. */
	for (unsigned int queue = 0; queue < 0x10000; queue += queue < 20 ? 1 : 1000) {
		put_le16(p, (uint16_t)queue);
		assert_int_equal(check(&limits, 6, 2, p, 12), queue < 16 ? CVQ_FORWARD : CVQ_REFUSE);
		assert_int_equal(check(&limits, 6, 3, p, 4), queue < 16 ? CVQ_PASS : CVQ_REFUSE);
	}
	/* Without MQ and RSS there is one pair, and with the most there is a place for each. */
	l.max_pairs = 1;
	put_le16(p, 2);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_REFUSE);
	l.max_pairs = 0x8000;
	put_le16(p, CVQ_MAX_QUEUES - 1);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_FORWARD);
	put_le16(p, CVQ_MAX_QUEUES);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_REFUSE);
	/* One that the guest has not enabled. */
	l = limits;
	l.queue_disabled[5] = true;
	put_le16(p, 5);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_REFUSE);
	assert_int_equal(check(&l, 6, 3, p, 4), CVQ_REFUSE);
	/* What is reserved reaches nobody. */
	put_le16(p, 4);
	put_le16(p + 2, 0xffff);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_FORWARD);
	assert_int_equal(get_le16(cmd + 4), 0);
	assert_int_equal(check(&l, 6, 3, p, 4), CVQ_PASS);
	assert_int_equal(get_le16(cmd + 4), 0);
}

static void test_tunnel_types(void **state)
{
	struct cvq_limits l = limits;
	uint8_t p[4];

	for (unsigned int bit = 0; bit < 32; bit++) {
		put_le32(p, 1u << bit);
		assert_int_equal(check(&limits, 7, 0, p, 4), bit < 9 ? CVQ_FORWARD : CVQ_REFUSE);
		l.tunnel_types = ~(1u << bit);
		assert_int_equal(check(&l, 7, 0, p, 4), CVQ_REFUSE);
	}
	put_le32(p, 0);
	l.tunnel_types = 0;
	assert_int_equal(check(&l, 7, 0, p, 4), CVQ_FORWARD);
}

static uint32_t put_context(uint8_t *p, uint16_t id, uint32_t n, uint16_t queue)
{
	memset(p, 0xab, 8); /* what is reserved is not looked at, and not kept */
	put_le16(p, id);
	return 8 + put_rss(p + 8, 0x3f, n, 0, queue, 4, 40);
}

/* An id that there can be, a configuration as RSS_CONFIG takes it. */
static void test_context_bounds(void **state)
{
	uint8_t p[CVQ_MAX_COMMAND], id[2];

	for (uint16_t n = 0; n < 20; n++) {
		enum cvq_verdict right = n >= 1 && n <= CVQ_MAX_CONTEXTS ? CVQ_FORWARD : CVQ_REFUSE;

		put_le16(id, n);
		assert_int_equal(check(&limits, 9, 3, id, 2), right);
		assert_int_equal(check(&limits, 9, 1, p, put_context(p, n, 128, 7)), right);
		assert_memory_equal(cmd + 4, "\0\0\0\0\0\0", 6);
		assert_int_equal(check(&limits, 9, 2, p, put_context(p, n, 128, 8)), CVQ_REFUSE);
		assert_int_equal(check(&limits, 9, 2, p, put_context(p, n, 256, 0)), CVQ_REFUSE);
		assert_int_equal(check(&limits, 9, 2, p, put_context(p, n, 128, 0) - 1), CVQ_REFUSE);
	}
	put_le16(id, 0x8001);
	assert_int_equal(check(&limits, 9, 3, id, 2), CVQ_REFUSE);
}

/* A guest, its device, and the record. */
struct life {
	struct cvq_store store;
	struct model_nic nic;
};

static struct life *new_life(bool pairs_clear_hash)
{
	struct life *life = malloc(sizeof(*life));

	cvq_reset(&life->store);
	model_nic_init(&life->nic, factory_mac, 0x7ff);
	life->nic.pairs_clear_hash = pairs_clear_hash;
	life->nic.vlan_add_once = true;
	return life;
}

/* A guest's command in @cmd. */
static void guest_sends(struct life *life, uint32_t len)
{
	struct error reason = { 0 };

	assert_int_equal(cvq_check(&limits, cmd, &len, &reason), CVQ_FORWARD);
	if (model_nic_command(&life->nic, cmd, len) == 0)
		cvq_remember(&life->store, cmd, len);
}

/* Brings @nic from @from to @to. Nothing in it may be refused. Returns the number of commands. */
static unsigned int replay(struct model_nic *nic, const struct cvq_store *from, const struct cvq_store *to)
{
	static uint8_t out[CVQ_MAX_COMMAND];
	struct cvq_replay r;
	unsigned int n = 0;
	uint32_t len;

	cvq_replay_init(&r, from, to);
	while ((len = cvq_replay_next(&r, out)) > 0) {
		struct error reason = { 0 };
		static uint8_t copy[CVQ_MAX_COMMAND];

		/* A replayed command is one that a guest might send, and nothing is left to be zeroed. */
		memcpy(copy, out, len);
		assert_int_equal(cvq_check(&limits, out, &len, &reason), CVQ_FORWARD);
		assert_memory_equal(copy, out, len);
		if (model_nic_command(nic, out, len) != 0) {
			char words[CVQ_NAME_MAX];

			cvq_describe(out, len, words);
			fail_msg("the device refuses %s", words);
		}
		n++;
	}
	assert_int_equal(cvq_replay_next(&r, out), 0);
	return n;
}

static struct cvq_store fresh;

static void assert_carried(const struct life *life)
{
	struct life *there = new_life(life->nic.pairs_clear_hash);
	const char *diff;

	/* A table that is as small as it can be, to see that ids go before others come. */
	there->nic.max_vlans = life->nic.n_vlans;
	replay(&there->nic, &fresh, &life->store);
	diff = model_nic_diff(&life->nic, &there->nic);
	if (diff)
		fail_msg("%s differ", diff);
	free(there);
}

/* Class NOTF_COAL's TX_SET, RX_SET, VQ_SET. */
static uint32_t set_coal(uint8_t command, uint16_t queue, uint32_t packets, uint32_t usecs)
{
	uint8_t p[12] = { 0 };

	put_le16(p, queue);
	put_le32(p + 4, packets);
	put_le32(p + 8, usecs);
	return command == 2 ? set_cmd(6, 2, p, 12) : set_cmd(6, command, p + 4, 8);
}

static void test_replay_order(void **state)
{
	static const char *const expected[] = {
		"MAC_ADDR_SET 02:03:04:05:06:7f",
		"GUEST_OFFLOADS_SET 0x0",
		"RX_PROMISC 0",
		"RX_ALLMULTI 0",
		"RX_NOBCAST 1",
		"MAC_TABLE_SET",
		"VLAN_ADD 0",
		"VLAN_ADD 100",
		"VLAN_ADD 4095",
		"MQ_HASH_CONFIG",
		"MQ_VQ_PAIRS_SET 4",
		"MQ_RSS_CONFIG",
		"HASH_TUNNEL_SET 0x3",
		"RSS_CTX_ADD 2",
		"RSS_CTX_ADD 8",
		"NOTF_COAL_TX_SET 1 packets 2 us",
		"NOTF_COAL_RX_SET 3 packets 4 us",
		"NOTF_COAL_VQ_SET queue 2 5 packets 6 us",
		"NOTF_COAL_VQ_SET queue 15 7 packets 8 us",
	};
	struct life *life = new_life(false);
	struct cvq_replay r;
	uint8_t p[CVQ_MAX_MQ_COMMAND + 8];
	char words[CVQ_NAME_MAX];
	uint32_t len;

	guest_sends(life, set_coal(0, 0, 1, 1)); /* overwritten */
	guest_sends(life, set_coal(2, 15, 9, 9));
	guest_sends(life, set_coal(1, 0, 3, 4));
	guest_sends(life, set_coal(2, 2, 5, 6));
	guest_sends(life, set_coal(0, 0, 1, 2));
	guest_sends(life, set_coal(2, 1, 1, 2)); /* no difference */
	guest_sends(life, set_coal(2, 15, 7, 8));
	guest_sends(life, set_cmd(7, 0, "\3\0\0\0", 4));

	guest_sends(life, set_cmd(4, 2, p, put_hash(p, 0x3f, 40)));
	guest_sends(life, set_cmd(4, 0, "\2", 2));
	guest_sends(life, set_cmd(4, 0, "\4", 2));
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, 0x3f, 128, 0, 3, 4, 40)));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 8, 4, 1)));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 3, 4, 1)));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 2, 4, 1)));
	guest_sends(life, set_cmd(9, 2, p, put_context(p, 8, 64, 2)));
	guest_sends(life, set_cmd(9, 3, "\3", 2));
	guest_sends(life, set_cmd(2, 0, "\377\17", 2));
	guest_sends(life, set_cmd(2, 0, "\144", 2));
	guest_sends(life, set_cmd(2, 0, "\0", 2));
	guest_sends(life, set_cmd(2, 0, "\7", 2));
	guest_sends(life, set_cmd(2, 1, "\7", 2));
	guest_sends(life, set_cmd(1, 0, p, put_macs(p, 3, 5)));
	guest_sends(life, set_cmd(0, 5, "\377", 1));
	guest_sends(life, set_cmd(0, 1, "\1", 1));
	guest_sends(life, set_cmd(0, 1, "\0", 1));
	guest_sends(life, set_cmd(0, 0, "\0", 1));
	guest_sends(life, set_cmd(5, 0, "\0\0\0\0\0\0\0", 8));
	guest_sends(life, set_cmd(1, 1, "\2\3\4\5\6\177", 6));
	cvq_replay_init(&r, &fresh, &life->store);
	for (unsigned int i = 0; i < ARRAY_SIZE(expected); i++) {
		len = cvq_replay_next(&r, cmd);
		cvq_describe(cmd, len, words);
		assert_string_equal(words, expected[i]);
	}
	assert_int_equal(cvq_replay_next(&r, cmd), 0);
	assert_carried(life);
	cvq_replay_init(&r, &life->store, &life->store);
	assert_int_equal(cvq_replay_next(&r, cmd), 0);
	cvq_reset(&life->store);
	cvq_replay_init(&r, &fresh, &life->store);
	assert_int_equal(cvq_replay_next(&r, cmd), 0);
	free(life);
}

static void test_replay_is_minimal(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *before = malloc(sizeof(*before));
	struct model_nic *there = malloc(sizeof(*there));
	uint8_t p[CVQ_MAX_MQ_COMMAND];

	/* Specified defaults need no command. */
	guest_sends(life, set_cmd(1, 0, "\0\0\0\0\0\0\0", 8));
	guest_sends(life, set_cmd(4, 0, "\1", 2));
	*there = life->nic;
	assert_int_equal(replay(there, &fresh, &life->store), 0);
	/* One pair after something else is a change. */
	*before = life->store;
	guest_sends(life, set_cmd(4, 0, "\2", 2));
	assert_int_equal(replay(there, before, &life->store), 1);
	*before = life->store;
	guest_sends(life, set_cmd(4, 0, "\1", 2));
	assert_int_equal(replay(there, before, &life->store), 1);
	assert_null(model_nic_diff(there, &life->nic));
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, 0, 4, 0, 1, 2, 40)));
	guest_sends(life, set_cmd(4, 0, "\1", 2));
	assert_carried(life);
	/* An emptied table is a change too, and so is a mode that is now off. */
	guest_sends(life, set_cmd(1, 0, p, put_macs(p, 2, 0)));
	guest_sends(life, set_cmd(0, 0, "\1", 1));
	*before = life->store;
	*there = life->nic;
	guest_sends(life, set_cmd(1, 0, "\0\0\0\0\0\0\0", 8));
	guest_sends(life, set_cmd(0, 0, "\0", 1));
	assert_int_equal(replay(there, before, &life->store), 2);
	assert_null(model_nic_diff(there, &life->nic));
	/* The same addresses, in the other table. */
	*before = life->store;
	guest_sends(life, set_cmd(1, 0, p, put_macs(p, 1, 0)));
	assert_int_equal(replay(there, before, &life->store), 1);
	*before = life->store;
	put_le32(p, 0);
	put_le32(p + 4, 1);
	memcpy(p + 8, life->store.macs[0], 6);
	guest_sends(life, set_cmd(1, 0, p, 14));
	assert_int_equal(replay(there, before, &life->store), 1);
	assert_null(model_nic_diff(there, &life->nic));
	free(there);
	free(before);
	free(life);
}

/* The rest of the way from @from to @to, as text. */
static void assert_replay(const struct cvq_store *from, const struct cvq_store *to,
			  const char *const *expected)
{
	static uint8_t out[CVQ_MAX_COMMAND];
	struct cvq_replay r;
	char words[CVQ_NAME_MAX];
	uint32_t len;

	cvq_replay_init(&r, from, to);
	while ((len = cvq_replay_next(&r, out)) > 0) {
		cvq_describe(out, len, words);
		assert_non_null(*expected);
		assert_string_equal(words, *expected++);
	}
	assert_null(*expected);
}

/* What has changed of them, alone; but all anew where a number of pairs comes between. */
static void test_contexts(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *before = malloc(sizeof(*before));
	struct model_nic *there = malloc(sizeof(*there));
	uint8_t p[CVQ_MAX_MQ_COMMAND + 8];

	guest_sends(life, set_cmd(4, 1, p, put_rss(p, 0x3f, 128, 0, 3, 4, 40)));
	for (uint16_t id = 1; id <= 4; id++)
		guest_sends(life, set_cmd(9, 1, p, put_context(p, id, 4, id)));
	*before = life->store;
	*there = life->nic;
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 1, 4, 7))); /* refused: it is there */
	guest_sends(life, set_cmd(9, 2, p, put_context(p, 5, 4, 7))); /* refused: it is not */
	guest_sends(life, set_cmd(9, 2, p, put_context(p, 2, 4, 7)));
	guest_sends(life, set_cmd(9, 3, "\3", 2));
	guest_sends(life, set_cmd(9, 3, "\4", 2));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 4, 4, 4))); /* as it was */
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 8, 4, 4)));
	assert_replay(before, &life->store,
		      (const char *const[]){ "RSS_CTX_DEL 3", "RSS_CTX_MOD 2", "RSS_CTX_ADD 8", NULL });
	replay(there, before, &life->store);
	assert_null(model_nic_diff(there, &life->nic));

	*before = life->store;
	guest_sends(life, set_cmd(4, 0, "\2", 2)); /* refused */
	assert_replay(before, &life->store, (const char *const[]){ NULL });
	for (char id = 1; id <= 8; id++)
		guest_sends(life, set_cmd(9, 3, (char[]){ id, 0 }, 2));
	guest_sends(life, set_cmd(4, 0, "\2", 2));
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, 0x3f, 128, 0, 3, 4, 40)));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 1, 4, 1)));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 7, 4, 1)));
	assert_replay(before, &life->store,
		      (const char *const[]){ "RSS_CTX_DEL 1", "RSS_CTX_DEL 2", "RSS_CTX_DEL 4",
					     "RSS_CTX_DEL 8", "MQ_VQ_PAIRS_SET 2", "MQ_RSS_CONFIG",
					     "RSS_CTX_ADD 1", "RSS_CTX_ADD 7", NULL });
	replay(there, before, &life->store);
	assert_null(model_nic_diff(there, &life->nic));
	assert_carried(life);
	free(there);
	free(before);
	free(life);
}

/* The last writer wins; what a queue's reset and a later word for all do. */
static void test_coalescing(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *before = malloc(sizeof(*before));
	struct model_nic *there = malloc(sizeof(*there));

	/* The default is specified. */
	guest_sends(life, set_coal(0, 0, 0, 0));
	guest_sends(life, set_coal(2, 3, 0, 0));
	*there = life->nic;
	assert_int_equal(replay(there, &fresh, &life->store), 0);
	/* A queue of its own, and back by a word for all that is the same as before. */
	guest_sends(life, set_coal(2, 3, 4, 5));
	*before = life->store;
	*there = life->nic;
	guest_sends(life, set_coal(0, 0, 0, 0));
	assert_int_equal(replay(there, before, &life->store), 1);
	assert_null(model_nic_diff(there, &life->nic));
	/* The other kind's word does not reach it. */
	guest_sends(life, set_coal(2, 3, 4, 5));
	guest_sends(life, set_coal(1, 0, 6, 7));
	assert_carried(life);
	assert_int_equal(life->nic.coal[3][1], 5);
	/* To what holds for all, by a word of its own: it stays a queue like the others. */
	*before = life->store;
	*there = life->nic;
	guest_sends(life, set_coal(2, 3, 0, 0));
	assert_int_equal(replay(there, before, &life->store), 1);
	assert_null(model_nic_diff(there, &life->nic));
	assert_carried(life);
	/* A word for all that meets what a queue has already; another queue is left behind. */
	guest_sends(life, set_coal(2, 2, 1, 1));
	guest_sends(life, set_coal(2, 4, 2, 2));
	*before = life->store;
	*there = life->nic;
	guest_sends(life, set_coal(1, 0, 1, 1));
	guest_sends(life, set_coal(2, 4, 2, 2));
	assert_int_equal(replay(there, before, &life->store), 2);
	assert_null(model_nic_diff(there, &life->nic));
	/* A queue that was reset by the guest goes back, at a device whose own queue was not. */
	*before = life->store;
	*there = life->nic;
	cvq_reset_queue(&life->store, 4);
	model_nic_reset_queue(&life->nic, 4);
	assert_int_equal(replay(there, before, &life->store), 1);
	assert_null(model_nic_diff(there, &life->nic));
	assert_int_equal(there->coal[4][0], 1);
	assert_carried(life);
	/* To the default if there never was a word for all. */
	cvq_reset(&life->store);
	model_nic_init(&life->nic, factory_mac, 0x7ff);
	guest_sends(life, set_coal(2, 0, 9, 9));
	*before = life->store;
	*there = life->nic;
	cvq_reset_queue(&life->store, 0);
	assert_int_equal(replay(there, before, &life->store), 1);
	assert_int_equal(there->coal[0][0], 0);
	free(there);
	free(before);
	free(life);
}

/* What the device refuses is not recorded. */
static void test_refused_by_the_device(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *before = malloc(sizeof(*before));

	guest_sends(life, set_coal(2, 7, 1, 1));
	*before = life->store;
	life->nic.n_data = 7;
	guest_sends(life, set_coal(2, 7, 2, 2));
	assert_memory_equal(before, &life->store, sizeof(*before));
	free(before);
	free(life);
}

static void test_all_vlans(void **state)
{
	struct life *life = new_life(false), *there = new_life(false);
	struct cvq_store *full = malloc(sizeof(*full));
	uint8_t vid[2];

	for (uint16_t v = 1; v < 4095; v++) {
		put_le16(vid, v);
		guest_sends(life, set_cmd(2, 0, vid, 2));
	}
	assert_int_equal(replay(&there->nic, &fresh, &life->store), 4094);
	assert_null(model_nic_diff(&there->nic, &life->nic));
	*full = life->store;
	for (uint16_t v = 1; v < 4095; v += 2) {
		put_le16(vid, v);
		guest_sends(life, set_cmd(2, 1, vid, 2));
	}
	assert_int_equal(replay(&there->nic, full, &life->store), 2047);
	assert_null(model_nic_diff(&there->nic, &life->nic));
	free(full);
	free(there);
	free(life);
}

/* Guests that do anything: seeded, so that a failure can be had again. */
static unsigned int seed;

static uint32_t dice(uint32_t n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % n;
}

static uint32_t random_command(void)
{
	static const uint64_t offload_bits[] = { 1, 7, 8, 9, 10, 54, 55, 59 };
	uint8_t p[8 + 6 * 64 + 1100];
	uint16_t id;
	uint32_t len = 0;
	uint64_t mask = 0;

	switch (dice(14)) {
	case 0:
		p[0] = (uint8_t)dice(3);
		return set_cmd(0, (uint8_t)dice(6), p, 1);
	case 1:
		return set_cmd(1, 0, p, put_macs(p, dice(6), dice(6)));
	case 2:
		memcpy(p, (uint8_t[]){ 2, 9, 9, 9, 9, (uint8_t)dice(4) }, 6);
		return set_cmd(1, 1, p, 6);
	case 3:
	case 4:
	case 5:
		put_le16(p, (uint16_t)(dice(3) ? dice(12) * 60 : dice(4096)));
		return set_cmd(2, (uint8_t)(dice(3) == 0), p, 2);
	case 6:
		put_le16(p, (uint16_t)(1 + dice(8)));
		return set_cmd(4, 0, p, 2);
	case 7:
		if (dice(2)) {
			len = put_hash(p, dice(0x200), (uint8_t)dice(41));
			memset(p + 4, (int)dice(256), 8);
			return set_cmd(4, 2, p, len);
		}
		len = put_rss(p, dice(0x200), 1u << dice(8), (uint16_t)dice(8), (uint16_t)dice(8),
			      (uint16_t)(1 + dice(8)), (uint8_t)dice(41));
		return set_cmd(4, 1, p, len);
	case 8:
		put_le32(p, dice(0x200));
		return set_cmd(7, 0, p, 4);
	case 9:
	case 10:
		/* Few values, so that they meet. */
		return set_coal((uint8_t)dice(3), (uint16_t)dice(16), dice(3), dice(2));
	case 11:
	case 12:
		id = (uint16_t)(1 + dice(4));
		if (dice(3) > 0)
			return set_cmd(9, (uint8_t)(1 + dice(2)), p,
				       put_context(p, id, 1u << dice(3), (uint16_t)dice(3)));
		put_le16(p, id);
		return set_cmd(9, 3, p, 2);
	default:
		for (unsigned int i = 0; i < ARRAY_SIZE(offload_bits); i++)
			mask |= dice(2) ? VIRTIO_BIT(offload_bits[i]) : 0;
		put_le64(p, mask);
		return set_cmd(5, 0, p, 8);
	}
}

/* Whatever a guest does, and wherever in between the destination was warmed: it ends in the same state. */
static void test_any_life_is_carried(void **state)
{
	struct cvq_store *warm = malloc(sizeof(*warm));
	struct life *there = new_life(false);

	for (unsigned int run = 0; run < 600; run++) {
		struct life *life = new_life(run % 2);
		unsigned int n, n_after;
		const char *diff;

		seed = run;
		n = dice(40);
		n_after = dice(20);

		while (n-- > 0)
			guest_sends(life, random_command());
		assert_carried(life);
		model_nic_init(&there->nic, factory_mac, 0x7ff);
		there->nic.pairs_clear_hash = life->nic.pairs_clear_hash;
		there->nic.vlan_add_once = true;
		*warm = life->store;
		/* Some without what attracts traffic. */
		if (run % 3 == 0)
			cvq_hold_back(warm, &fresh);
		replay(&there->nic, &fresh, warm);
		for (unsigned int round = 0; round < 3; round++) {
			for (unsigned int i = 0; i < n_after; i++)
				guest_sends(life, random_command());
			replay(&there->nic, warm, &life->store);
			*warm = life->store;
			diff = model_nic_diff(&life->nic, &there->nic);
			if (diff)
				fail_msg("%s differ", diff);
		}
		free(life);
	}
	free(there);
	free(warm);
}

/* Bytes without sense: nothing that the oracle would not take may be let through. */
static void test_any_bytes(void **state)
{
	struct life *life = new_life(false);
	unsigned int n_forwarded = 0;

	life->nic.vlan_add_once = false;
	life->nic.easy_contexts = true;
	seed = 1;
	for (unsigned int run = 0; run < 100000; run++) {
		uint32_t len = random_command(), n_flips = dice(3);
		uint8_t *copy;
		struct error reason = { 0 };

		if (dice(4) == 0)
			len = dice(len + 4);
		while (n_flips-- > 0 && len > 0)
			cmd[dice(len < 24 ? len : 24)] ^= (uint8_t)(dice(2) ? 1u << dice(8) : dice(256));
		copy = malloc(len ? len : 1);
		memcpy(copy, cmd, len);
		if (cvq_check(&limits, copy, &len, &reason) == CVQ_FORWARD) {
			assert_int_equal(model_nic_command(&life->nic, copy, len), 0);
			cvq_remember(&life->store, copy, len);
			n_forwarded++;
		}
		free(copy);
	}
	assert_true(n_forwarded > 10000 && n_forwarded < 90000);
	free(life);
}

/* Saved state */

static void save(const struct cvq_store *store, void **fdt, uint32_t *len)
{
	struct state_writer w;

	assert_int_equal(state_open_writer(&w), 0);
	cvq_save(store, &w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static int load(struct cvq_store *store, const struct cvq_limits *l, const void *fdt, uint32_t len,
		struct error *err)
{
	struct state_node root;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = cvq_load(store, l, &root);
	return ret == 0 ? state_finish(&root) : ret;
}

static void test_save_load_save(void **state)
{
	struct cvq_store *store = malloc(sizeof(*store)), *again = malloc(sizeof(*store));
	uint8_t p[64];

	for (unsigned int run = 0; run < 200; run++) {
		struct life *life = new_life(false);
		struct error err = { 0 };
		struct cvq_replay r;
		void *a, *b;
		uint32_t a_len, b_len;

		seed = run;
		for (unsigned int n = dice(60); n > 0; n--)
			guest_sends(life, random_command());
		save(&life->store, &a, &a_len);
		memset(again, 0xa5, sizeof(*again));
		assert_int_equal(load(again, &limits, a, a_len, &err), 0);
		save(again, &b, &b_len);
		assert_int_equal(a_len, b_len);
		assert_memory_equal(a, b, a_len);
		cvq_replay_init(&r, &life->store, again);
		assert_int_equal(cvq_replay_next(&r, cmd), 0);
		*store = life->store;
		life->store = *again;
		assert_carried(life);
		/* The record goes on from there. */
		guest_sends(life, set_cmd(4, 2, p, put_hash(p, 1, 40)));
		assert_true(life->store.mq_sequence == store->mq_sequence + 1);
		free(a);
		free(b);
		free(life);
	}
	free(again);
	free(store);
}

static void test_largest_store(void **state)
{
	struct life *life = new_life(false);
	static uint8_t p[CVQ_MAX_COMMAND];
	struct error err = { 0 };
	void *fdt;
	uint32_t len;

	guest_sends(life, set_cmd(1, 0, p, put_macs(p, CVQ_MAX_MACS - 1, 1)));
	save(&life->store, &fdt, &len);
	cvq_reset(&life->store);
	assert_int_equal(load(&life->store, &limits, fdt, len, &err), 0);
	assert_carried(life);
	free(fdt);
	free(life);
}

static void test_truncated(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *store = malloc(sizeof(*store)), *before = malloc(sizeof(*store));
	uint8_t p[CVQ_MAX_MQ_COMMAND];
	void *fdt;
	uint32_t len;

	guest_sends(life, set_cmd(4, 0, "\4", 2));
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, 0x3f, 8, 0, 3, 4, 40)));
	guest_sends(life, set_cmd(4, 2, p, put_hash(p, 0x3f, 40)));
	guest_sends(life, set_cmd(1, 0, p, put_macs(p, 2, 3)));
	guest_sends(life, set_cmd(1, 1, "\2\3\4\5\6\177", 6));
	guest_sends(life, set_cmd(5, 0, "\2\0\0\0\0\0\0", 8));
	guest_sends(life, set_cmd(7, 0, "\2\0\0\0", 4));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 1, 4, 1)));
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 8, 4, 1)));
	guest_sends(life, set_coal(0, 0, 1, 2));
	guest_sends(life, set_coal(1, 0, 3, 4));
	guest_sends(life, set_coal(2, 3, 5, 6));
	save(&life->store, &fdt, &len);
	memset(before, 0x5a, sizeof(*before));
	*store = *before;
	for (uint32_t n = 0; n < len; n++) {
		struct error err = { 0 };
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, fdt, n);
		assert_int_equal(load(store, &limits, copy, n, &err), -EINVAL);
		if (n >= 8) {
			memcpy(copy + 4,
			       (uint8_t[]){ (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
					    (uint8_t)n },
			       4);
			assert_int_equal(load(store, &limits, copy, n, &err), -EINVAL);
		}
		assert_memory_equal(store, before, sizeof(*store));
		free(copy);
	}
	free(fdt);
	free(before);
	free(store);
	free(life);
}

/* Each value of a saved tree at and beyond its bounds. */
struct prop {
	const char *name;
	uint32_t len;
	const char *data;
};

#define SEQ(n) 8, "\0\0\0\0\0\0\0" n

static const char no_vlans[512];

#define COAL_QUEUE(queue, reserved) queue "\0" reserved "\0\5\0\0\0\6\0\0\0"

static const struct prop base[] = {
	{ "rx-modes", 6, "\2\1\0\0\0\0" },
	{ "mac", 6, "\2\3\4\5\6\7" },
	{ "mac-unicast", 6, "\2\3\4\5\6\7" },
	{ "mac-multicast", 0, "" },
	{ "vlans", 512, no_vlans },
	{ "vq-pairs-sequence", SEQ("\1") },
	{ "vq-pairs", 2, "\2\0" },
	{ "rss-sequence", SEQ("\2") },
	{ "rss", 15, "\1\0\0\0\0\0\0\0\1\0\2\0\2kk" },
	{ "hash-sequence", SEQ("\3") },
	{ "hash", 15, "\1\0\0\0\0\0\0\0\0\0\0\0\2kk" },
	{ "offloads", SEQ("\2") },
	{ "hash-tunnel", 4, "\0\0\0\3" },
	{ "rss-context-2", 15, "\1\0\0\0\0\0\0\0\1\0\2\0\2kk" },
	{ "coalescing-tx", 8, "\1\0\0\0\2\0\0" },
	{ "coalescing-rx", 8, "\3\0\0\0\4\0\0" },
	{ "coalescing-queues", 24, COAL_QUEUE("\1", "\0") COAL_QUEUE("\17", "\0") },
};

/* The base with @change in place of, or beside, what has its name; without @missing. */
static int load_changed(const struct prop *change, const char *missing, const struct cvq_limits *l,
			struct error *err)
{
	static struct cvq_store store, before;
	struct state_writer w;
	bool done = change == NULL;
	void *fdt;
	uint32_t len;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(base); i++) {
		const struct prop *p = &base[i];

		if (missing && strcmp(p->name, missing) == 0)
			continue;
		if (change && strcmp(p->name, change->name) == 0) {
			p = change;
			done = true;
		}
		state_put_blob(&w, p->name, p->data, p->len);
	}
	if (!done)
		state_put_blob(&w, change->name, change->data, change->len);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	before = store;
	ret = load(&store, l, fdt, len, err);
	if (ret == 0) {
		struct life *life = new_life(false);

		replay(&life->nic, &fresh, &store);
		free(life);
	} else if (!strstr(err->text, "knows")) {
		assert_memory_equal(&store, &before, sizeof(store));
	}
	free(fdt);
	return ret;
}

static void test_fields_out_of_range(void **state)
{
	static const struct {
		struct prop p;
		int ret;
		const char *reason;
	} cases[] = {
		{ { "rx-modes", 6, "\2\2\2\2\2\2" }, 0, "" },
		{ { "rx-modes", 6, "\0\0\0\0\0\3" }, -EINVAL, "RX mode 5 is 3" },
		{ { "rx-modes", 5, "\0\0\0\0\0" }, -EINVAL, "rx-modes" },
		{ { "rx-modes", 7, "\0\0\0\0\0\0\0" }, -EINVAL, "rx-modes" },
		{ { "mac", 5, "\2\3\4\5\6" }, -EINVAL, "'mac'" },
		{ { "mac", 7, "\2\3\4\5\6\7\10" }, -EINVAL, "'mac'" },
		{ { "mac-unicast", 0, "" }, 0, "" },
		{ { "mac-unicast", 7, "\2\3\4\5\6\7\10" }, -EINVAL, "an address has 6" },
		{ { "mac-multicast", 5, "\2\3\4\5\6" }, -EINVAL, "an address has 6" },
		{ { "vlans", 511, no_vlans }, -EINVAL, "vlans" },
		{ { "vq-pairs-sequence", SEQ("\0") }, -EINVAL, "vq-pairs-sequence" },
		{ { "vq-pairs-sequence", SEQ("\4") }, 0, "" },
		{ { "vq-pairs-sequence", SEQ("\2") },
		  -EINVAL,
		  "rss-sequence and vq-pairs-sequence are both 2" },
		{ { "hash-sequence", SEQ("\1") }, -EINVAL, "hash-sequence and vq-pairs-sequence are both 1" },
		{ { "hash-sequence", 8, "\100\0\0\0\0\0\0\0" }, 0, "" },
		{ { "hash-sequence", 8, "\100\0\0\0\0\0\0\1" }, -EINVAL, "hash-sequence" },
		{ { "hash-sequence", 8, "\377\377\377\377\377\377\377\377" }, -EINVAL, "hash-sequence" },
		{ { "hash-sequence", 4, "\0\0\0\3" }, -EINVAL, "hash-sequence" },
		{ { "vq-pairs", 2, "\10\0" }, 0, "" },
		{ { "vq-pairs", 2, "\11\0" }, -EINVAL, "MQ_VQ_PAIRS_SET: 9 queue pairs, this device has 8" },
		{ { "vq-pairs", 2, "\0\0" }, -EINVAL, "MQ_VQ_PAIRS_SET: 0" },
		{ { "vq-pairs", 0, "" }, -EINVAL, "vq-pairs" },
		{ { "vq-pairs", 3, "\1\0\0" }, -EINVAL, "MQ_VQ_PAIRS_SET of 3 bytes" },
		{ { "rss", 14, "\1\0\0\0\0\0\0\0\1\0\2\0\2k" }, -EINVAL, "MQ_RSS_CONFIG" },
		{ { "rss", 1, "\1" }, -EINVAL, "MQ_RSS_CONFIG of 1 bytes" },
		{ { "rss", 15, "\1\0\0\0\0\0\10\0\11\0\0\0\2kk" },
		  -EINVAL,
		  "receive queue 9, this device has 8; MQ_RSS_CONFIG: 0 transmit queues" },
		{ { "rss", 15, "\1\2\0\0\0\0\0\0\1\0\2\0\2kk" },
		  -EINVAL,
		  "hash types 0x201, this device has 0x1ff" },
		{ { "hash", 15, "\1\0\0\0\0\0\0\0\0\0\0\0\3kk" }, -EINVAL, "MQ_HASH_CONFIG" },
		{ { "hash", 15, "\0\0\1\0\0\0\0\0\0\0\0\0\2kk" }, -EINVAL, "hash types" },
		{ { "offloads", SEQ("\1") }, -EINVAL, "GUEST_OFFLOADS_SET: 0x1" },
		{ { "offloads", 4, "\0\0\0\2" }, -EINVAL, "offloads" },
		{ { "coalescing", 4, "\0\0\0\2" }, -EINVAL, "more in it than this Ferry knows" },
		{ { "hash-tunnel", 4, "\0\0\1\377" }, 0, "" },
		{ { "hash-tunnel", 4, "\0\0\2\0" }, -EINVAL, "tunnel types 0x200, this device has 0x1ff" },
		{ { "hash-tunnel", 4, "\0\0\0\0" }, -EINVAL, "hash-tunnel" },
		{ { "hash-tunnel", 3, "\0\0\1" }, -EINVAL, "hash-tunnel" },
		{ { "rss-context-2", 14, "\1\0\0\0\0\0\0\0\1\0\2\0\2k" }, -EINVAL, "RSS context 2" },
		{ { "rss-context-8", 15, "\1\0\0\0\0\0\0\0\1\0\2\0\2kk" }, 0, "" },
		{ { "rss-context-1", 0, "" }, -EINVAL, "rss-context-1" },
		{ { "rss-context-9", 15, "\1\0\0\0\0\0\0\0\1\0\2\0\2kk" },
		  -EINVAL,
		  "more in it than this Ferry knows" },
		{ { "coalescing-tx", 7, "\0\0\0\0\0\0\0" }, -EINVAL, "coalescing-tx" },
		{ { "coalescing-rx", 9, "\0\0\0\0\0\0\0\0\0" }, -EINVAL, "coalescing-rx" },
		{ { "coalescing-rx", 8, "\377\377\377\377\377\377\377\377" }, 0, "" },
		{ { "coalescing-queues", 12, COAL_QUEUE("\0", "\0") }, 0, "" },
		{ { "coalescing-queues", 12, COAL_QUEUE("\20", "\0") },
		  -EINVAL,
		  "coalescing of queue 16, this device has 16 data queues" },
		{ { "coalescing-queues", 12, COAL_QUEUE("\377\377", "") },
		  -EINVAL,
		  "coalescing of queue 65535" },
		{ { "coalescing-queues", 12, COAL_QUEUE("\1", "\1") },
		  -EINVAL,
		  "coalescing of queue 1 after" },
		{ { "coalescing-queues", 24, COAL_QUEUE("\1", "\0") COAL_QUEUE("\1", "\0") },
		  -EINVAL,
		  "queue 1 after that of queue 1" },
		{ { "coalescing-queues", 24, COAL_QUEUE("\2", "\0") COAL_QUEUE("\1", "\0") },
		  -EINVAL,
		  "queue 1 after that of queue 2" },
		{ { "coalescing-queues", 13, COAL_QUEUE("\2", "\0") "\0" }, -EINVAL, "each has 12" },
		{ { "coalescing-queues", 0, "" }, -EINVAL, "coalescing-queues" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int ret = load_changed(&cases[i].p, NULL, &limits, &err);

		if (ret != cases[i].ret || !strstr(err.text, cases[i].reason))
			fail_msg("%s, case %u: %d %s", cases[i].p.name, i, ret, err.text);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(base); i++) {
		/* Alone optional: what comes without a partner. */
		bool optional = strcmp(base[i].name, "mac") == 0 || strcmp(base[i].name, "offloads") == 0 ||
				strcmp(base[i].name, "hash-tunnel") == 0 ||
				strcmp(base[i].name, "rss-context-2") == 0 ||
				strncmp(base[i].name, "coalescing", 10) == 0;
		struct error err = { 0 };

		assert_int_equal(load_changed(NULL, base[i].name, &limits, &err), optional ? 0 : -EINVAL);
	}
}

static void test_other_device(void **state)
{
	static uint8_t vlans[512] = { [12] = 0x10 };
	static const struct prop vlan = { "vlans", 512, (const char *)vlans };
	static const struct {
		uint8_t feature;
		const char *name;
	} gates[] = { { 2, "GUEST_OFFLOADS_SET" }, { 18, "RX_PROMISC" },      { 19, "VLAN_ADD" },
		      { 22, "MQ_VQ_PAIRS_SET" },   { 23, "MAC_ADDR_SET" },    { 57, "MQ_HASH_CONFIG" },
		      { 60, "MQ_RSS_CONFIG" },     { 51, "HASH_TUNNEL_SET" }, { 52, "NOTF_COAL_VQ_SET" },
		      { 53, "NOTF_COAL_TX_SET" } };
	const struct cvq_limits small = { .features = ALL_FEATURES,
					  .max_pairs = 1,
					  .rss_max_key = 1,
					  .rss_max_table = 128,
					  .hash_types = 0 };
	struct error err = { 0 };
	uint8_t p[CVQ_MAX_MQ_COMMAND];
	struct prop rss = { "rss", put_rss(p, 0x3f, 256, 0, 3, 4, 40), (const char *)p };

	for (unsigned int i = 0; i < ARRAY_SIZE(gates); i++) {
		struct cvq_limits l = limits;

		l.features &= ~VIRTIO_BIT(gates[i].feature);
		err = (struct error){ 0 };
		assert_int_equal(load_changed(&vlan, NULL, &l, &err), -EINVAL);
		assert_non_null(strstr(err.text, gates[i].name));
	}
	for (unsigned int i = 0; i < 2; i++) {
		const struct prop tunnels = { "offloads", 8, "\0\0\100\0\0\0\0\0" };
		struct cvq_limits l = limits;

		assert_int_equal(load_changed(i ? &tunnels : NULL, NULL, &l, &err), 0);
		l.features_high = 0;
		err = (struct error){ 0 };
		assert_int_equal(load_changed(i ? &tunnels : NULL, NULL, &l, &err), -EINVAL);
		assert_non_null(strstr(err.text, "RSS_CTX_ADD without feature bit 64"));
		assert_int_equal(!strstr(err.text, "GUEST_OFFLOADS_SET: 0x400000000000"), !i);
		err = (struct error){ 0 };
	}
	err = (struct error){ 0 };
	assert_int_equal(load_changed(&rss, NULL, &limits, &err), -EINVAL);
	assert_string_equal(err.text, "MQ_RSS_CONFIG: table of 256 entries, this device takes 128");
	/* All reasons, not the first. */
	err = (struct error){ 0 };
	assert_int_equal(load_changed(NULL, NULL, &small, &err), -EINVAL);
	assert_non_null(strstr(err.text, "MQ_VQ_PAIRS_SET: 2 queue pairs, this device has 1"));
	assert_non_null(strstr(err.text, "MQ_RSS_CONFIG: hash key of 2 bytes, this device takes 1"));
	assert_non_null(strstr(err.text, "MQ_RSS_CONFIG: receive queue 1, this device has 1"));
	assert_non_null(strstr(err.text, "MQ_HASH_CONFIG: hash types 0x1, this device has 0x0"));
	assert_non_null(strstr(err.text, "HASH_TUNNEL_SET: tunnel types 0x3, this device has 0x0"));
	assert_non_null(strstr(err.text, "coalescing of queue 15, this device has 2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_vlan_and_pairs_bounds),
		cmocka_unit_test(test_mac_table_bounds),
		cmocka_unit_test(test_rss_bounds),
		cmocka_unit_test(test_rss_largest),
		cmocka_unit_test(test_hash_config),
		cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_queue_bounds),
		cmocka_unit_test(test_tunnel_types),
		cmocka_unit_test(test_context_bounds),
		cmocka_unit_test(test_replay_order),
		cmocka_unit_test(test_replay_is_minimal),
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_coalescing),
		cmocka_unit_test(test_refused_by_the_device),
		cmocka_unit_test(test_all_vlans),
		cmocka_unit_test(test_any_life_is_carried),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_save_load_save),
		cmocka_unit_test(test_largest_store),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_fields_out_of_range),
		cmocka_unit_test(test_other_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
