/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole of an entropy device, for rng.c, driver.c and migrate.c. */
#ifndef FERRY_DEVICES_RNG_SOURCE_H
#define FERRY_DEVICES_RNG_SOURCE_H

#include "devices/rng/queue.h"
#include "vmm/device.h"

/* What the driver is offered: the device has no features of its own (virtio 1.2, 5.4.3). */
#define RNG_FEATURES                                                                                         \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC) |                          \
	 VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX))

struct rng {
	struct virtio_pci virtio;
	struct device device;
	struct loop loop; /* the device's thread runs it, and never waits for anybody */
	uint64_t offered;
	struct rng_queue queue;
};

#endif
