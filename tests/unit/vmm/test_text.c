/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmm/text.c: what of a stranger's text is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "vmm/text.h"

static void what_a_terminal_obeys_becomes_question_marks(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{ "plain ~text", "plain ~text" },
		{ "\033[6n", "?[6n" },
		{ "\x9b"
		  "6n",
		  "?6n" },                /* CSI as one byte of C1. */
		{ "\302\2336n", "??6n" }, /* and as UTF-8 */
		{ "\302\205", "??" },     /* U+0085, a new line */
		{ "\302\200\302\237\302\240", "????\302\240" },
		{ "a\177b\rc\nd\te\bf\ag", "a?b?c?d?e?f?g" },
		{ "x\nferry: forged", "x?ferry: forged" },
		{ "gr\303\274n \342\202\254 \360\237\230\200", "gr\303\274n \342\202\254 \360\237\230\200" },
		{ "\300\233", "??" },              /* overlong ESC */
		{ "\340\202\233", "???" },         /* overlong U+009b */
		{ "\360\200\202\233", "????" },    /* again */
		{ "\355\240\200", "???" },         /* half of a surrogate pair */
		{ "\364\220\200\200", "????" },    /* above U+10ffff */
		{ "\377\376", "??" },              /* never in UTF-8 */
		{ "\303", "?" },                   /* cut */
		{ "\342\202", "??" },              /* cut */
		{ "\303\033[c", "??[c" },          /* cut by a command */
		{ "\342\200\250", "???" },         /* U+2028 */
		{ "\342\200\256evil", "???evil" }, /* U+202e, right to left */
		{ "\342\201\246\342\201\251", "??????" },
		{ "\342\200\223", "\342\200\223" }, /* a dash near them */
		{ "", "" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);
		/* As long as the text, so that a read behind it is found. */
		char *text = malloc(len);

		memcpy(text, cases[i].text, len);
		text_clean(text, len);
		assert_int_equal(len, strlen(cases[i].shown));
		assert_memory_equal(text, cases[i].shown, len);
		/* Text that has been cleaned is clean. */
		text_clean(text, len);
		assert_memory_equal(text, cases[i].shown, len);
		free(text);
	}
}

/* Each pair of bytes: nothing that is left is a control character, whichever way a terminal reads it. */
static void nothing_that_is_left_is_a_control_character(void **state)
{
	for (unsigned int i = 0; i < 65536; i++) {
		char text[2] = { (char)(i >> 8), (char)i };

		text_clean(text, 2);
		for (unsigned int at = 0; at < 2; at++) {
			uint8_t c = (uint8_t)text[at];
			bool inside = at == 1 && (uint8_t)text[0] >= 0xc2;

			assert_true(c >= 0x20 && c != 0x7f);
			assert_true(c < 0x80 || c >= 0xa0 || inside);
			assert_false((uint8_t)text[0] == 0xc2 && at == 1 && c < 0xa0);
		}
	}
}

static void a_nul_in_the_middle_hides_nothing(void **state)
{
	char text[] = "a\0\033b";

	text_clean(text, 4);
	assert_memory_equal(text, "a??b", 4);
}

static void a_time_of_day_is_written_as_rfc_3339_has_it(void **state)
{
	static const struct {
		uint64_t seconds, ms;
		const char *text;
	} cases[] = {
		{ 0, 0, "1970-01-01T00:00:00.000Z" },
		{ 951782399, 7, "2000-02-28T23:59:59.007Z" },
		{ 951782400, 999, "2000-02-29T00:00:00.999Z" },
		{ 4102444800, 120, "2100-01-01T00:00:00.120Z" },
		/* The last that 64 bits of nanoseconds have. */
		{ UINT64_MAX / 1000000000u, 709, "2554-07-21T23:34:33.709Z" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[TEXT_TIME_MAX];

		text_time(text, cases[i].seconds * 1000000000u + cases[i].ms * 1000000u);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_of_day_is_written_as_rfc_3339_has_it),
		cmocka_unit_test(what_a_terminal_obeys_becomes_question_marks),
		cmocka_unit_test(nothing_that_is_left_is_a_control_character),
		cmocka_unit_test(a_nul_in_the_middle_hides_nothing),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
