/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's vDPA devices: which there are, and what a guest's NIC would be on each. */
#ifndef FERRY_VMM_HOST_HOST_NICS_H
#define FERRY_VMM_HOST_HOST_NICS_H

#include "vmm/host/host_look.h"

/*
 * Adds "vdpa", "iommu", and for each node that is asked about, or else for the host's first HOST_MAX_NICS:
 * its name, and behind that "features", "queues" and "mode". Sets the NICs among the facts. A node that
 * nobody uses is opened for a moment, and reset by that as by everybody who opens it.
 */
void host_nics_check(struct host_report *r, const struct host_look *look);

#endif
