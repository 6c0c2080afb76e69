/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's control commands: copied, checked, sent on, recorded and answered. Linux spins on a vCPU until
 * it has the answer, so that each command gets one, also from a NIC that has stopped. */
#ifndef FERRY_DEVICES_NET_CTRL_H
#define FERRY_DEVICES_NET_CTRL_H

#include "devices/net/ctrl_port.h"

/* Takes commands from the guest's ring, until one is at the device or there is none. */
void net_ctrl_run(struct net_ctrl *ctrl);
/* Takes the device's answer to the guest's command, if it is there, and answers the guest. */
void net_ctrl_complete(struct net_ctrl *ctrl);
/* Waits for the command that is at the device, if any, and completes it. It stays there where the device does
 * not answer within NET_CTRL_ASK_MS or the call's time. */
void net_ctrl_drain(struct net_ctrl *ctrl);

/* Gives a command that is still at the device its full time again, where the guest stood still meanwhile. */
void net_ctrl_rearm(struct net_ctrl *ctrl);
/* The time of the command that is at the device is over: a fault of the device. */
void net_ctrl_expire(struct net_ctrl *ctrl);

/* The device has been reset, and has no command any more. */
void net_ctrl_forget(struct net_ctrl *ctrl);
/* The same where the NIC has stopped and serves the guest's ring alone: a command that was at the device is
 * found again in its ring, and refused. */
void net_ctrl_abandon(struct net_ctrl *ctrl);

#endif
