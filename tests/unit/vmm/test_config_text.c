/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, names, addresses and words of the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "vmm/config_text.h"

static void a_size_is_a_number_with_a_binary_unit(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t bytes;
	} t[] = {
		{ "0", 0, 0 },
		{ "1", 0, 1 },
		{ "4096", 0, 4096 },
		{ "3K", 0, 3072 },
		{ "512M", 0, MIB(512) },
		{ "5G", 0, GIB(5) },
		{ "16383T", 0, 16383ull << 40 },
		{ "16777215T", 0, 16777215ull << 40 },
		{ "16777216T", -EINVAL, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1k", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t bytes = 0;

		assert_int_equal(config_parse_size(t[i].text, &bytes), t[i].ret);
		assert_int_equal(bytes, t[i].bytes);
	}
}

static void a_vms_name_can_be_a_files_name(void **state)
{
	char name[66];

	memset(name, 'a', sizeof(name));
	name[65] = '\0';
	assert_false(config_name_valid(name));
	assert_true(config_name_valid(name + 1));
	assert_true(config_name_valid("Web-1_x.y"));
	assert_false(config_name_valid(""));
	assert_false(config_name_valid(".a"));
	assert_false(config_name_valid("a b"));
	assert_false(config_name_valid("\xc3\xa4"));
}

static void an_address_is_one_that_an_interface_can_have(void **state)
{
	static const struct {
		const char *text;
		int ret;
	} t[] = {
		{ "52:54:00:12:34:5f", 0 },
		{ "52:54:00:AB:cd:Ef", 0 },
		{ "53:54:00:00:00:01", -EINVAL },
		{ "00:00:00:00:00:00", -EINVAL },
		{ "52:54:00:12:34", -EINVAL },
		{ "52:54:00:12:34:56:", -EINVAL },
		{ "52-54-00-12-34-56", -EINVAL },
		{ "52:54:00:12:34:5g", -EINVAL },
		{ "", -EINVAL },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		uint8_t mac[MAC_LEN];

		assert_int_equal(config_parse_mac(t[i].text, mac), t[i].ret);
		if (i == 1)
			assert_memory_equal(mac, "\x52\x54\x00\xab\xcd\xef", MAC_LEN);
	}
}

static void a_word_is_found_whole(void **state)
{
	static const char *const words[] = { "on", "off" };

	assert_int_equal(config_parse_word("off", words, 2), 1);
	assert_int_equal(config_parse_word("on", words, 2), 0);
	assert_int_equal(config_parse_word("o", words, 2), -EINVAL);
	assert_int_equal(config_parse_word("offs", words, 2), -EINVAL);
	assert_int_equal(config_parse_word("", words, 2), -EINVAL);
}

static void an_interfaces_name_is_what_linux_takes(void **state)
{
	assert_true(config_ifname_valid("tap0") && config_ifname_valid("abcdefghijklmno"));
	assert_false(config_ifname_valid("") || config_ifname_valid("abcdefghijklmnop"));
	assert_false(config_ifname_valid(".") || config_ifname_valid("..") || config_ifname_valid("a/b"));
	assert_false(config_ifname_valid("a:b") || config_ifname_valid("a b") ||
		     config_ifname_valid("a\177"));
	assert_true(config_ifname_is_pattern("tap%d"));
	assert_false(config_ifname_is_pattern("tap") || config_ifname_is_pattern("tap%"));
	assert_false(config_ifname_is_pattern("tap%s") || config_ifname_is_pattern("t%dp%d"));
}

static void a_port_is_a_number_that_there_can_be(void **state)
{
	static const char *const well[] = { "1", "7000", "65535", "00022" };
	static const char *const bad[] = {
		"", "0", "65536", "99999", "123456", "-1", "+1", " 1", "1 ", "0x16"
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(well); i++)
		assert_true(config_port_valid(well[i]));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(config_port_valid(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_size_is_a_number_with_a_binary_unit),
		cmocka_unit_test(a_vms_name_can_be_a_files_name),
		cmocka_unit_test(an_address_is_one_that_an_interface_can_have),
		cmocka_unit_test(a_word_is_found_whole),
		cmocka_unit_test(an_interfaces_name_is_what_linux_takes),
		cmocka_unit_test(a_port_is_a_number_that_there_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
