/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An oracle for control commands: a NIC that knows the bytes of the specification and nothing of
 * devices/net/cvq, and keeps what they mean. Two models whose model_nic_diff() is NULL would filter and steer
 * alike.
 */
#ifndef FERRY_TESTS_FAKE_MODEL_NIC_H
#define FERRY_TESTS_FAKE_MODEL_NIC_H

#include <stdbool.h>
#include <stdint.h>

/* A mode that was never set, for which the specification has no default. */
#define MODEL_UNKNOWN      0xee
#define MODEL_MAX_MACS     8192
#define MODEL_MAX_CONTEXTS 8
#define MODEL_MAX_VALUES   8 /* commands that set one number */

#define MODEL_MAX_QUEUES 129
#define MODEL_MAX_REPLY  65536

/* How an answer to STATS_GET can be wrong. */
enum model_stats_fault {
	MODEL_STATS_GOOD,
	MODEL_STATS_SHORT,      /* the last byte is missing */
	MODEL_STATS_EMPTY_ITEM, /* an item says that it has no bytes */
	MODEL_STATS_LONG_ITEM,  /* or more than there are */
	MODEL_STATS_OTHER_TYPE,
	MODEL_STATS_OTHER_QUEUE,
	MODEL_STATS_N_FAULTS
};

enum model_steering { MODEL_PAIRS, MODEL_RSS };

struct model_nic {
	/* How devices differ; not compared. */
	/* QEMU's VQ_PAIRS_SET forgets the hash configuration. */
	bool pairs_clear_hash;
	/* mlx5 refuses to add a VLAN that is there. */
	bool vlan_add_once;
	unsigned int max_vlans; /* 0: no bound */
	/* The device does not look whether an RSS context is there already. */
	bool easy_contexts;
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
	uint64_t values[MODEL_MAX_VALUES]; /* model_nic_value() */
	unsigned int n_contexts;
	unsigned int context_len[MODEL_MAX_CONTEXTS + 1]; /* by id; 0: there is none */
	uint8_t contexts[MODEL_MAX_CONTEXTS + 1][1290];   /* as given */
	/* Packets and microseconds: of TX_SET and RX_SET, and of each queue. */
	uint32_t coal_kind[2][2];
	uint32_t coal[MODEL_MAX_QUEUES][2];

	/* From here on nothing is compared. */
	unsigned int n_data; /* the control queue's index, too */
	bool ack_last;       /* VQ_GET's ack is behind its values */
	uint64_t stats_types;
	uint64_t counters[MODEL_MAX_QUEUES][16];
	enum model_stats_fault stats_fault;
};

/* Makes the model a device after its reset, with every offload of @offloads on. */
void model_nic_init(struct model_nic *nic, const uint8_t mac[6], uint64_t offloads);

/* One command with its header. The ack: 0 or 1. A length that does not match exactly is an error. */
uint8_t model_nic_command(struct model_nic *nic, const uint8_t *cmd, uint32_t len);

/* The same with all that it answers, the ack included: how many bytes of MODEL_MAX_REPLY. */
uint32_t model_nic_answer(struct model_nic *nic, const uint8_t *cmd, uint32_t len, uint8_t *reply);

/* The number that a command of one number has set last. The command must be one of the model's table. */
uint64_t model_nic_value(const struct model_nic *nic, uint8_t class, uint8_t command);

/* A single queue was reset and enabled again. */
void model_nic_reset_queue(struct model_nic *nic, unsigned int queue);

/* The first thing that two models do not have in common, or NULL. */
const char *model_nic_diff(const struct model_nic *a, const struct model_nic *b);

#endif
