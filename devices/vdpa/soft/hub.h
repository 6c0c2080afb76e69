/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hub without a process of its own as a port: a folder in which every port is a datagram socket, and each
 * packet goes to all others. For tests, as no privileges are needed. See port.h. */
#ifndef FERRY_DEVICES_VDPA_SOFT_HUB_H
#define FERRY_DEVICES_VDPA_SOFT_HUB_H

#include "devices/vdpa/soft/port.h"
#include "vmm/log.h"

/* Joins the hub in the folder config->hub, which is made if there is none. Returns 0, or -errno with what can
 * be done about it in @err. */
int __must_check soft_hub_open(struct soft_port **port, const struct net_config *config, struct error *err);

#endif
