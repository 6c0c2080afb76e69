/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A complete virtio-net vDPA device in software: packets come from and go to a TAP interface or a hub of
 * sockets. The device has a thread of its own, on which everything happens; any other thread may call its
 * operations, one at a time. Bytes in its rings are as hostile as to any device.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_SOFT_H
#define FERRY_DEVICES_VDPA_SOFT_SOFT_H

#include "devices/vdpa/soft/faults.h"
#include "devices/vdpa/vdpa.h"
#include "vmm/config.h"

/*
 * Opens the device that @config describes, whose field soft is set. Returns 0, or -errno with what can be
 * done about it in @err. The caller closes it with ops->close().
 */
int __must_check soft_vdpa_open(struct vdpa **vdpa, const struct net_config *config, struct error *err);

/* For tests: has the device show @faults, which are copied, from now on. */
void soft_vdpa_misbehave(struct vdpa *vdpa, const struct soft_faults *faults);

/* For tests: has the link go down or come up; has the guest asked to announce itself. */
void soft_vdpa_set_link(struct vdpa *vdpa, bool up);
void soft_vdpa_announce(struct vdpa *vdpa);

#endif
