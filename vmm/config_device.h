/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that a guest has where its operator asked for them at its start. They go with the guest: a
 * destination builds those that the source has. Plain functions, any thread.
 */
#ifndef FERRY_VMM_CONFIG_DEVICE_H
#define FERRY_VMM_CONFIG_DEVICE_H

#include <stdbool.h>

#include "vmm/util.h"

struct error;

/* Bits of a set of them are 1 << these. */
enum config_device {
	CONFIG_DEVICE_RNG,     /* devices/rng */
	CONFIG_DEVICE_RTC,     /* vmm/x86/rtc */
	CONFIG_DEVICE_VMCLOCK, /* vmm/x86/vmclock */
	CONFIG_N_DEVICES,
};

static inline bool config_has_device(unsigned int devices, enum config_device device)
{
	return devices >> device & 1;
}

/* Returns the device's name: on the command line, and among the VM's devices (struct device). */
const char *config_device_name(enum config_device device);

/* Adds the device that @text names to the set. -EINVAL, with the reason, for any other name and for one that
 * is in the set. */
int __must_check config_device_parse(unsigned int *devices, const char *text, struct error *err);

#endif
