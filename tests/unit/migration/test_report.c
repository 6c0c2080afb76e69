/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration's report: whatever is in it, it is JSON that fits, and rounds are kept or summed up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "migration/report.h"
#include "vmm/control/json.h"

static const struct report_round large = { .n = UINT32_MAX,
					   .start_ns = UINT64_MAX,
					   .ns = UINT64_MAX,
					   .bytes = UINT64_MAX,
					   .pages = UINT64_MAX,
					   .zero_pages = UINT64_MAX,
					   .written_bytes = UINT64_MAX,
					   .written_ns = 1,
					   .throttle = UINT32_MAX };

/* Everything as long as it gets. */
static void fill(struct report *r)
{
	*r = (struct report){ .state = REPORT_UNKNOWN,
			      .stage = "something",
			      .started = UINT64_MAX,
			      .ended = UINT64_MAX,
			      .stream_version = UINT32_MAX,
			      .downtime_limit_ns = UINT64_MAX,
			      .bandwidth_limit = UINT64_MAX,
			      .stalled = "throttle",
			      .round = UINT32_MAX,
			      .total_bytes = UINT64_MAX,
			      .remaining_bytes = UINT64_MAX,
			      .sent_bytes = UINT64_MAX,
			      .zero_bytes = UINT64_MAX,
			      .bytes_per_second = UINT64_MAX,
			      .throttle = UINT32_MAX,
			      .n_warm = UINT32_MAX,
			      .still_ns = UINT64_MAX,
			      .elapsed_ns = UINT64_MAX,
			      .stopped_because =
				      "what is left fits the downtime limit, and a device's state that "
				      "never comes to rest is not waited for",
			      .stop_remaining_bytes = UINT64_MAX,
			      .stop_expected_ns = UINT64_MAX,
			      .stop_ns = UINT64_MAX,
			      .downtime_ns = UINT64_MAX };
	memset(r->to, 0x01, sizeof(r->to) - 1);
	memset(r->reason, 0x02, sizeof(r->reason) - 1);
	for (unsigned int i = 0; i < REPORT_N_PARTS; i++)
		r->parts_ns[i] = UINT64_MAX;
	for (unsigned int i = 0; i < REPORT_MAX_ROUNDS; i++)
		report_add_round(r, &large);
	for (unsigned int i = 0; i < REPORT_MAX_STAGES; i++)
		r->stages[i] = (struct report_stage){ "a stage that takes long", UINT64_MAX };
	r->n_stages = REPORT_MAX_STAGES;
}

static void the_largest_report_is_json_that_fits(void **state)
{
	static char json[REPORT_JSON_MAX];
	static struct json parsed;
	static struct report r;
	unsigned int len;

	fill(&r);
	len = report_json(&r, REPORT_ALL, json);
	assert_int_equal(len, strlen(json));
	assert_true(json_parse(&parsed, json, len));
	assert_non_null(json_find(&parsed, parsed.tokens, "rounds", JSMN_ARRAY));
	len = report_json(&r, REPORT_PROGRESS, json);
	assert_true(json_parse(&parsed, json, len));
	assert_null(json_find(&parsed, parsed.tokens, "rounds", JSMN_ARRAY));
}

static void rounds_that_have_no_place_are_summed_up(void **state)
{
	static struct report r;
	unsigned int n = 0;

	for (unsigned int i = 0; i < 100; i++) {
		struct report_round round = { .n = 1, .pages = i, .throttle = i == 50 ? 40 : 0 };

		assert_int_equal(report_add_round(&r, &round)->pages, i);
	}
	assert_int_equal(r.n_rounds, REPORT_MAX_ROUNDS);
	for (unsigned int i = 0; i < r.n_rounds; i++) {
		const struct report_round *round = &r.rounds[i];

		/* The first half, the sum, the latest. */
		assert_int_equal(round->n, i == REPORT_MAX_ROUNDS / 2 ? 100 - REPORT_MAX_ROUNDS + 1 : 1);
		if (round->n == 1)
			assert_int_equal(round->pages, n);
		else
			assert_int_equal(round->pages, round->n * n + round->n * (round->n - 1) / 2);
		assert_int_equal(round->throttle, round->n == 1 ? 0 : 40);
		n += round->n;
	}
	assert_int_equal(n, 100);
}

static void a_stage_is_noted_when_it_is_first_reached(void **state)
{
	static const char *const names[] = { "a", "b", "a", "c" };
	static char json[REPORT_JSON_MAX];
	static struct report r = { .state = REPORT_RUNNING };

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		report_reach(&r, names[i], 10 + i);
		assert_string_equal(r.stage, names[i]);
	}
	report_json(&r, REPORT_ALL, json);
	assert_non_null(strstr(json, "\"stages\":{\"a\":10,\"b\":11,\"c\":13}"));
}

static void a_report_says_when_what_and_why(void **state)
{
	static char json[REPORT_JSON_MAX], text[256];
	static struct report r = { .state = REPORT_FAILED,
				   .stage = "memory",
				   .to = "ssh:b",
				   .reason = "no \"room\"\n",
				   .started = UINT64_C(1709210096789000000),
				   .stream_version = 1 };
	static const struct {
		const char *name, *value;
	} wanted[] = {
		{ "state", "failed" },
		{ "stage", "memory" },
		{ "to", "ssh:b" },
		{ "reason", "no \"room\"\n" },
		{ "started", "2024-02-29T12:34:56.789Z" },
		{ "ferryVersion", FERRY_VERSION },
	};

	report_json(&r, REPORT_ALL, json);
	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++) {
		assert_true(json_object_string(json, wanted[i].name, text, sizeof(text)));
		assert_string_equal(text, wanted[i].value);
	}
	assert_false(json_object_string(json, "ended", text, sizeof(text)));
	assert_false(json_object_string(json, "stoppedBecause", text, sizeof(text)));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_report_is_json_that_fits),
		cmocka_unit_test(rounds_that_have_no_place_are_summed_up),
		cmocka_unit_test(a_stage_is_noted_when_it_is_first_reached),
		cmocka_unit_test(a_report_says_when_what_and_why),
	};

	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
