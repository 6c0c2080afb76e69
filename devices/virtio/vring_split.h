/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of a split ring (virtio 1.4, "Split Virtqueues"): the driver and the device each have a
 * ring of indexes. */
#ifndef FERRY_DEVICES_VIRTIO_VRING_SPLIT_H
#define FERRY_DEVICES_VIRTIO_VRING_SPLIT_H

#include "devices/virtio/vring_core.h"

extern const struct vring_format vring_split;

#endif
