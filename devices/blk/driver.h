/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the disk's driver, from DRIVER_OK to its reset: what a vCPU has to do with the disk. */
#ifndef FERRY_DEVICES_BLK_DRIVER_H
#define FERRY_DEVICES_BLK_DRIVER_H

#include "devices/blk/disk.h"

extern const struct virtio_ops blk_virtio_ops;

/* Before the disk's threads run. */
void blk_driver_init(struct blk *blk);

/* Has the disk's thread serve the ring that blk_ring_set() has taken over; @started is set. On a vCPU, or on
 * the migration's thread for a guest that has arrived. */
void blk_driver_start(struct blk *blk);

/* The reset of struct device_ops. The device lets go of the ring when its storage has answered. */
int __must_check blk_driver_power_on(struct blk *blk, uint64_t until_ns);

#endif
