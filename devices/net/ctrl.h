/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's control commands: copied, checked, sent on, recorded and answered. Linux spins on a vCPU until
 * the answer comes, so every command gets one, also from a NIC that has stopped. */
#ifndef FERRY_DEVICES_NET_CTRL_H
#define FERRY_DEVICES_NET_CTRL_H

#include "devices/net/ctrl_port.h"

/* Takes commands from the guest's ring, until one is at the device or there is none. The driver must have a
 * control queue; nothing else here asks for one. */
void net_ctrl_run(struct net_ctrl *ctrl);
/* Takes the device's answer to the guest's command, if it is there, and answers the guest. */
void net_ctrl_complete(struct net_ctrl *ctrl);
/* Waits for the command that is at the device, if any, and completes it. It stays there where the device does
 * not answer within NET_CTRL_ASK_MS or the call's time. */
void net_ctrl_drain(struct net_ctrl *ctrl);

/* Gives a command that is still at the device its full time again: the guest stood still meanwhile. */
void net_ctrl_rearm(struct net_ctrl *ctrl);
/* Ends the device's time for the guest's command: if the command is still there, the device is at fault. */
void net_ctrl_expire(struct net_ctrl *ctrl);

/* Forgets what is at the device, for it has been reset. */
void net_ctrl_forget(struct net_ctrl *ctrl);
/* Takes the guest's command back from a device at which the NIC has stopped: it is found again in the guest's
 * ring, and refused. */
void net_ctrl_abandon(struct net_ctrl *ctrl);

/* Asks a guest with VIRTIO_NET_F_GUEST_ANNOUNCE to announce itself. */
void net_ctrl_ask_announce(struct net_ctrl *ctrl);

/* Shows the guest the state of link and announcements, with an interrupt where it can see a change. */
void net_ctrl_show_status(struct net_ctrl *ctrl);

#endif
