/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands one by one: every row of the table, its bounds, and what a device without it refuses. */
#include "tests/unit/devices/net/cvq/cvq_fixture.h"

/* The length of the command that was checked last, as cvq_check() left it. */
static uint32_t checked_len;

static enum cvq_verdict check(const struct cvq_limits *l, uint8_t class, uint8_t command, const void *payload,
			      uint32_t len)
{
	/* The copy has exactly that size, so that ASan sees a read beyond it. */
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

static enum cvq_verdict right_verdict(const struct fake_command *g)
{
	if (g->recorded)
		return CVQ_FORWARD;
	return g->class == VIRTIO_NET_CTRL_ANNOUNCE ? CVQ_ANNOUNCE_ACK : CVQ_PASS;
}

static bool has_hash_key(const struct fake_command *g)
{
	return (g->class == 4 && g->command > 0) || (g->class == 9 && g->command % 3 != 0);
}

/* The bits of a row's feature alone, in either word. */
static void set_feature(struct cvq_limits *l, const struct fake_command *g, bool on)
{
	uint64_t *word = g->feature < 64 ? &l->features : &l->features_high;
	uint64_t bit = VIRTIO_BIT(g->feature % 64);

	*word = on ? *word | bit : *word & ~bit;
}

static void each_command_is_checked_and_described_by_its_row(void **state)
{
	uint64_t features = 0;

	for (unsigned int i = 0; i < fake_n_commands; i++) {
		const struct fake_command *g = &fake_commands[i];
		enum cvq_verdict right = right_verdict(g);
		struct cvq_limits l = fake_limits;
		char words[CVQ_NAME_MAX];
		uint8_t longer[32] = { 0 };

		memcpy(longer, g->payload, g->len);
		assert_int_equal(check(&fake_limits, g->class, g->command, g->payload, g->len), right);
		cvq_describe(cmd, g->len + 2, words);
		assert_string_equal(words, g->words);
		assert_int_equal(checked_len, g->len + 2);
		/* Linux sends a byte behind a hash key, which nobody else gets; other bytes too many are
		 * refused. */
		assert_int_equal(check(&fake_limits, g->class, g->command, longer, g->len + 1),
				 has_hash_key(g) ? right : CVQ_REFUSE);
		assert_int_equal(checked_len, g->len + (has_hash_key(g) ? 2 : 3));
		assert_int_equal(check(&fake_limits, g->class, g->command, longer, g->len + 2), CVQ_REFUSE);
		cvq_describe(cmd, g->len + 3, words);
		/* The id of a context is part of its description, however long the command is. */
		assert_string_equal(words, g->class == 9 && g->command > 0 ? g->words : g->name);
		for (uint32_t len = 0; len < g->len; len++) {
			/* Two MAC tables: the shorter one is right for a length of 8 and zero counts only. */
			assert_int_equal(check(&fake_limits, g->class, g->command, g->payload, len),
					 CVQ_REFUSE);
			cvq_describe(cmd, len + 2, words);
		}
		set_feature(&l, g, false);
		assert_int_equal(check(&l, g->class, g->command, g->payload, g->len), CVQ_REFUSE);
		l.features = l.features_high = 0;
		set_feature(&l, g, true);
		assert_int_equal(check(&l, g->class, g->command, g->payload, g->len), right);
		features |= g->feature < 64 ? VIRTIO_BIT(g->feature) : 0;
	}
	assert_true(cvq_features() == features);
}

static void a_command_that_no_row_has_is_refused(void **state)
{
	struct error reason = { 0 };
	char words[CVQ_NAME_MAX];

	for (unsigned int class = 0; class < 256; class ++) {
		for (unsigned int command = 0; command < 256; command++) {
			bool known = false;

			for (unsigned int i = 0; i < fake_n_commands; i++)
				known |= fake_commands[i].class == class &&
					 fake_commands[i].command == command;
			if (known)
				continue;
			for (uint32_t len = 0; len < 16; len++)
				assert_int_equal(check(&fake_limits, (uint8_t) class, (uint8_t)command,
						       "0123456789abcdef", len),
						 CVQ_REFUSE);
		}
	}
	checked_len = 1;
	assert_int_equal(cvq_check(&fake_limits, cmd, &checked_len, &reason), CVQ_REFUSE);
	assert_non_null(strstr(reason.text, "no such command"));
	checked_len = 0;
	assert_int_equal(cvq_check(&fake_limits, cmd, &checked_len, &reason), CVQ_REFUSE);
	cvq_describe(cmd, 1, words);
	assert_string_equal(words, "command of 1 bytes");
	set_cmd(10, 1, "", 0);
	cvq_describe(cmd, 2, words);
	assert_string_equal(words, "unknown command 10/1");
}

static void vlans_and_pairs_have_bounds(void **state)
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
		assert_int_equal(check(&fake_limits, cases[i].class, 0, v, 2), cases[i].verdict);
		if (cases[i].class == 2)
			assert_int_equal(check(&fake_limits, 2, 1, v, 2), cases[i].verdict);
	}
}

