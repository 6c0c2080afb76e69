/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vDPA device in front of another one, whose calls take long or fail as those of a device that is slow, ill
 * or gone; and what the NIC in software that stands behind it has been told, compared with what a guest has
 * been told that it has.
 */
#ifndef FERRY_TESTS_FAULT_NIC_DEVICE_H
#define FERRY_TESTS_FAULT_NIC_DEVICE_H

#include "devices/vdpa/soft/soft.h"
#include "tests/fake/model_nic.h"

/* The calls that can be told to fail by name. */
enum nic_call { NIC_CALL_ANY, NIC_CALL_SUSPEND, NIC_CALL_BASE, NIC_N_CALLS };

struct nic_device {
	struct vdpa vdpa;
	struct vdpa *soft; /* closed with this one */
	/* Any thread sets these at any time. */
	_Atomic unsigned int max_ms;             /* each call takes up to so long */
	_Atomic unsigned int fails[NIC_N_CALLS]; /* the call of this number from now on fails; 0: none */
	_Atomic unsigned int n_failed;
	uint64_t random;
};

/* Takes @soft over; closed, and freed, by its close(). */
struct nic_device *nic_device_new(struct vdpa *soft, uint64_t seed);
/* From now on all is well. */
void nic_device_heal(struct nic_device *d);

/* NULL, or the first thing that the device does otherwise than the guest was told. Nobody uses the device. */
const char *nic_device_diff(struct nic_device *d, const struct model_nic *model);

#endif
