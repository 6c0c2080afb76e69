/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checks of control commands: what a payload of legal length has to be. */
#ifndef FERRY_DEVICES_NET_CVQ_CHECKS_H
#define FERRY_DEVICES_NET_CVQ_CHECKS_H

#include "devices/net/cvq/store.h"
#include "vmm/log.h"

/* Limits that a device and the driver's negotiation with it set: from features and configuration space. */
struct cvq_limits {
	uint64_t features; /* negotiated with the guest */
	/* Features from 64 on: none where they cannot be negotiated, as with vhost-vdpa. */
	uint64_t features_high;
	uint16_t max_pairs; /* that there can be with them */
	uint8_t rss_max_key;
	uint16_t rss_max_table;
	uint32_t hash_types;
	uint32_t tunnel_types;
	/* The control queue's index at the device; the guest's is 2 * max_pairs. */
	uint16_t device_ctrl;
	/* Queues that the guest has not enabled: a command on a queue may not name one. */
	bool queue_disabled[CVQ_MAX_QUEUES];
};

/* Whether feature number @feature is negotiated, be it below 64 or not. */
bool cvq_has(const struct cvq_limits *limits, unsigned int feature);

/* A check gives every reason against a payload of legal length, shortens it by what is not part of the
 * command, and zeroes what is reserved in it. */
typedef bool cvq_check_fn(const struct cvq_limits *limits, uint8_t *p, uint32_t *len, struct error *err);

cvq_check_fn cvq_check_mac_table;
cvq_check_fn cvq_check_mac;
cvq_check_fn cvq_check_vlan;
cvq_check_fn cvq_check_pairs;
cvq_check_fn cvq_check_rss;
cvq_check_fn cvq_check_hash_config;
cvq_check_fn cvq_check_context_id;
cvq_check_fn cvq_check_context;
cvq_check_fn cvq_check_offloads;
cvq_check_fn cvq_check_tunnel;
cvq_check_fn cvq_check_coal_queue;

/* Returns in words what a bit of GUEST_OFFLOADS_SET's number stands for, NULL if it is none. */
const char *cvq_offload_name(unsigned int bit);

#endif