static void mac_tables_have_as_many_addresses_as_they_say(void **state)
{
	static uint8_t p[8 + 6 * (CVQ_MAX_MACS + 1)];
	uint32_t len;

	/* The largest number is taken, spread in every way; one more is refused. */
	for (uint32_t n = 0; n <= CVQ_MAX_MACS; n += CVQ_MAX_MACS / 2) {
		len = put_macs(p, n, CVQ_MAX_MACS - n);
		assert_int_equal(len + 2, CVQ_MAX_COMMAND);
		assert_int_equal(check(&fake_limits, 1, 0, p, len), CVQ_FORWARD);
		len = put_macs(p, n, CVQ_MAX_MACS + 1 - n);
		assert_int_equal(check(&fake_limits, 1, 0, p, len), CVQ_REFUSE);
	}
	/* Counts that do not fit the length, or that wrap when multiplied. */
	len = put_macs(p, 2, 2);
	for (uint32_t offset = 0; offset <= 16; offset += 16) {
		static const uint32_t counts[] = { 0,          1,          3,          4,         0x2aaaaaab,
						   0x2aaaaaad, 0x55555556, 0xfffffffe, 0xffffffff };

		for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
			put_macs(p, 2, 2);
			put_le32(p + offset, counts[i]);
			assert_int_equal(check(&fake_limits, 1, 0, p, len), CVQ_REFUSE);
		}
	}
}

static void rss_names_only_what_the_device_has(void **state)
{
	static const struct {
		struct rss rss;
		enum cvq_verdict verdict;
	} cases[] = {
		{ { 0x3f, 128, 0, 7, 8, 40 }, CVQ_FORWARD },
		{ { 0, 1, 7, 0, 1, 0 }, CVQ_FORWARD },
		{ { 0x1ff, 64, 7, 7, 8, 40 }, CVQ_FORWARD },
		{ { 0x200, 128, 0, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0x80000000, 128, 0, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0, 256, 0, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0, 3, 0, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0, 127, 0, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0, 128, 8, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0, 128, 0x8000, 7, 8, 40 }, CVQ_REFUSE },
		{ { 0, 128, 0, 8, 8, 40 }, CVQ_REFUSE },
		{ { 0, 128, 0, 0x8001, 8, 40 }, CVQ_REFUSE },
		{ { 0, 128, 0, 7, 0, 40 }, CVQ_REFUSE },
		{ { 0, 128, 0, 7, 9, 40 }, CVQ_REFUSE },
		{ { 0, 128, 0, 7, 8, 41 }, CVQ_REFUSE },
		{ { 0, 128, 0, 7, 8, 255 }, CVQ_REFUSE },
	};
	uint8_t p[CVQ_MAX_MQ_COMMAND];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t len = put_rss(p, cases[i].rss);

		assert_int_equal(check(&fake_limits, 4, 1, p, len), cases[i].verdict);
		assert_int_equal(check(&fake_limits, 4, 1, p, len - 1), CVQ_REFUSE);
		p[len] = 0;
		assert_int_equal(check(&fake_limits, 4, 1, p, len + 2), CVQ_REFUSE);
	}
	/* The last entry of a table counts too, and so does a mask that points behind the payload. */
	uint32_t len = put_rss(p, (struct rss){ 0, 128, 0, 0, 1, 40 });

	put_le16(p + 8 + 2 * 127, 8);
	assert_int_equal(check(&fake_limits, 4, 1, p, len), CVQ_REFUSE);
	put_le16(p + 4, 0xffff);
	assert_int_equal(check(&fake_limits, 4, 1, p, len), CVQ_REFUSE);
}

