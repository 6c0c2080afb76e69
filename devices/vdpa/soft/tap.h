/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TAP interface of the host as a port, one of its queues for each pair: see port.h. */
#ifndef FERRY_DEVICES_VDPA_SOFT_TAP_H
#define FERRY_DEVICES_VDPA_SOFT_TAP_H

#include "devices/vdpa/soft/port.h"
#include "vmm/log.h"

/*
 * Opens the interface config->tap with config->n_queues queues, and makes it if there is none; or takes
 * config->tap_fds, which are its queues, and the port's from here on. Makes it a port of config->bridge if
 * that is not NULL. Returns 0, or -errno with what can be done about it in @err;
 * then the host is as it was.
 */
int __must_check soft_tap_open(struct soft_port **port, const struct net_config *config, struct error *err);

#endif
