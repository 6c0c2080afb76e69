/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of a packed ring (virtio 1.4, "Packed Virtqueues"): descriptors and what is used of them
 * share one ring. */
#ifndef FERRY_DEVICES_VIRTIO_VRING_PACKED_H
#define FERRY_DEVICES_VIRTIO_VRING_PACKED_H

#include "devices/virtio/vring_core.h"

extern const struct vring_format vring_packed;

#endif
