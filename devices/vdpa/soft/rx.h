/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of the NIC in software from the port to its receive rings (virtio 1.4, "Processing of Incoming
 * Packets"). */
#ifndef FERRY_DEVICES_VDPA_SOFT_RX_H
#define FERRY_DEVICES_VDPA_SOFT_RX_H

#include "devices/vdpa/soft/device.h"

/*
 * Reads packets from a source of the port, SOFT_BURST at most, into the queues in which they belong; drivers
 * are told. A packet that finds no buffer waits in the port, which is not watched then until a kick says that
 * there are some. Returns 0, or -errno: the source fails, -ENETDOWN and -ENODEV as in port.h. Rings may be
 * broken then.
 */
int __must_check soft_rx(struct soft *soft, struct soft_source *from);

#endif
