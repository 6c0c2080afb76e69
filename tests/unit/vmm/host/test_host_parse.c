/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A report as JSON: there and back, and what a stranger could send in its place. */
#define _GNU_SOURCE
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/control/json.h"
#include "vmm/host/host_parse.h"
#include "vmm/host/host_print.h"

static char *print(const struct host_report *r)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	host_print_json(r, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* The largest report that there can be. */
static void fill(struct host_report *r)
{
	strcpy(r->facts.version, "0.2.0");
	r->facts.stream_oldest = 1;
	r->facts.stream_newest = 2;
	r->facts.clock_us = 1800000000123456;
	r->facts.mem_total = GIB(64);
	r->facts.mem_available = GIB(32);
	r->facts.has_cpu = true;
	r->facts.cpu = (struct cpuid_offer){ .vendor = "AuthenticAMD", .address_bits = 48, .words = { 1 } };
	r->facts.n_nics = HOST_MAX_NICS;
	for (unsigned int i = 0; i < HOST_MAX_NICS; i++)
		r->facts.nics[i] = (struct host_nic){ .node = "/dev/vhost-vdpa-0",
						      .driver = "vp-vdpa",
						      .mac = { 0x52, 0x54, 0, 1, 2, (uint8_t)i },
						      .mtu = 1500,
						      .features = UINT64_MAX,
						      .offered = 0x123456789abcdef0,
						      .last_address = UINT64_MAX,
						      .pairs = 64,
						      .ring = 32768,
						      .groups = 2,
						      .spaces = 2,
						      .ctrl = true,
						      .can_suspend = true,
						      .passthrough = i % 2 };
	while (r->n_checks < HOST_MAX_CHECKS)
		host_report_add(r, (enum host_state)(r->n_checks % HOST_STATES), "a name", "what to do",
				"found \"%u\" \\ of it", r->n_checks);
}

static void the_largest_report_comes_back_as_it_was(void **state)
{
	struct host_rig *rig = *state;
	struct host_report *back = malloc(sizeof(*back));
	struct error err = { 0 };
	char *text, *again;

	fill(&rig->report);
	text = print(&rig->report);
	assert_true(strlen(text) < HOST_TEXT_MAX);
	if (host_parse(back, text, strlen(text), "hostB", &err) < 0)
		fail_msg("%s", err.text);
	again = print(back);
	assert_string_equal(text, again);
	assert_int_equal(back->n_fails, rig->report.n_fails);
	free(again);
	free(text);
	free(back);
}

static void every_truncation_is_refused(void **state)
{
	struct host_rig *rig = *state;
	struct host_report *back = malloc(sizeof(*back));
	char *text;

	host_report_add(&rig->report, HOST_OK, "kvm", "", "%s", "there");
	text = print(&rig->report);
	for (size_t len = 0; len + 1 < strlen(text); len++) {
		struct error err = { 0 };

		assert_int_equal(host_parse(back, text, len, "hostB", &err), -EINVAL);
		assert_non_null(strstr(err.text, "hostB"));
	}
	free(text);
	free(back);
}

/* Replaces the first @from by @to. */
static char *replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out = NULL;

	if (!at)
		fail_msg("no %s", from);
	else
		assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *from, *to, *why;
	} cases[] = {
		{ "{\"form\":1", "{\"form\":2", "another form" },
		{ "{\"form\":1", "{\"form\":\"1\"", "no report" },
		{ "{\"form\":1,", "{", "no report" },
		{ "{\"form\":1,", "[\"form\",1,", "no report" },
		{ "\"version\":\"0.2.0\"", "\"version\":\"0123456789012345678901234567890123456789\"",
		  "makes no sense" },
		{ "\"checks\":[", "\"checks\":[1,", "makes no sense" },
		{ "\"state\":\"ok\"", "\"state\":\"fine\"", "makes no sense" },
		{ "\"state\":\"ok\"", "\"state\":true", "makes no sense" },
		{ "\"advice\":", "\"advise\":", "makes no sense" },
		{ "\"streamNewest\":2", "\"streamNewest\":65537", "makes no sense" },
		{ "\"streamNewest\":2", "\"streamNewest\":-2", "makes no sense" },
		{ "\"clockUs\":1800000000123456", "\"clockUs\":18446744073709551616", "makes no sense" },
		{ "\"nics\":[", "\"nics\":[[],", "makes no sense" },
		{ "\"nics\":[", "\"nic\":[", "makes no sense" },
		{ "\"queuePairs\":64", "\"queuePairs\":4294967297", "makes no sense" },
		{ "\"features\":\"0xffffffffffffffff\"", "\"features\":\"0x1ffffffffffffffff\"",
		  "makes no sense" },
		{ "\"features\":\"0xffffffffffffffff\"", "\"features\":\"0x\"", "makes no sense" },
		{ "\"features\":\"0xffffffffffffffff\"", "\"features\":\"-1\"", "makes no sense" },
		{ "\"canSuspend\":true", "\"canSuspend\":null", "makes no sense" },
		{ "\"mode\":\"shadow\"", "\"mode\":\"\"", "makes no sense" },
	};
	struct host_rig *rig = *state;
	struct host_report *back = malloc(sizeof(*back));
	char *text;

	fill(&rig->report);
	text = print(&rig->report);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char *spoiled = replaced(text, cases[i].from, cases[i].to);
		struct error err = { 0 };

		if (host_parse(back, spoiled, strlen(spoiled), "hostB", &err) != -EINVAL ||
		    !strstr(err.text, cases[i].why))
			fail_msg("%s: %s", cases[i].to, err.text);
		free(spoiled);
	}
	free(text);
	free(back);
}

