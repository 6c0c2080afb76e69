/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --serial: where the line goes, and what a refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "vmm/config_serial.h"
#include "vmm/log.h"

static void each_kind_of_end_is_known(void **state)
{
	static const struct {
		const char *text;
		enum serial_kind kind;
		const char *path;
		uint64_t max;
	} cases[] = {
		{ "stdio", SERIAL_STDIO, NULL, 0 },
		{ "none", SERIAL_NONE, NULL, 0 },
		{ "pty", SERIAL_PTY, NULL, 0 },
		{ "unix:/run/s", SERIAL_UNIX, "/run/s", 0 },
		{ "unix:a,b", SERIAL_UNIX, "a,b", 0 },
		{ "file:/var/log/a", SERIAL_FILE, "/var/log/a", MIB(16) },
		{ "file:a,max=64K", SERIAL_FILE, "a", KIB(64) },
		{ "file:a,max=1T", SERIAL_FILE, "a", GIB(1024) },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct serial_config config;
		struct error err = { 0 };
		char text[64];

		snprintf(text, sizeof(text), "%s", cases[i].text);
		assert_int_equal(config_serial_parse(&config, text, &err), 0);
		assert_int_equal(config.kind, cases[i].kind);
		assert_int_equal(config.max, cases[i].max);
		if (cases[i].path)
			assert_string_equal(config.path, cases[i].path);
		else
			assert_null(config.path);
	}
}

static void what_is_wrong_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "stdio, unix:PATH, file:PATH[,max=SIZE], pty or none" },
		{ "ptys", "pty or none" },
		{ "unix:", "unix:PATH" },
		{ "file:", "file:PATH" },
		{ "file:,max=1M", "file:PATH" },
		{ "file:a,", "max=SIZE" },
		{ "file:a,b", "\"b\" is not known" },
		{ "file:a,max=", "64K to 1024G" },
		{ "file:a,max=65535", "64K to 1024G" },
		{ "file:a,max=1025G", "64K to 1024G" },
		{ "file:a,max=1M,max=2M", "64K to 1024G" },
		{ "file:a,max=1M ", "64K to 1024G" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct serial_config config;
		struct error err = { 0 };
		char text[64];

		snprintf(text, sizeof(text), "%s", cases[i].text);
		assert_int_equal(config_serial_parse(&config, text, &err), -EINVAL);
		if (!strstr(err.text, cases[i].why))
			fail_msg("\"%s\" is not in: %s", cases[i].why, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_end_is_known),
		cmocka_unit_test(what_is_wrong_is_refused_with_what_would_be_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
