/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands saved, and loaded: as it was, damaged, for a device that can do less. */
#include "tests/unit/devices/net/cvq/cvq_fixture.h"

#include <errno.h>

#include "devices/net/cvq/state.h"

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
	static uint8_t room[CVQ_MAX_COMMAND];
	struct state_node root;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = cvq_load(store, room, l, &root);
	return ret == 0 ? state_finish(&root) : ret;
}

static void a_loaded_record_is_saved_as_it_was(void **state)
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
		assert_int_equal(load(again, &fake_limits, a, a_len, &err), 0);
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

static void the_largest_record_can_be_loaded(void **state)
{
	struct life *life = new_life(false);
	static uint8_t p[CVQ_MAX_COMMAND];
	struct error err = { 0 };
	void *fdt;
	uint32_t len;

	guest_sends(life, set_cmd(1, 0, p, put_macs(p, CVQ_MAX_MACS - 1, 1)));
	save(&life->store, &fdt, &len);
	cvq_reset(&life->store);
	assert_int_equal(load(&life->store, &fake_limits, fdt, len, &err), 0);
	assert_carried(life);
	free(fdt);
	free(life);
}

static void a_truncated_record_is_refused_and_changes_nothing(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *store = malloc(sizeof(*store)), *before = malloc(sizeof(*store));
	uint8_t p[CVQ_MAX_MQ_COMMAND];
	void *fdt;
	uint32_t len;

	guest_sends(life, set_cmd(4, 0, "\4", 2));
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0x3f, 8, 0, 3, 4, 40 })));
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
		assert_int_equal(load(store, &fake_limits, copy, n, &err), -EINVAL);
		if (n >= 8) {
			memcpy(copy + 4,
			       (uint8_t[]){ (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
					    (uint8_t)n },
			       4);
			assert_int_equal(load(store, &fake_limits, copy, n, &err), -EINVAL);
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
	static const struct cvq_store empty;
	static struct cvq_store store;
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
	ret = load(&store, l, fdt, len, err);
	if (ret == 0) {
		struct life *life = new_life(false);

		replay(&life->nic, &fresh, &store);
		free(life);
	} else if (!strstr(err->text, "knows")) {
		assert_memory_equal(&store, &empty, sizeof(store));
	}
	free(fdt);
	return ret;
}

static void each_value_of_a_record_has_bounds(void **state)
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
		{ { "vq-pairs", 3, "\1\0\0" }, -EINVAL, "MQ_VQ_PAIRS_SET has 3 bytes" },
		{ { "rss", 14, "\1\0\0\0\0\0\0\0\1\0\2\0\2k" }, -EINVAL, "MQ_RSS_CONFIG" },
		{ { "rss", 1, "\1" }, -EINVAL, "MQ_RSS_CONFIG has 1 bytes" },
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
		int ret = load_changed(&cases[i].p, NULL, &fake_limits, &err);

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

		assert_int_equal(load_changed(NULL, base[i].name, &fake_limits, &err),
				 optional ? 0 : -EINVAL);
	}
}

static void a_device_that_can_do_less_refuses_with_every_reason(void **state)
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
	struct prop rss = { "rss", put_rss(p, (struct rss){ 0x3f, 256, 0, 3, 4, 40 }), (const char *)p };

	for (unsigned int i = 0; i < ARRAY_SIZE(gates); i++) {
		struct cvq_limits l = fake_limits;

		l.features &= ~VIRTIO_BIT(gates[i].feature);
		err = (struct error){ 0 };
		assert_int_equal(load_changed(&vlan, NULL, &l, &err), -EINVAL);
		assert_non_null(strstr(err.text, gates[i].name));
	}
	for (unsigned int i = 0; i < 2; i++) {
		const struct prop tunnels = { "offloads", 8, "\0\0\100\0\0\0\0\0" };
		struct cvq_limits l = fake_limits;

		assert_int_equal(load_changed(i ? &tunnels : NULL, NULL, &l, &err), 0);
		l.features_high = 0;
		err = (struct error){ 0 };
		assert_int_equal(load_changed(i ? &tunnels : NULL, NULL, &l, &err), -EINVAL);
		assert_non_null(strstr(err.text, "RSS_CTX_ADD needs feature bit 64"));
		assert_int_equal(!strstr(err.text, "GUEST_OFFLOADS_SET: 0x400000000000"), !i);
		err = (struct error){ 0 };
	}
	err = (struct error){ 0 };
	assert_int_equal(load_changed(&rss, NULL, &fake_limits, &err), -EINVAL);
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
		cmocka_unit_test(a_loaded_record_is_saved_as_it_was),
		cmocka_unit_test(the_largest_record_can_be_loaded),
		cmocka_unit_test(a_truncated_record_is_refused_and_changes_nothing),
		cmocka_unit_test(each_value_of_a_record_has_bounds),
		cmocka_unit_test(a_device_that_can_do_less_refuses_with_every_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
