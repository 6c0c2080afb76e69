/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A complete virtio-net vDPA device in software: packets come from and go to a TAP interface or a hub of
 * sockets. It has a thread of its own, on which everything happens; its operations may be called from any
 * other thread, one at a time. What comes through its rings is as hostile as to any device.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_SOFT_H
#define FERRY_DEVICES_VDPA_SOFT_SOFT_H

#include "devices/vdpa/soft/faults.h"
#include "devices/vdpa/vdpa.h"
#include "vmm/config.h"

/*
 * Opens what @config names (its field soft is set). Errors say what can be done. Closed with ops->close().
 */
int __must_check soft_vdpa_open(struct vdpa **vdpa, const struct net_config *config, struct error *err);

/* Has the device show @faults from now on, for tests. Copied. */
void soft_vdpa_misbehave(struct vdpa *vdpa, const struct soft_faults *faults);

/* Events of the device's own: its link goes down or comes up, the guest is asked to announce itself. */
void soft_vdpa_set_link(struct vdpa *vdpa, bool up);
void soft_vdpa_announce(struct vdpa *vdpa);

#endif