static void the_largest_rss_configuration_fits(void **state)
{
	const struct cvq_limits l = { .features = ALL_FEATURES,
				      .max_pairs = 0x8000,
				      .rss_max_key = 255,
				      .rss_max_table = 0xffff,
				      .hash_types = ~0u };
	uint8_t p[CVQ_MAX_MQ_COMMAND + 1024];
	uint32_t len = put_rss(p, (struct rss){ ~0u, CVQ_MAX_RSS_TABLE, 0x7fff, 0x7fff, 0x8000, 255 });

	assert_int_equal(len + 2, CVQ_MAX_MQ_COMMAND);
	assert_int_equal(check(&l, 4, 1, p, len), CVQ_FORWARD);
	len = put_rss(p, (struct rss){ ~0u, CVQ_MAX_RSS_TABLE, 0x8000, 0x7fff, 0x8000, 255 });
	assert_int_equal(check(&l, 4, 1, p, len), CVQ_REFUSE);
	len = put_rss(p, (struct rss){ ~0u, 2 * CVQ_MAX_RSS_TABLE, 0, 0, 1, 0 });
	assert_int_equal(check(&l, 4, 1, p, len), CVQ_REFUSE);
	len = put_hash(p, ~0u, 255);
	assert_int_equal(check(&l, 4, 2, p, len), CVQ_FORWARD);
}

static void a_hash_configuration_loses_what_is_reserved(void **state)
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
		assert_int_equal(check(&fake_limits, 4, 2, p, len), cases[i].verdict);
		p[len] = 0;
		assert_int_equal(check(&fake_limits, 4, 2, p, len + 2), CVQ_REFUSE);
	}
	/* Linux sends the number of pairs in the reserved part. Neither device nor record may see it. */
	len = put_hash(p, 0x3f, 40);
	memset(p + 4, 0xff, 8);
	assert_int_equal(check(&fake_limits, 4, 2, p, len), CVQ_FORWARD);
	assert_memory_equal(cmd + 2 + 4, zero, 8);
	assert_memory_equal(cmd + 2 + 12, p + 12, len - 12);
}

