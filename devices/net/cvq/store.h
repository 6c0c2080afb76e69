/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device has accepted from the control queue: a slot for each thing that commands set, and what writes
 * them. */
#ifndef FERRY_DEVICES_NET_CVQ_STORE_H
#define FERRY_DEVICES_NET_CVQ_STORE_H

#include "devices/virtio/virtio.h"

/* The most MAC addresses in the two tables together; a longer MAC_TABLE_SET is refused (the specification
 * sets no limit). */
#define CVQ_MAX_MACS      8192u
#define CVQ_MAX_RSS_TABLE 512u /* entries */
#define CVQ_MAX_RSS_KEY   255u /* bytes, an u8 on the wire */
#define CVQ_MAX_CONTEXTS  8u   /* of RSS; an id above it is refused */

/* The longest command with its two header bytes: MAC_TABLE_SET. */
#define CVQ_MAX_COMMAND (2u + 8u + 6u * CVQ_MAX_MACS)
/* The longest MQ-class command with its header: RSS_CONFIG. */
#define CVQ_MAX_MQ_COMMAND (2u + 11u + 2u * CVQ_MAX_RSS_TABLE + CVQ_MAX_RSS_KEY)

#define CVQ_N_RX_MODES    6u
#define CVQ_N_MQ_COMMANDS 3u
#define CVQ_N_VLANS       4096u

/* Queues other than the control queue: what statistics and per-queue coalescing are kept for. */
#define CVQ_MAX_QUEUES 128u

enum cvq_tristate { CVQ_NEVER, CVQ_OFF, CVQ_ON };

/* An MQ-class command (pairs, RSS, hash) as last accepted, payload without header. */
struct cvq_mq_slot {
	uint64_t sequence; /* order of last success among the MQ class; 0: never */
	uint16_t len;
	uint8_t data[CVQ_MAX_MQ_COMMAND - 2];
};

/* An RSS context: the configuration it was given last, as in an RSS_CONFIG. */
struct cvq_context {
	uint16_t len; /* 0: there is none with this id */
	uint8_t data[CVQ_MAX_MQ_COMMAND - 2];
};

/* Packets and microseconds of a coalescing command, as on the wire. */
struct cvq_coal {
	bool set;
	uint8_t value[8];
};

/* Which queues a TX_SET or RX_SET is for: index = command of class NOTF_COAL. */
enum cvq_kind { CVQ_TX, CVQ_RX, CVQ_N_KINDS };

static inline enum cvq_kind cvq_kind_of(unsigned int queue)
{
	return queue % 2 == 0 ? CVQ_RX : CVQ_TX;
}

/*
 * What the device has accepted since the driver's last reset. Plain data, copied by assignment. CVQ_NEVER and
 * the *_set flags tell "never set" from "set to the default": some defaults are the device's own.
 */
struct cvq_store {
	uint8_t rx_mode[CVQ_N_RX_MODES]; /* enum cvq_tristate, index = command of class RX */
	bool mac_set;
	uint8_t mac[6];
	bool mac_table_set;
	uint32_t n_unicast, n_multicast;
	uint8_t macs[CVQ_MAX_MACS][6]; /* unicast first */
	uint64_t vlans[CVQ_N_VLANS / 64];
	uint64_t mq_sequence;                     /* last given */
	struct cvq_mq_slot mq[CVQ_N_MQ_COMMANDS]; /* index = command of class MQ */
	bool offloads_set;
	uint64_t offloads;
	uint32_t tunnel_types;                         /* 0, the default, is the same as never */
	struct cvq_context contexts[CVQ_MAX_CONTEXTS]; /* index: id - 1 */
	struct cvq_coal coal[CVQ_N_KINDS];
	/* VQ_SET: the last word for its queue until a TX_SET or RX_SET comes, or the queue is reset. */
	struct cvq_coal coal_queue[CVQ_MAX_QUEUES];
};

/* Everything at its default: after a driver's reset. */
void cvq_reset(struct cvq_store *store);

/* The guest has reset a single queue (VIRTIO_F_RING_RESET): it goes back to what holds for all of its kind.
 * The device learns of it by a replay, unless its own queue was reset too. */
void cvq_reset_queue(struct cvq_store *store, unsigned int queue);

/* Records a command: @p is its payload, checked, which the device has accepted. */
void cvq_remember_rx_mode(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_mac_table(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_mac(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_vlan(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_mq(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_offloads(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_tunnel(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_context(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_coal(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);
void cvq_remember_coal_queue(struct cvq_store *store, uint8_t command, const uint8_t *p, uint32_t len);

/* An RSS context's id and what is reserved behind it, in front of its configuration. */
#define CVQ_CONTEXT_RESERVED 2u
#define CVQ_CONTEXT_CONFIG   8u

/* Puts a command together in @cmd; returns its length. */
static inline uint32_t cvq_command(uint8_t *cmd, uint8_t class, uint8_t command, const void *payload,
				   uint32_t len)
{
	cmd[0] = class;
	cmd[1] = command;
	memcpy(cmd + 2, payload, len);
	return 2 + len;
}

/* The same of an RSS context, whose configuration is @len bytes. */
static inline uint32_t cvq_put_context(uint8_t *cmd, uint8_t command, unsigned int id, const void *config,
				       uint32_t len)
{
	uint8_t head[8] = { 0 };

	put_le16(head, (uint16_t)id);
	cvq_command(cmd, VIRTIO_NET_CTRL_RSS_CTX, command, head, sizeof(head));
	memcpy(cmd + 2 + sizeof(head), config, len);
	return 2 + (uint32_t)sizeof(head) + len;
}

#endif
