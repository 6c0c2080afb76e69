/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An oracle for control commands: a NIC that knows the bytes of the specification and nothing of devices/cvq,
 * and keeps what they mean. Two models whose model_nic_diff() is NULL would filter and steer alike.
 */
#ifndef FERRY_TESTS_FAKE_MODEL_NIC_H
#define FERRY_TESTS_FAKE_MODEL_NIC_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_UNKNOWN  0xee /* a mode for which the specification has no default */
#define MODEL_MAX_MACS 8192

enum model_steering { MODEL_PAIRS, MODEL_RSS };

struct model_nic {
	/* How devices differ; not compared. */
	bool pairs_clear_hash;  /* QEMU: VQ_PAIRS_SET forgets the hash configuration */
	bool vlan_add_once;     /* mlx5: adding a VLAN that is there is an error */
	unsigned int max_vlans; /* 0: no bound */
	unsigned int n_commands;

	uint8_t modes[6];
	uint8_t mac[6];
	unsigned int n_unicast, n_multicast;
	uint8_t unicast[MODEL_MAX_MACS][6], multicast[MODEL_MAX_MACS][6];
	bool vlans[4096];
	unsigned int n_vlans;
	enum model_steering steering;
	unsigned int pairs; /* transmit queues, with RSS */
	unsigned int rss_len, unclassified;
	uint16_t rss[65536];
	uint32_t hash_types;
	unsigned int hash_key_len;
	uint8_t hash_key[255];
	uint64_t offloads;
};

/* As after a reset, with every offload of @offloads on. */
void model_nic_init(struct model_nic *nic, const uint8_t mac[6], uint64_t offloads);

/* One command with its header. The ack: 0 or 1. A length that does not match exactly is an error. */
uint8_t model_nic_command(struct model_nic *nic, const uint8_t *cmd, uint32_t len);

/* The first thing that two models do not have in common, or NULL. */
const char *model_nic_diff(const struct model_nic *a, const struct model_nic *b);

#endif
