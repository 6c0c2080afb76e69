/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sends recorded state to a device as commands, many at a time. */
#ifndef FERRY_DEVICES_NET_REPLAY_H
#define FERRY_DEVICES_NET_REPLAY_H

#include "devices/net/ctrl_port.h"

/*
 * Brings the device from ctrl->store to ctrl->target, as many commands in flight as the ring takes; then the
 * two are equal. Returns 0, or -errno with the name of a command that was refused. Blocks the NIC's thread,
 * for as long as net_ctrl_limit() allows: no queue of the guest's is served meanwhile. Without a control
 * queue there is nothing to do.
 */
int __must_check net_replay(struct net_ctrl *ctrl, struct error *err);

#endif
