/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An entropy device's part in a migration: its registers and its ring. */
#ifndef FERRY_DEVICES_RNG_MIGRATE_H
#define FERRY_DEVICES_RNG_MIGRATE_H

#include "devices/rng/source.h"

extern const struct device_ops rng_device_ops;

#endif
