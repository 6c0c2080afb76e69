/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON as the control socket has it: what is found in an object, how text is quoted, and any damage. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control/json.h"
#include "vmm/util.h"

static void members_of_an_object_are_found(void **state)
{
	static const char object[] =
		"{\"a\":{\"s\":\"inner\",\"n\":5},\"s\":\"outer\",\"n\":12, \"x\":-1,\"f\":1.5,\"e\":-0.5E+3,"
		"\"big\":18446744073709551616,\"t\":true,\"z\":\"\"}";
	char buf[8];
	uint64_t v;

	assert_true(json_object_string(object, "s", buf, sizeof(buf)));
	assert_string_equal(buf, "outer");
	assert_true(json_object_string(object, "s", buf, 6));
	assert_false(json_object_string(object, "s", buf, 5));
	assert_true(json_object_string(object, "z", buf, 1));
	assert_false(json_object_string(object, "inner", buf, sizeof(buf)));
	assert_false(json_object_string(object, "outer", buf, sizeof(buf)));
	assert_false(json_object_string(object, "n", buf, sizeof(buf)));
	assert_false(json_object_string(object, "", buf, sizeof(buf)));
	assert_true(json_object_number(object, "n", &v));
	assert_int_equal(v, 12);
	assert_false(json_object_number(object, "s", &v));
	assert_false(json_object_number(object, "x", &v));
	assert_false(json_object_number(object, "f", &v));
	assert_false(json_object_number(object, "big", &v));
	assert_false(json_object_number(object, "t", &v));
	assert_false(json_object_number("{\"n\":12", "n", &v));
}

static void quoted_text_reads_back_as_it_was(void **state)
{
	static const struct {
		const char *text, *quoted;
	} cases[] = {
		{ "", "\"\"" },
		{ "a\"b\\c/", "\"a\\\"b\\\\c/\"" },
		{ "\n\033\177", "\"\\u000a\\u001b\\u007f\"" },
		{ "\303\251\360\237\230\200", "\"\303\251\360\237\230\200\"" },
		{ "a\377\303", "\"a\\ufffd\\ufffd\"" },
		{ "\300\200\355\240\200", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"" },
	};
	char buf[64], object[80], back[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		json_quote(cases[i].text, buf, sizeof(buf));
		assert_string_equal(buf, cases[i].quoted);
		/* However it is cut, it is a string. */
		for (size_t size = 3; size < sizeof(buf); size++) {
			json_quote(cases[i].text, buf, size);
			assert_true(strlen(buf) < size);
			snprintf(object, sizeof(object), "{\"s\":%s}", buf);
			assert_true(json_object_string(object, "s", back, sizeof(back)));
		}
	}
}

/* Damaged JSON in memory of its own size: ASan is the judge. */
static void what_is_taken_for_json_is_json(void **state)
{
	static const char *const good[] = {
		"{\"method\":\"alt.ferry.Echo\",\"parameters\":{\"text\":\"\\ud83d\\ude00\",\"n\":[1,2,{"
		"\"a\":null}]},\"s\":\"x\"}",
		"{\"s\":\"\303\251\\n\",\"n\":12,\"a\":[[[]],{},\"\"],\"t\":true}",
	};
	static const char spice[] = "{}[]:,\"\\u0d8e \n\t-\303\251\360\237";
	unsigned int seed = 1, n_good = 0;

	for (unsigned int run = 0; run < 60000; run++) {
		char *text = strdup(good[run % 2]), out[32];
		size_t len = strlen(text);
		uint64_t v;

		for (int n = rand_r(&seed) % 5; n > 0; n--)
			text[(size_t)rand_r(&seed) % len] =
				spice[(size_t)rand_r(&seed) % (sizeof(spice) - 1)];
		if (rand_r(&seed) % 4 == 0)
			text[(size_t)rand_r(&seed) % len] = '\0';
		n_good += json_object_string(text, "s", out, sizeof(out));
		if (json_object_number(text, "n", &v))
			n_good++;
		free(text);
	}
	assert_true(n_good > 1000);
}

static void an_arrays_strings_are_read_one_by_one(void **state)
{
	static const char object[] =
		"{\"a\":[\"one\",\"t\\\"wo\",[\"not\"],3,\"four\"],\"b\":[],\"c\":\"x\"}";
	char buf[8];

	assert_int_equal(json_object_item(object, "a", 0, buf, sizeof(buf)), 1);
	assert_string_equal(buf, "one");
	assert_int_equal(json_object_item(object, "a", 1, buf, sizeof(buf)), 1);
	assert_string_equal(buf, "t\"wo");
	assert_int_equal(json_object_item(object, "a", 2, buf, sizeof(buf)), -EINVAL);
	assert_int_equal(json_object_item(object, "a", 3, buf, sizeof(buf)), -EINVAL);
	assert_int_equal(json_object_item(object, "a", 4, buf, sizeof(buf)), 1);
	assert_int_equal(json_object_item(object, "a", 4, buf, 4), -EINVAL);
	assert_int_equal(json_object_item(object, "a", 5, buf, sizeof(buf)), 0);
	assert_int_equal(json_object_item(object, "b", 0, buf, sizeof(buf)), 0);
	assert_int_equal(json_object_item(object, "c", 0, buf, sizeof(buf)), -EINVAL);
	assert_int_equal(json_object_item(object, "d", 0, buf, sizeof(buf)), -EINVAL);
	assert_int_equal(json_object_item("[", "a", 0, buf, sizeof(buf)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arrays_strings_are_read_one_by_one),
		cmocka_unit_test(members_of_an_object_are_found),
		cmocka_unit_test(quoted_text_reads_back_as_it_was),
		cmocka_unit_test(what_is_taken_for_json_is_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
