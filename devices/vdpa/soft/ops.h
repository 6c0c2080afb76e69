/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC in software as a vDPA device: the operations of vdpa.h. */
#ifndef FERRY_DEVICES_VDPA_SOFT_OPS_H
#define FERRY_DEVICES_VDPA_SOFT_OPS_H

#include "devices/vdpa/soft/device.h"

static inline struct soft *soft_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct soft, vdpa);
}

/* Any thread but the device's may call, one at a time: each operation is done by the device's thread, and
 * waits for it. */
extern const struct vdpa_ops soft_ops;

/* Releases a device whose thread does not run, also one that was opened only in part. */
void soft_free(struct soft *soft);

#endif
