/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults that tests have the NIC in software show, so that the NIC above it is tried against a bad device. */
#ifndef FERRY_DEVICES_VDPA_SOFT_FAULTS_H
#define FERRY_DEVICES_VDPA_SOFT_FAULTS_H

#include <stdbool.h>

/* All zero: the device is a good one. */
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

#endif
