/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a NIC on a vDPA device would be, before there is one: for those that build it, and for "ferry doctor".
 * The device's owner calls. */
#ifndef FERRY_DEVICES_NET_SURVEY_H
#define FERRY_DEVICES_NET_SURVEY_H

#include "devices/net/config_space.h"
#include "devices/vdpa/vdpa.h"
#include "vmm/host/host_report.h"

struct net_survey {
	/* The device's configuration, with limits of what can be carried; zero where it ends before. */
	uint8_t config[NET_CONFIG_LEN];
	unsigned int max_pairs; /* queue pairs, 1 to NET_MAX_PAIRS */
	uint64_t possible;      /* features that a guest can be offered, but for those of ring formats */
};

/*
 * Reads what the device is. Of a node that does not reach the control queue behind all pairs, MQ and RSS are
 * taken from vdpa->features. @nic: the NIC's name, for messages. -errno with the reason where there can be
 * no NIC.
 */
int __must_check net_survey(struct net_survey *survey, struct vdpa *vdpa, const char *nic, struct error *err);

/*
 * Says in plain data what a NIC with @config would be: all of @nic but its node, its driver and its
 * descriptors. *@why: the reason for shadow rings, or NULL. -errno with the reason where there can be no such
 * NIC; one is that @config wants passthrough and cannot have it.
 */
int __must_check net_survey_describe(struct host_nic *nic, const char **why, struct vdpa *vdpa,
				     const struct net_config *config, struct error *err);

#endif
