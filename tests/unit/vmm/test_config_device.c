/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of devices that a guest can have beside its NICs and disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "vmm/config_device.h"
#include "vmm/log.h"

static void each_device_is_known_by_its_name(void **state)
{
	struct error err = { 0 };
	unsigned int devices = 0;

	for (unsigned int i = 0; i < CONFIG_N_DEVICES; i++) {
		enum config_device device = (enum config_device)i;

		assert_false(config_has_device(devices, device));
		assert_int_equal(config_device_parse(&devices, config_device_name(device), &err), 0);
		assert_true(config_has_device(devices, device));
	}
	assert_int_equal(devices, (1u << CONFIG_N_DEVICES) - 1);
}

static void a_device_is_given_once(void **state)
{
	struct error err = { 0 };
	unsigned int devices = 0;

	assert_int_equal(config_device_parse(&devices, "rng", &err), 0);
	assert_int_equal(config_device_parse(&devices, "rng", &err), -EINVAL);
	assert_non_null(strstr(err.text, "rng is given twice"));
}

static void what_is_no_device_is_refused_with_what_is(void **state)
{
	static const char *const wrong[] = { "", "rn", "rngs", "RNG", "rng,rng" };

	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error err = { 0 };
		unsigned int devices = 0;

		assert_int_equal(config_device_parse(&devices, wrong[i], &err), -EINVAL);
		assert_int_equal(devices, 0);
		/* Each that there is is named. */
		for (unsigned int d = 0; d < CONFIG_N_DEVICES; d++)
			assert_non_null(strstr(err.text, config_device_name((enum config_device)d)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_device_is_known_by_its_name),
		cmocka_unit_test(a_device_is_given_once),
		cmocka_unit_test(what_is_no_device_is_refused_with_what_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
