/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands in words: nothing that is recorded is left unsaid, and nothing grows without
 * bounds. */
#include "tests/unit/devices/net/cvq/cvq_fixture.h"

/* More than a reply of the control socket has room for. */
static char told[20480];

static const char *tell(const struct cvq_store *store)
{
	struct facts f;

	facts_begin(&f, told, sizeof(told));
	cvq_tell(store, &f);
	facts_end(&f);
	assert_false(f.cut);
	return told;
}

static void assert_told(const struct life *life, const char *words)
{
	if (!strstr(tell(&life->store), words))
		fail_msg("%s is not in %s", words, told);
}

/* Whoever adds a family gives its row words: every command that is recorded changes what is told. */
static void every_command_that_is_recorded_changes_the_words(void **state)
{
	struct life *life = new_life(false);
	char *before = malloc(sizeof(told));

	/* What DEL takes away is there. */
	guest_sends(life, set_cmd(2, 0, "\376\17", 2));
	guest_sends(life, set_cmd(9, 1, "\3\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\2\0\2kk", 23));
	guest_sends(life, set_cmd(9, 1, "\10\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1\0\2\0\2kk", 23));
	for (unsigned int i = 0; i < fake_n_commands; i++) {
		const struct fake_command *g = &fake_commands[i];

		strcpy(before, tell(&life->store));
		if (!g->recorded)
			continue;
		/* Whatever the device would say to it after the others. */
		cvq_remember(&life->store, cmd, set_cmd(g->class, g->command, g->payload, g->len));
		if (strcmp(before, tell(&life->store)) == 0)
			fail_msg("%s has no words: give its row some", g->name);
	}
	free(before);
	free(life);
}

/* The same of the table itself: a row that a program cannot reach by the catalogue. */
static void every_family_is_told_under_a_name_of_its_own(void **state)
{
	for (unsigned int i = 0; i < cvq_n_rows; i++) {
		const struct cvq_row *row = &cvq_rows[i];

		/* A property of saved state is a family; the modes share one. */
		if (row->slot.property || row->slot.keep == CVQ_KEEP_MODE)
			assert_non_null(row->words);
		assert_int_equal(!row->words, !row->told_as);
		for (unsigned int k = 0; row->told_as && k < i; k++)
			assert_true(!cvq_rows[k].told_as || strcmp(cvq_rows[k].told_as, row->told_as) != 0);
	}
}

static void a_device_that_was_told_nothing_has_no_words(void **state)
{
	assert_string_equal(tell(&fresh), "{}");
}

