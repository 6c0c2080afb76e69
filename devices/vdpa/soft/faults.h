/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults that tests have the NIC in software show, so that the NIC above it is tried against a bad device. */
#ifndef FERRY_DEVICES_VDPA_SOFT_FAULTS_H
#define FERRY_DEVICES_VDPA_SOFT_FAULTS_H

#include <stdbool.h>

/* A device whose faults are all zero is a good one. */
struct soft_faults {
	/* The device has vanished: operations fail, nothing is served. */
	bool gone;
	/* The control command of this number since DRIVER_OK, from 1 on, is answered with an error. */
	unsigned int refuse_nth;
	unsigned int delay_ms; /* control commands are answered so late */
	/* Control commands that came together are answered last first. */
	bool reverse;
	/* The used elements of the control queue name a descriptor that does not exist. */
	bool bad_ctrl_id;
	bool bad_data_id; /* as do those of data queues */
	bool refuse_suspend;
	/* A suspended device takes no new addresses, as with kernels before Linux 6.8. */
	bool refuse_move;
	bool base_0; /* every ring begins at index 0 */
	/* A suspended device says that it has taken one element more than it has used. */
	bool keep_one;
};

#endif
