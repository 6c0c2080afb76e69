/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of the NIC in software from its transmit rings to the port (virtio 1.4, "Packet Transmission"). */
#ifndef FERRY_DEVICES_VDPA_SOFT_TX_H
#define FERRY_DEVICES_VDPA_SOFT_TX_H

#include "devices/vdpa/soft/device.h"

/*
 * Sends the packets in the ring of @q, which is served: SOFT_BURST at most, and if there are more @q is
 * kicked again. A packet that breaks the rules, or that the port does not take, is dropped and counted.
 * Returns 0, or -ENETDOWN or -ENODEV: the port's state may be another. The ring may be broken afterwards,
 * which is for the caller to look at.
 */
int __must_check soft_tx(struct soft *soft, struct soft_queue *q);

#endif
