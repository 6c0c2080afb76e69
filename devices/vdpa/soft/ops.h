/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC in software as a vDPA device. */
#ifndef FERRY_DEVICES_VDPA_SOFT_OPS_H
#define FERRY_DEVICES_VDPA_SOFT_OPS_H

#include "devices/vdpa/soft/device.h"

static inline struct soft *soft_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct soft, vdpa);
}

/* Any thread but the device's, one at a time: each operation waits for the device's thread. */
extern const struct vdpa_ops soft_ops;

/* Releases a device whose thread does not run, opened as far as it is. */
void soft_free(struct soft *soft);

#endif
