/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's control commands, chosen or at random, its device, and the record of what the device has
 * accepted. A command is built in cmd; what builds one returns its length.
 */
#ifndef FERRY_TESTS_UNIT_DEVICES_NET_CVQ_CVQ_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_NET_CVQ_CVQ_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "devices/net/cvq/replay.h"
#include "tests/fake/commands.h"
#include "tests/fake/model_nic.h"

#define ALL_FEATURES (~(uint64_t)0)

/* The address that each device has before it gets a command. */
extern const uint8_t factory_mac[6];

/* The command in hand, with room to make it longer than any may be. */
extern uint8_t cmd[CVQ_MAX_COMMAND + 64];

/* Builds a command with this payload. */
uint32_t set_cmd(uint8_t class, uint8_t command, const void *payload, uint32_t len);
/* Builds TX_SET, RX_SET or VQ_SET of class NOTF_COAL; @queue is VQ_SET's. */
uint32_t set_coal(uint8_t command, uint16_t queue, uint32_t packets, uint32_t usecs);

/* Payloads, written to @p; returned is their length. */

/* RSS_CONFIG's, with a table of @n entries that are all queue @queue. */
struct rss {
	uint32_t types, n;
	uint16_t unclassified, queue, max_tx_vq;
	uint8_t key_len;
};

uint32_t put_rss(uint8_t *p, struct rss rss);
uint32_t put_hash(uint8_t *p, uint32_t types, uint8_t key_len);
uint32_t put_macs(uint8_t *p, uint32_t n_unicast, uint32_t n_multicast);
/* RSS_CTX_ADD's and RSS_CTX_MOD's. Reserved bytes are not zero: nobody may look at them, or keep them. */
uint32_t put_context(uint8_t *p, uint16_t id, uint32_t n, uint16_t queue);

/* A guest's device, and the record of what the device has accepted. */
struct life {
	struct cvq_store store;
	struct model_nic nic;
};

/* A life without a command. @pairs_clear_hash: as struct model_nic has it. To be freed. */
struct life *new_life(bool pairs_clear_hash);

/* The guest sends the command of @len bytes in cmd, which the check must let through; it is recorded if the
 * device accepts it. */
void guest_sends(struct life *life, uint32_t len);

/* Brings @nic from @from to @to. Neither the check nor the device may refuse a command of that. Returns how
 * many they were. */
unsigned int replay(struct model_nic *nic, const struct cvq_store *from, const struct cvq_store *to);

/* The record of a device that never got a command. */
extern const struct cvq_store fresh;

/* A fresh device to which the record is replayed is in the state of the guest's own. */
void assert_carried(const struct life *life);

/* Guests that do anything come from a seed, so that a failure can be had again. */
extern unsigned int seed;

/* 0 to @n - 1. */
uint32_t dice(uint32_t n);
/* Builds a command that a guest may send. */
uint32_t random_command(void);

#endif
