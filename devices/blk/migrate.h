/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk's part in a migration. */
#ifndef FERRY_DEVICES_BLK_MIGRATE_H
#define FERRY_DEVICES_BLK_MIGRATE_H

#include "devices/blk/disk.h"

extern const struct device_ops blk_device_ops;

/* Before the disk's threads run. */
void blk_migrate_init(struct blk *blk);

#endif
