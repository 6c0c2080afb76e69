/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of the NIC in software from the port to its receive rings (virtio 1.4, "Processing of Incoming
 * Packets"). */
#ifndef FERRY_DEVICES_VDPA_SOFT_RX_H
#define FERRY_DEVICES_VDPA_SOFT_RX_H

#include "devices/vdpa/soft/device.h"

/*
 * Reads packets from a source of the port, SOFT_BURST at most, into the queues in which they belong, and
 * tells the driver. A packet that finds no buffer waits in the port; the source is not watched any more then,
 * until a kick says that there are buffers. Returns 0, or -errno: the source fails, or the port does
 * (-ENETDOWN and -ENODEV as in port.h). Receive rings may be broken afterwards, which is for the caller to
 * look at.
 */
int __must_check soft_rx(struct soft *soft, struct soft_source *from);

#endif
