/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vDPA device of the host's kernel: the node /dev/vhost-vdpa-N (linux/vhost.h). */
#ifndef FERRY_DEVICES_VDPA_VHOST_H
#define FERRY_DEVICES_VDPA_VHOST_H

#include "devices/vdpa/vdpa.h"

/*
 * Opens the node @path, or has fd:N (vmm/descriptor.h) for it, resets the device behind it, and takes
 * ownership of it. A device that is not a NIC, in use, not accessible, or whose driver lacks what Ferry needs
 * is refused with -errno and what to do about it. Closed with ops->close().
 */
int __must_check vhost_open(struct vdpa **vdpa, const char *path, struct error *err);

#endif
