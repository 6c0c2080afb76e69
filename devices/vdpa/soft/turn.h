/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread of the NIC in software looks at the transmit queues and at its port instead of sleeping, while
 * packets move: the guest is not asked for kicks meanwhile. vmm/look.h says how long.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_TURN_H
#define FERRY_DEVICES_VDPA_SOFT_TURN_H

#include "devices/vdpa/soft/device.h"

/* Before the thread runs. It does not look until soft_turn_set() says for how long, as look_init(), on it. */
void soft_turn_init(struct soft *soft);
void soft_turn_set(struct soft *soft, uint32_t us, unsigned int n_threads);

#endif
