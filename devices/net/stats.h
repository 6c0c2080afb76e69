/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device statistics over a device's end, that of a migration's source or of a restart: what it has counted is
 * read, and the next device goes on from there.
 */
#ifndef FERRY_DEVICES_NET_STATS_H
#define FERRY_DEVICES_NET_STATS_H

#include "devices/net/ctrl_port.h"
#include "vmm/state.h"

/* Reads the counters that the guest knows of, before the device that has counted is let go. */
void net_stats_read(struct net_ctrl *ctrl);
/* Goes on with a device that has been started again for the same driver: no counter that the guest knows of
 * goes back. */
void net_stats_go_on(struct net_ctrl *ctrl);
/* Checks that this device counts what the guest has been told of: 0 or -errno with the reason. */
int __must_check net_stats_check(struct net_ctrl *ctrl, struct error *err);
/* Writes what the guest knows of, if it has asked. */
void net_stats_save(struct net_ctrl *ctrl, struct state_writer *w);
/* Asks the device what it counts from, as far as the guest knows of it: its counters go on from there. */
int __must_check net_stats_rebase(struct net_ctrl *ctrl, uint64_t end_ns, struct error *err);

#endif
