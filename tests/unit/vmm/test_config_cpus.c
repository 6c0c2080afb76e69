/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of --cpus: how many, and where each of them runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "vmm/config_cpus.h"
#include "vmm/log.h"

static int parse(struct cpus_config *config, const char *value, struct error *err)
{
	char text[512];

	*err = (struct error){ 0 };
	snprintf(text, sizeof(text), "%s", value);
	return config_cpus_parse(config, text, err);
}

static void a_number_alone_leaves_the_choice_to_the_kernel(void **state)
{
	struct cpus_config config;
	struct error err;

	assert_int_equal(parse(&config, "1", &err), 0);
	assert_int_equal(config.n, 1);
	assert_false(config.pinned);
	assert_int_equal(parse(&config, "64", &err), 0);
	assert_int_equal(config.n, 64);
	assert_false(config.pinned);
}

static void each_vcpu_has_the_hosts_cpu_of_its_place_in_the_list(void **state)
{
	static const struct {
		const char *text;
		unsigned int n;
		uint16_t pins[6];
	} cases[] = {
		{ "1,pin=0", 1, { 0 } },
		{ "1,pin=1023", 1, { 1023 } },
		{ "4,pin=2-5", 4, { 2, 3, 4, 5 } },
		{ "3,pin=7+3+5", 3, { 7, 3, 5 } },
		{ "6,pin=8-9+0+4-4+2-3", 6, { 8, 9, 0, 4, 2, 3 } },
		/* Two on one are slow, and what was asked for. */
		{ "2,pin=1+1", 2, { 1, 1 } },
	};
	struct cpus_config config;
	struct error err;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(&config, cases[i].text, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(config.n, cases[i].n);
		assert_true(config.pinned);
		for (unsigned int j = 0; j < config.n; j++)
			assert_int_equal(config.pins[j], cases[i].pins[j]);
	}
	assert_int_equal(parse(&config, "64,pin=960-1023", &err), 0);
	assert_int_equal(config.pins[63], 1023);
}

static void what_is_wrong_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "0", "1 to 64" },
		{ "65", "1 to 64" },
		{ "", "1 to 64" },
		{ "2,", "pin=CPUS" },
		{ "2,pins=0-1", "pin=CPUS" },
		{ "2,pin=", "such as pin=2-5" },
		{ "2,pin=0,1", "such as pin=2-5" },
		{ "2,pin=0+", "such as pin=2-5" },
		{ "2,pin=+1", "such as pin=2-5" },
		{ "2,pin=1-0", "such as pin=2-5" },
		{ "2,pin=0-", "such as pin=2-5" },
		{ "2,pin=0--1", "such as pin=2-5" },
		{ "2,pin=a", "such as pin=2-5" },
		{ "1,pin=1024", "such as pin=2-5" },
		{ "1,pin=18446744073709551616", "such as pin=2-5" },
		{ "64,pin=0-64", "such as pin=2-5" },
		{ "64,pin=0-1023", "such as pin=2-5" },
		{ "64,pin=0-62+0-62", "such as pin=2-5" },
		{ "2,pin=0", "names 1 CPUs of the host, and there are 2 vCPUs" },
		{ "2,pin=0-2", "names 3 CPUs of the host, and there are 2 vCPUs" },
	};
	struct cpus_config config;
	struct error err;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(&config, cases[i].text, &err), -EINVAL);
		if (!strstr(err.text, cases[i].why))
			fail_msg("%s: \"%s\" is not in: %s", cases[i].text, cases[i].why, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_alone_leaves_the_choice_to_the_kernel),
		cmocka_unit_test(each_vcpu_has_the_hosts_cpu_of_its_place_in_the_list),
		cmocka_unit_test(what_is_wrong_is_refused_with_what_would_be_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
