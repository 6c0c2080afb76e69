/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of an entropy device's driver, from DRIVER_OK to its reset. */
#ifndef FERRY_DEVICES_RNG_DRIVER_H
#define FERRY_DEVICES_RNG_DRIVER_H

#include "devices/rng/source.h"

extern const struct virtio_ops rng_virtio_ops;

/* Start, stop and drop the queue on the device's thread, and wait for that: some 100 microseconds at the
 * most. Any thread but the device's. */
void rng_driver_start(struct rng *rng);
void rng_driver_stop(struct rng *rng);
void rng_driver_drop(struct rng *rng);

#endif
