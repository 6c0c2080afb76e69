/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration's report as a picture: whatever the report says, it is well-formed XML without scripts. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/control/chart.h"
#include "vmm/text.h"

#define ROUND                                                                                                \
	"{\"rounds\":1,\"startNs\":1000000,\"ns\":500000000,\"bytes\":104857600,\"pages\":25600,"            \
	"\"zeroPages\":7,"                                                                                   \
	"\"bytesPerSecond\":209715200,\"dirtyBytes\":4096,\"dirtyBytesPerSecond\":8192,\"throttlePercent\":" \
	"20}"

/* What can follow a "<" in XML that has elements and attributes alone. */
struct element {
	char name[16];
	bool closes, empty;
};

/* Reads the tag at *@at, which is behind its "<", and moves behind its ">". */
static void read_tag(const char **at, struct element *e)
{
	size_t n = 0;

	*e = (struct element){ .closes = **at == '/' };
	*at += e->closes;
	while (islower((unsigned char)**at) && n < sizeof(e->name) - 1)
		e->name[n++] = *(*at)++;
	assert_true(n > 0);
	while (**at == ' ') {
		/* Name, "=", and a quoted value without what would end it early. */
		*at += 1 +
		       strspn(*at + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:");
		assert_true((*at)[0] == '=' && (*at)[1] == '"');
		*at += 2;
		*at += strcspn(*at, "\"<&");
		assert_int_equal(**at, '"');
		++*at;
	}
	e->empty = **at == '/';
	*at += e->empty;
	assert_int_equal(**at, '>');
	++*at;
}

static void assert_well_formed(const char *xml)
{
	static const char *const entities[] = { "&amp;", "&lt;", "&gt;" };
	static const char head[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
	char open[8][16];
	unsigned int n_open = 0;
	const char *at = xml + strlen(head), *end = xml + strlen(xml);

	assert_memory_equal(xml, head, strlen(head));
	while (at < end) {
		struct element e;
		bool known = false;

		if (*at == '<') {
			at++;
			read_tag(&at, &e);
			assert_string_not_equal(e.name, "script");
			if (e.closes)
				assert_string_equal(open[--n_open], e.name);
			else if (!e.empty)
				strcpy(open[n_open++], e.name);
			assert_in_range(n_open, 0, 7);
			continue;
		}
		for (unsigned int i = 0; *at == '&' && i < ARRAY_SIZE(entities); i++)
			known |= strncmp(at, entities[i], strlen(entities[i])) == 0;
		assert_true(*at != '&' || known);
		/* Text is inside of the picture; lines end between elements only. */
		assert_true(n_open > 0 || *at == '\n');
		assert_true(*at == '\n' || text_plain_len(at, end) > 0);
		at += *at == '\n' ? 1 : text_plain_len(at, end);
	}
	assert_int_equal(n_open, 0);
}

/* Draws @report. Returns what was drawn, to be freed; NULL where it was refused. */
static char *draw(const char *report)
{
	struct error err = { 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int ret = chart_draw(out, report, strlen(report), &err);

	fclose(out);
	if (ret == 0)
		return text;
	assert_int_equal(ret, -EINVAL);
	assert_int_equal(size, 0);
	assert_non_null(strstr(err.text, "no report of a migration"));
	free(text);
	return NULL;
}

static void a_report_is_drawn_with_all_that_is_in_it(void **state)
{
	static const char *const wanted[] = { "to ssh:b: moved, downtime 12.5 ms",
					      "last of the memory",
					      "200 MiB/s",
					      "when it was: what is left fits.",
					      "hello after 0 µs, track after 2.5 ms",
					      "stroke-dasharray",
					      "25600" };
	char *svg =
		draw("{\"state\":\"moved\",\"to\":\"ssh:b\",\"elapsedNs\":2000000000,\"downtimeNs\":12500000,"
		     "\"stages\":{\"hello\":0,\"track\":2500000},\"stopNs\":1900000000,\"lastRamNs\":"
		     "10000000,\"stateNs\":2500000,"
		     "\"stoppedBecause\":\"what is left fits\",\"rounds\":[" ROUND "," ROUND "]}");

	assert_non_null(svg);
	assert_well_formed(svg);
	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!strstr(svg, wanted[i]))
			fail_msg("no \"%s\"", wanted[i]);
	}
	free(svg);
}

static void strange_words_and_numbers_stay_inside(void **state)
{
	static const char *const reports[] = {
		"{\"state\":\"\"}",
		"{\"state\":\"x\"}",
		"{\"state\":\"moved\",\"downtimeNs\":1,\"lastRamNs\":18446744073709551615,\"stateNs\":-5,"
		"\"elapsedNs\":0,\"stopNs\":18446744073709551615}",
		"{\"state\":\"failed\",\"to\":\"</text><script>alert(1)</"
		"script>&#x0;\",\"stage\":\"\\\"'\\u001b[2J\","
		"\"reason\":\"a\\u0000b\"}",
		"{\"state\":\"failed\",\"reason\":\"\\uffff\\ufffe\\u001b\\u202e<&>]]> \\ud83d\\ude00\"}",
		"{\"state\":\"moved\",\"rounds\":[1,\"x\",[],{},{\"ns\":\"x\"},{\"ns\":18446744073709551615,"
		"\"startNs\":18446744073709551615,\"bytesPerSecond\":18446744073709551615}]}",
		"{\"state\":\"moved\",\"rounds\":{},\"stages\":{\"\\u001b<&\":\"x\",\"a\":{\"b\":1},\"c\":-1}"
		"}",
		"{\"state\":\"moved\",\"stages\":[1]}",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(reports); i++) {
		char *svg = draw(reports[i]);

		if (svg)
			assert_well_formed(svg);
		free(svg);
	}
}

static void a_long_reason_is_wrapped(void **state)
{
	char report[1200], *svg, *last;
	unsigned int n = 0;

	memset(report, 0, sizeof(report));
	strcpy(report, "{\"state\":\"failed\",\"reason\":\"");
	memset(report + strlen(report), 'x', 400);
	for (unsigned int i = 0; i < 60; i++)
		strcat(report, " word");
	strcat(report, "\"}");
	svg = draw(report);
	assert_non_null(svg);
	assert_well_formed(svg);
	for (last = svg; (last = strstr(last, "#cc3311")); last++)
		n++;
	assert_in_range(n, 6, 8);
	free(svg);
}

static void what_is_no_report_is_refused(void **state)
{
	static const char *const reports[] = { "", "[]", "{", "{}", "{\"state\":1}", "{\"rounds\":[]}" };
	static char large[CHART_INPUT_MAX + 2];

	for (unsigned int i = 0; i < ARRAY_SIZE(reports); i++)
		assert_null(draw(reports[i]));
	memset(large, ' ', sizeof(large) - 1);
	memcpy(large, "{\"state\":\"moved\"}", 17);
	assert_null(draw(large));
	large[CHART_INPUT_MAX] = '\0';
	free(draw(large));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_drawn_with_all_that_is_in_it),
		cmocka_unit_test(strange_words_and_numbers_stay_inside),
		cmocka_unit_test(a_long_reason_is_wrapped),
		cmocka_unit_test(what_is_no_report_is_refused),
	};

	return cmocka_run_group_tests_name("chart", tests, NULL, NULL);
}
