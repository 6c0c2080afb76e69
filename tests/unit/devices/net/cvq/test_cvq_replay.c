/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands and its replay against an oracle: a device ends as the guest left it. */
#include "tests/unit/devices/net/cvq/cvq_fixture.h"

static void a_replay_has_the_order_that_devices_need(void **state)
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
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0x3f, 128, 0, 3, 4, 40 })));
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

static void a_replay_has_no_superfluous_command(void **state)
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
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0, 4, 0, 1, 2, 40 })));
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

/* A replay has the contexts that have changed, and all of them where a number of pairs comes between. */
static void contexts_begin_anew_where_a_number_of_pairs_comes_between(void **state)
{
	struct life *life = new_life(false);
	struct cvq_store *before = malloc(sizeof(*before));
	struct model_nic *there = malloc(sizeof(*there));
	uint8_t p[CVQ_MAX_MQ_COMMAND + 8];

	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0x3f, 128, 0, 3, 4, 40 })));
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
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0x3f, 128, 0, 3, 4, 40 })));
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
static void the_last_word_on_a_queues_coalescing_is_carried(void **state)
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
	/* A queue comes back to the value for all by a word of its own, and is like the others then. */
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
	/* A queue goes back to the default if there never was a word for all. */
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

static void a_command_that_the_device_refuses_is_not_recorded(void **state)
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

static void all_vlans_are_carried(void **state)
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

/* Whatever a guest does, and wherever in between the destination was warmed: it ends in the same state. */
static void any_life_is_carried(void **state)
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
static void no_bytes_pass_the_check_that_the_model_refuses(void **state)
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
		if (cvq_check(&fake_limits, copy, &len, &reason) == CVQ_FORWARD) {
			assert_int_equal(model_nic_command(&life->nic, copy, len), 0);
			cvq_remember(&life->store, copy, len);
			n_forwarded++;
		}
		free(copy);
	}
	assert_true(n_forwarded > 10000 && n_forwarded < 90000);
	free(life);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_replay_has_the_order_that_devices_need),
		cmocka_unit_test(a_replay_has_no_superfluous_command),
		cmocka_unit_test(contexts_begin_anew_where_a_number_of_pairs_comes_between),
		cmocka_unit_test(the_last_word_on_a_queues_coalescing_is_carried),
		cmocka_unit_test(a_command_that_the_device_refuses_is_not_recorded),
		cmocka_unit_test(all_vlans_are_carried),
		cmocka_unit_test(any_life_is_carried),
		cmocka_unit_test(no_bytes_pass_the_check_that_the_model_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
