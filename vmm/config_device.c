/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that a guest has where its operator asked for them. */
#include "vmm/config_device.h"

#include <errno.h>

#include "vmm/config_text.h"
#include "vmm/log.h"

static const char *const config_device_names[CONFIG_N_DEVICES] = {
	[CONFIG_DEVICE_RNG] = "rng",
	[CONFIG_DEVICE_RTC] = "rtc",
	[CONFIG_DEVICE_VMCLOCK] = "vmclock",
};

const char *config_device_name(enum config_device device)
{
	return config_device_names[device];
}

int config_device_parse(unsigned int *devices, const char *text, struct error *err)
{
	int device = config_parse_word(text, config_device_names, CONFIG_N_DEVICES);

	if (device < 0) {
		error_add(err, "--device \"%s\": rng, rtc or vmclock are possible", text);
		return device;
	}
	if (config_has_device(*devices, (enum config_device)device)) {
		error_add(err, "--device: %s is given twice; a guest has one", text);
		return -EINVAL;
	}
	*devices |= 1u << device;
	return 0;
}
