/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ferry's own commands on the control queue: recorded state sent to a device, many commands at a time. */
#ifndef FERRY_DEVICES_NET_REPLAY_H
#define FERRY_DEVICES_NET_REPLAY_H

#include "devices/net/ctrl_port.h"

/*
 * Brings the device from ctrl->store to ctrl->target, as many commands in flight as the ring takes; then they
 * are equal. Names the command that was refused. Blocks the NIC's thread, for as long as net_ctrl_limit()
 * allows: nothing of the guest's is served meanwhile. Nothing to do without a control queue.
 */
int __must_check net_replay(struct net_ctrl *ctrl, struct error *err);

#endif
