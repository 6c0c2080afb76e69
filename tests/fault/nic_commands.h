/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random control commands of each family that a guest can send, most of them right. */
#ifndef FERRY_TESTS_FAULT_NIC_COMMANDS_H
#define FERRY_TESTS_FAULT_NIC_COMMANDS_H

#include <stdint.h>

enum nic_family {
	NIC_RX,
	NIC_RX_EXTRA,
	NIC_MAC_TABLE,
	NIC_MAC_ADDR,
	NIC_VLAN,
	NIC_ANNOUNCE,
	NIC_MQ,
	NIC_RSS,
	NIC_HASH,
	NIC_OFFLOADS,
	NIC_COALESCE,
	NIC_STATS,
	NIC_TUNNEL,
	NIC_CONTEXTS,
	NIC_N_FAMILIES
};

extern const char *const nic_families[NIC_N_FAMILIES];

#define NIC_COMMAND_MAX 4096u
#define NIC_REPLY_MAX   256u /* with the ack */

struct nic_command {
	uint32_t len; /* with its header of two bytes */
	uint8_t bytes[NIC_COMMAND_MAX];
};

/* @features are those that the guest has negotiated, of a NIC with two queue pairs. */
void nic_command_make(struct nic_command *c, enum nic_family family, uint64_t features, uint64_t *random);

#endif
