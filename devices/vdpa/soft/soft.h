/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A complete virtio-net vDPA device in software: packets come from and go to a TAP interface or a hub of
 * sockets. It has a thread of its own, on which everything happens; its operations may be called from any
 * other thread, one at a time. What comes through its rings is as hostile as to any device.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_SOFT_H
#define FERRY_DEVICES_VDPA_SOFT_SOFT_H

#include "devices/vdpa/vdpa.h"
#include "vmm/config.h"

/*
 * Opens what @config names (its field soft is set). Errors say what can be done. Closed with ops->close().
 */
int __must_check soft_vdpa_open(struct vdpa **vdpa, const struct net_config *config, struct error *err);

/* What tests have it do wrong; all zero: nothing. Copied. */
struct soft_faults {
	bool gone;               /* it has vanished: operations fail, nothing is served */
	unsigned int refuse_nth; /* control command since DRIVER_OK, from 1, is answered with an error */
	unsigned int delay_ms;   /* control commands are answered so late */
	bool reverse;            /* control commands that came together are answered last first */
	bool bad_ctrl_id;        /* answers name an element that does not exist */
	bool bad_data_id;        /* and so do data queues */
	bool refuse_suspend;
	bool refuse_move; /* no new addresses while suspended, as kernels before Linux 6.8 */
	bool base_0;      /* it begins at the start of a ring only */
	bool keep_one;    /* suspended it says that it has taken one element more than it has used */
};

void soft_vdpa_misbehave(struct vdpa *vdpa, const struct soft_faults *faults);

/* Events of the device's own: its link goes down or comes up, the guest is asked to announce itself. */
void soft_vdpa_set_link(struct vdpa *vdpa, bool up);
void soft_vdpa_announce(struct vdpa *vdpa);

#endif