static void more_than_there_can_be_is_bounded(void **state)
{
	static const char check[] = "{\"name\":\"a\",\"state\":\"fail\",\"found\":\"\",\"advice\":\"\"},";
	struct host_report *back = malloc(sizeof(*back));
	struct host_rig *rig = *state;
	char *many = calloc(1, sizeof(check) * 110), *text, *longer;
	struct error err = { 0 };

	strcpy(many, "\"checks\":[");
	for (unsigned int i = 0; i < 100; i++)
		strcat(many, check);
	host_report_add(&rig->report, HOST_OK, "last", "", "%s", "");
	text = print(&rig->report);
	longer = replaced(text, "\"checks\":[", many);
	assert_int_equal(host_parse(back, longer, strlen(longer), "hostB", &err), 0);
	assert_int_equal(back->n_checks, HOST_MAX_CHECKS);
	assert_int_equal(back->n_fails, 100);
	free(longer);
	free(text);
	free(many);
	free(back);
}

static void a_strangers_words_are_cleaned(void **state)
{
	struct host_report *back = malloc(sizeof(*back));
	struct host_rig *rig = *state;
	struct error err = { 0 };
	char *text, *evil;

	host_report_add(&rig->report, HOST_OK, "kvm", "", "%s", "there");
	text = print(&rig->report);
	evil = replaced(text, "\"found\":\"there\"", "\"found\":\"a\\u001b[2J\\nferry: b\"");
	assert_int_equal(host_parse(back, evil, strlen(evil), "hostB", &err), 0);
	assert_string_equal(back->checks[0].found, "a?[2J?ferry: b");
	free(evil);
	free(text);
	free(back);
}

static void a_cpu_of_words_that_are_not_known_is_no_error(void **state)
{
	struct host_report *back = malloc(sizeof(*back));
	struct host_rig *rig = *state;
	struct error err = { 0 };
	char *text, *newer;

	fill(&rig->report);
	text = print(&rig->report);
	newer = replaced(text, "\"cpu\":\"", "\"cpu\":\"features 0x99.0 eax later\\n");
	assert_int_equal(host_parse(back, newer, strlen(newer), "hostB", &err), 0);
	assert_false(back->facts.has_cpu);
	free(newer);
	free(text);
	free(back);
}

static void text_has_a_line_for_each_check_and_one_for_advice(void **state)
{
	struct host_rig *rig = *state;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	host_report_add(&rig->report, HOST_OK, "kvm", "", "%s", "there");
	host_report_add(&rig->report, HOST_FAIL, "memory", "buy some", "%s", "none");
	host_print_text(&rig->report, out);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, "ok    kvm: there\nfail  memory: none\n      -> buy some\n");
	free(text);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_largest_report_comes_back_as_it_was),
		TEST(every_truncation_is_refused),
		TEST(what_makes_no_sense_is_refused),
		TEST(more_than_there_can_be_is_bounded),
		TEST(a_strangers_words_are_cleaned),
		TEST(a_cpu_of_words_that_are_not_known_is_no_error),
		TEST(text_has_a_line_for_each_check_and_one_for_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