static void an_offload_needs_its_feature(void **state)
{
	/* The features of the UDP tunnels' bits have other numbers. */
	static const uint8_t known[] = { 1, 7, 8, 9, 10, 46, 47, 54, 55, 59 };

	for (unsigned int bit = 0; bit < 64; bit++) {
		bool is_known = memchr(known, (int)bit, sizeof(known)) != NULL;
		struct cvq_limits l = fake_limits;
		uint8_t mask[8];

		put_le64(mask, VIRTIO_BIT(bit));
		assert_int_equal(check(&fake_limits, 5, 0, mask, 8), is_known ? CVQ_FORWARD : CVQ_REFUSE);
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

static void coalescing_names_only_queues_that_are_enabled(void **state)
{
	struct cvq_limits l = fake_limits;
	uint8_t p[12] = { 0 };

	/* The control queue has no coalescing, nor has what lies behind it. */
	for (unsigned int queue = 0; queue < 0x10000; queue += queue < 20 ? 1 : 1000) {
		put_le16(p, (uint16_t)queue);
		assert_int_equal(check(&fake_limits, 6, 2, p, 12), queue < 16 ? CVQ_FORWARD : CVQ_REFUSE);
		assert_int_equal(check(&fake_limits, 6, 3, p, 4), queue < 16 ? CVQ_PASS : CVQ_REFUSE);
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
	l = fake_limits;
	l.queue_disabled[5] = true;
	put_le16(p, 5);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_REFUSE);
	assert_int_equal(check(&l, 6, 3, p, 4), CVQ_REFUSE);
	/* Reserved bytes reach nobody. */
	put_le16(p, 4);
	put_le16(p + 2, 0xffff);
	assert_int_equal(check(&l, 6, 2, p, 12), CVQ_FORWARD);
	assert_int_equal(get_le16(cmd + 4), 0);
	assert_int_equal(check(&l, 6, 3, p, 4), CVQ_PASS);
	assert_int_equal(get_le16(cmd + 4), 0);
}

static void tunnel_types_are_those_of_the_device(void **state)
{
	struct cvq_limits l = fake_limits;
	uint8_t p[4];

	for (unsigned int bit = 0; bit < 32; bit++) {
		put_le32(p, 1u << bit);
		assert_int_equal(check(&fake_limits, 7, 0, p, 4), bit < 9 ? CVQ_FORWARD : CVQ_REFUSE);
		l.tunnel_types = ~(1u << bit);
		assert_int_equal(check(&l, 7, 0, p, 4), CVQ_REFUSE);
	}
	put_le32(p, 0);
	l.tunnel_types = 0;
	assert_int_equal(check(&l, 7, 0, p, 4), CVQ_FORWARD);
}

/* An id that there can be, a configuration as RSS_CONFIG takes it. */
static void a_context_has_an_id_and_a_configuration_in_bounds(void **state)
{
	uint8_t p[CVQ_MAX_COMMAND], id[2];

	for (uint16_t n = 0; n < 20; n++) {
		enum cvq_verdict right = n >= 1 && n <= CVQ_MAX_CONTEXTS ? CVQ_FORWARD : CVQ_REFUSE;

		put_le16(id, n);
		assert_int_equal(check(&fake_limits, 9, 3, id, 2), right);
		assert_int_equal(check(&fake_limits, 9, 1, p, put_context(p, n, 128, 7)), right);
		assert_memory_equal(cmd + 4, "\0\0\0\0\0\0", 6);
		assert_int_equal(check(&fake_limits, 9, 2, p, put_context(p, n, 128, 8)), CVQ_REFUSE);
		assert_int_equal(check(&fake_limits, 9, 2, p, put_context(p, n, 256, 0)), CVQ_REFUSE);
		assert_int_equal(check(&fake_limits, 9, 2, p, put_context(p, n, 128, 0) - 1), CVQ_REFUSE);
	}
	put_le16(id, 0x8001);
	assert_int_equal(check(&fake_limits, 9, 3, id, 2), CVQ_REFUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_is_checked_and_described_by_its_row),
		cmocka_unit_test(a_command_that_no_row_has_is_refused),
		cmocka_unit_test(vlans_and_pairs_have_bounds),
		cmocka_unit_test(mac_tables_have_as_many_addresses_as_they_say),
		cmocka_unit_test(rss_names_only_what_the_device_has),
		cmocka_unit_test(the_largest_rss_configuration_fits),
		cmocka_unit_test(a_hash_configuration_loses_what_is_reserved),
		cmocka_unit_test(an_offload_needs_its_feature),
		cmocka_unit_test(coalescing_names_only_queues_that_are_enabled),
		cmocka_unit_test(tunnel_types_are_those_of_the_device),
		cmocka_unit_test(a_context_has_an_id_and_a_configuration_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
