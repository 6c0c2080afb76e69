/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Patterns for names of VMs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/control/names.h"

static void a_pattern_is_as_shells_have_them(void **state)
{
	static const struct {
		const char *pattern, *name;
		bool match;
	} cases[] = {
		{ "web1", "web1", true },
		{ "web1", "web12", false },
		{ "web12", "web1", false },
		{ "*", "web1", true },
		{ "**", "w", true },
		{ "web*", "web", true },
		{ "*b*", "web1", true },
		{ "*1", "web11", true },
		{ "*12", "web1", false },
		{ "w?b1", "web1", true },
		{ "web?", "web", false },
		{ "*a*b*c", "xaxbxbxc", true },
		{ "*a*b*c", "xbxaxc", false },
		{ "web[123]", "web2", true },
		{ "web[13]", "web2", false },
		{ "web[1-3]", "web2", true },
		{ "web[!1-3]", "web2", false },
		{ "web[^1]", "web2", true },
		{ "[]a]b", "ab", true },
		{ "[a-]b", "-b", true },
		{ "web[", "web1", false },
		{ "web[1", "web1", false },
		{ "web[1-", "web1", false },
		{ "[!", "a", false },
		{ "[]", "a", false },
		{ "*[a-c]*[x-z]", "1b2y", true },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		if (names_match(cases[i].pattern, cases[i].name) != cases[i].match)
			fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].name);
	}
}

static void a_name_is_no_pattern(void **state)
{
	assert_false(names_is_pattern("web-1.a_b"));
	assert_true(names_is_pattern("web*"));
	assert_true(names_is_pattern("?"));
	assert_true(names_is_pattern("[ab]"));
	assert_false(names_is_pattern("../*"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_is_as_shells_have_them),
		cmocka_unit_test(a_name_is_no_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