static void each_family_is_told_in_words(void **state)
{
	struct life *life = new_life(false);
	uint8_t p[CVQ_MAX_MQ_COMMAND];

	guest_sends(life, set_cmd(0, 0, "\1", 1));
	guest_sends(life, set_cmd(0, 5, "\0", 1));
	assert_told(life, "\"promiscuous\":[\"on\"],\"noBroadcast\":[\"off\"]");
	guest_sends(life, set_cmd(1, 1, "\2\3\4\5\6\177", 6));
	assert_told(life, "\"macAddress\":[\"02:03:04:05:06:7f\"]");
	guest_sends(life, set_cmd(1, 0, "\1\0\0\0\2\0\0\0\0\1\1\0\0\0\63\63\0\0\0\1", 20));
	assert_told(life, "\"macTable\":[\"1 unicast address: 02:00:00:00:00:01\","
			  "\"1 multicast address: 33:33:00:00:00:01\"]");
	guest_sends(life, set_cmd(2, 0, "\0\0", 2));
	guest_sends(life, set_cmd(2, 0, "\7\0", 2));
	guest_sends(life, set_cmd(2, 0, "\10\0", 2));
	guest_sends(life, set_cmd(2, 0, "\377\17", 2));
	assert_told(life, "\"vlans\":[\"0\",\"7-8\",\"4095\"]");
	guest_sends(life, set_cmd(4, 0, "\2", 2));
	assert_told(life, "\"queuePairs\":[\"2\"]");
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0x105, 4, 1, 2, 3, 40 })));
	assert_told(life, "\"queuePairs\":[\"2, which what came later has replaced\"],"
			  "\"rss\":[\"hashed: IPv4 UDPv4 UDP_EX\",\"table of 4: queues 2 2 2 2\","
			  "\"others: queue 1\",\"transmit queues: 3\",\"key of 40 bytes\"]");
	guest_sends(life, set_cmd(4, 2, p, put_hash(p, 0, 8)));
	assert_told(life, "\"hash\":[\"hashed: nothing\",\"key of 8 bytes\"]");
	guest_sends(life, set_cmd(5, 0, "\202\0\0\0\0\100\0\0", 8));
	assert_told(life, "\"guestOffloads\":[\"checksums\",\"TSO of IPv4\",\"GSO in UDP tunnels\"]");
	guest_sends(life, set_cmd(5, 0, "\0\0\0\0\0\0\0", 8));
	assert_told(life, "\"guestOffloads\":[\"none\"]");
	guest_sends(life, set_cmd(6, 1, "\5\0\0\0\6\0\0\0", 8));
	guest_sends(life, set_cmd(6, 2, "\3\0\0\0\7\0\0\0\10\0\0\0", 12));
	assert_told(life, "\"coalescingRx\":[\"5 packets, 6 us\"],"
			  "\"coalescingQueues\":[\"tx1: 7 packets, 8 us\"]");
	guest_sends(life, set_cmd(7, 0, "\20\1\0\0", 4));
	assert_told(life, "\"hashTunnel\":[\"VXLAN\",\"NVGRE\"]");
	guest_sends(life, set_cmd(9, 1, p, put_context(p, 2, 4, 1)));
	assert_told(life, "\"rssContexts\":[\"2: hashed:");
	free(life);
}

/* All that one guest can set, filled to the brim. */
static void what_a_guest_sets_to_the_brim_fits_a_reply(void **state)
{
	struct cvq_store *store = calloc(1, sizeof(*store));
	struct life *life = new_life(false);
	uint8_t p[CVQ_MAX_MQ_COMMAND];
	struct json *json = malloc(sizeof(*json));

	for (unsigned int i = 1; i <= CVQ_MAX_CONTEXTS; i++)
		guest_sends(life, set_cmd(9, 1, p, put_context(p, (uint16_t)i, 128, 7)));
	guest_sends(life, set_cmd(4, 1, p, put_rss(p, (struct rss){ 0x1ff, 128, 7, 7, 8, 40 })));
	*store = life->store;
	store->mac_table_set = true;
	store->n_unicast = store->n_multicast = CVQ_MAX_MACS / 2;
	memset(store->vlans, 0x55, sizeof(store->vlans));
	for (unsigned int i = 0; i < CVQ_MAX_QUEUES; i++) {
		store->coal_queue[i].set = true;
		memset(store->coal_queue[i].bytes, 0xff, sizeof(store->coal_queue[i].bytes));
	}
	assert_non_null(strstr(tell(store), "4096 unicast addresses: 00:"));
	assert_non_null(strstr(told, " and 4080 more\""));
	assert_non_null(strstr(told, "\"and 1984 more\""));
	assert_non_null(strstr(told, "table of 128: queues 7 7"));
	assert_non_null(strstr(told, " and 64 more\""));
	/* Half of a reply, at most: the queues have the rest. */
	assert_in_range(strlen(told), 1, sizeof(told) / 2 + 4096);
	assert_true(json_parse(json, told, strlen(told)));
	free(json);
	free(store);
	free(life);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_that_is_recorded_changes_the_words),
		cmocka_unit_test(every_family_is_told_under_a_name_of_its_own),
		cmocka_unit_test(a_device_that_was_told_nothing_has_no_words),
		cmocka_unit_test(each_family_is_told_in_words),
		cmocka_unit_test(what_a_guest_sets_to_the_brim_fits_a_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
