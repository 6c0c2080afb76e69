/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of the NIC in software from its transmit rings to the port (virtio 1.4, "Packet Transmission"). */
#ifndef FERRY_DEVICES_VDPA_SOFT_TX_H
#define FERRY_DEVICES_VDPA_SOFT_TX_H

#include "devices/vdpa/soft/device.h"

/*
 * Sends what is in the ring of @q, which is served, SOFT_BURST packets at most; it has itself kicked again if
 * there are more. Packets that break the rules or that the port does not take are dropped and counted.
 * Returns 0, or -ENETDOWN or -ENODEV: the port's state is another. The ring may be broken then (vring.h).
 */
int __must_check soft_tx(struct soft *soft, struct soft_queue *q);

#endif
