/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's part in a migration: the operations of vmm/device.h. */
#ifndef FERRY_DEVICES_NET_MIGRATE_H
#define FERRY_DEVICES_NET_MIGRATE_H

#include "vmm/device.h"

extern const struct device_ops net_device_ops;

#endif
