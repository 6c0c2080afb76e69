/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members with names: whatever is told, what comes out is an object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/facts.h"

static void tell(struct facts *f)
{
	facts_text(f, "text", "a \"b\"");
	facts_number(f, "number", UINT64_MAX);
	facts_flag(f, "flag", true);
	facts_list(f, "none");
	facts_list_end(f);
	facts_list(f, "list");
	facts_text(f, NULL, "x");
	facts_format(f, NULL, "y%u", 1);
	facts_list_end(f);
	facts_list(f, "objects");
	facts_object(f, NULL);
	facts_flag(f, "flag", false);
	facts_list(f, "none");
	facts_list_end(f);
	facts_object_end(f);
	facts_object(f, NULL);
	facts_object_end(f);
	facts_list_end(f);
	facts_object(f, "object");
	facts_object_end(f);
}

static void what_is_told_is_an_object(void **state)
{
	char text[1024];
	struct facts f;

	facts_begin(&f, text, sizeof(text));
	tell(&f);
	facts_end(&f);
	assert_false(f.cut);
	assert_string_equal(text, "{\"text\":\"a \\\"b\\\"\",\"number\":18446744073709551615,\"flag\":true,"
				  "\"list\":[\"x\",\"y1\"],\"objects\":[{\"flag\":false},{}],\"object\":{}}");
}

static void what_has_no_room_is_left_out_and_said(void **state)
{
	struct json *json = malloc(sizeof(*json));
	unsigned int n_cut = 0;

	for (size_t size = 256; size < 512; size++) {
		/* Exactly that size, so that ASan sees a write beyond it. */
		char *text = malloc(size);
		struct facts f;

		facts_begin(&f, text, size);
		for (unsigned int i = 0; i < 3; i++)
			tell(&f);
		facts_end(&f);
		assert_true(json_parse(json, text, strlen(text)));
		assert_int_equal(json_true(json, "cut"), f.cut);
		n_cut += f.cut;
		free(text);
	}
	assert_true(n_cut > 0);
	free(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_told_is_an_object),
		cmocka_unit_test(what_has_no_room_is_left_out_and_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
