/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of what a device has accepted from the control queue since the driver's last reset, in slots. A
 * slot says of a command how what it sets is kept, saved and sent again; most commands set a value of a few
 * bytes, of which the last one counts, and need no code of their own for that.
 */
#ifndef FERRY_DEVICES_NET_CVQ_STORE_H
#define FERRY_DEVICES_NET_CVQ_STORE_H

#include "devices/virtio/virtio.h"

/* The most MAC addresses in the two tables together. The specification sets no limit; a longer MAC_TABLE_SET
 * is refused, for the record and the window need a bound. */
#define CVQ_MAX_MACS 8192u
/* The most entries of an RSS table: four times what drivers ask for. */
#define CVQ_MAX_RSS_TABLE 512u
/* The longest hash key in bytes: its length has one byte on the wire. */
#define CVQ_MAX_RSS_KEY 255u
/* The most RSS contexts; an id above it is refused. */
#define CVQ_MAX_CONTEXTS 8u

/* The longest command with its two header bytes: MAC_TABLE_SET. */
#define CVQ_MAX_COMMAND (2u + 8u + 6u * CVQ_MAX_MACS)
/* The longest MQ-class command with its header: RSS_CONFIG. */
#define CVQ_MAX_MQ_COMMAND (2u + 11u + 2u * CVQ_MAX_RSS_TABLE + CVQ_MAX_RSS_KEY)

/* Classes of commands that the specification has, and the most commands of one. */
#define CVQ_N_CLASSES  10u
#define CVQ_N_COMMANDS 6u

#define CVQ_N_RX_MODES    6u
#define CVQ_N_MQ_COMMANDS 3u
#define CVQ_N_VLANS       4096u

/* Queues other than the control queue: statistics and coalescing of single queues are kept for them. */
#define CVQ_MAX_QUEUES 128u

/* How a command's payload is kept. */
enum cvq_keep {
	CVQ_KEEP_NOTHING,
	/* The payload as it came last, in struct cvq_value. */
	CVQ_KEEP_VALUE,
	/* The same of a mode of class RX, which is on or off. */
	CVQ_KEEP_MODE,
	/* The same of coalescing for all queues of a kind, which lose what they had of their own. */
	CVQ_KEEP_COAL,
	CVQ_KEEP_COAL_QUEUE,
	CVQ_KEEP_MACS,
	CVQ_KEEP_VLANS,
	CVQ_KEEP_MQ,
	CVQ_KEEP_CONTEXT,
};

/* Where in a replay a value is set again; replay.c says why the order is so. */
enum cvq_turn {
	/* The command sets no value: what is kept in another way has a stage of its own. */
	CVQ_TURN_OWN,
	CVQ_BEFORE_FILTERS,
	CVQ_WITH_FILTERS,
	CVQ_AFTER_STEERING,
	CVQ_LAST,
};

struct cvq_slot {
	enum cvq_keep keep;
	enum cvq_turn turn;
	/* Zero is the value of a device that never got the command; otherwise each device has its own. */
	bool zero_default;
	/* The property of saved state, or what its properties begin with. Commands whose effect another one's
	 * property has, as VLAN_DEL's, have none. */
	const char *property;
};

/* The payload of a command for CVQ_KEEP_VALUE, MODE or COAL as last accepted, as on the wire. Bytes of one
 * that was never set are zero. */
struct cvq_value {
	bool set;
	uint8_t bytes[8];
};

/* An MQ-class command (pairs, RSS, hash) as last accepted, payload without header. */
struct cvq_mq_slot {
	/* The place in the order in which commands of the class were accepted; 0: never. */
	uint64_t sequence;
	uint16_t len;
	uint8_t data[CVQ_MAX_MQ_COMMAND - 2];
};

/* An RSS context: the configuration that it was given last, as in an RSS_CONFIG. */
struct cvq_context {
	uint16_t len; /* 0: there is none with this id */
	uint8_t data[CVQ_MAX_MQ_COMMAND - 2];
};

/* Kinds of queues that a TX_SET or RX_SET is for, by the command of class NOTF_COAL. */
enum cvq_kind { CVQ_TX, CVQ_RX, CVQ_N_KINDS };

static inline enum cvq_kind cvq_kind_of(unsigned int queue)
{
	return queue % 2 == 0 ? CVQ_RX : CVQ_TX;
}

/*
 * Plain data, copied by assignment. "Never set" differs from "set to the default": some defaults are the
 * device's own.
 */
struct cvq_store {
	struct cvq_value values[CVQ_N_CLASSES][CVQ_N_COMMANDS];
	bool mac_table_set;
	uint32_t n_unicast, n_multicast;
	/* Unicast addresses come first; one more has room than there can be, to point at. */
	uint8_t macs[CVQ_MAX_MACS + 1][6];
	uint64_t vlans[CVQ_N_VLANS / 64];
	uint64_t mq_sequence;                          /* last given */
	struct cvq_mq_slot mq[CVQ_N_MQ_COMMANDS];      /* index = command of class MQ */
	struct cvq_context contexts[CVQ_MAX_CONTEXTS]; /* index: id - 1 */
	/* VQ_SET has the last word for its queue until a TX_SET or RX_SET comes, or the queue is reset. */
	struct cvq_value coal_queue[CVQ_MAX_QUEUES];
};

/* Brings everything to its default: after a driver's reset. */
void cvq_reset(struct cvq_store *store);

/* The guest has reset a single queue (VIRTIO_F_RING_RESET): it goes back to what holds for all of its kind.
 * The device learns of it by a replay, unless its own queue was reset too. */
void cvq_reset_queue(struct cvq_store *store, unsigned int queue);

/* Keeps a command that was checked and that the device has accepted. */
void cvq_keep(struct cvq_store *store, const struct cvq_slot *slot, const uint8_t *cmd, uint32_t len);

/* Whether a command of a single value was accepted, and is not the default that every device has. */
bool cvq_is_set(const struct cvq_store *store, uint8_t class, uint8_t command);

/* The MAC address that was set last; NULL: none was. cvq_set_mac() records one that a device begins with. */
const uint8_t *cvq_mac(const struct cvq_store *store);
void cvq_set_mac(struct cvq_store *store, const uint8_t mac[6]);

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

/* The same of MAC_TABLE_SET, with addresses of 6 bytes, which may overlap nothing of @cmd. */
static inline uint32_t cvq_put_macs(uint8_t *cmd, const uint8_t *unicast, uint32_t n_unicast,
				    const uint8_t *multicast, uint32_t n_multicast)
{
	uint8_t *p = cmd + 2;

	cmd[0] = VIRTIO_NET_CTRL_MAC;
	cmd[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	put_le32(p, n_unicast);
	memcpy(p + 4, unicast, 6 * n_unicast);
	p += 4 + 6 * n_unicast;
	put_le32(p, n_multicast);
	memcpy(p + 4, multicast, 6 * n_multicast);
	return 2 + 8 + 6 * (n_unicast + n_multicast);
}

/* The same of an RSS context, whose configuration is @len bytes. */
static inline uint32_t cvq_put_context(uint8_t *cmd, uint8_t command, unsigned int id, const void *config,
				       uint32_t len)
{
	uint8_t head[CVQ_CONTEXT_CONFIG] = { 0 };

	put_le16(head, (uint16_t)id);
	cvq_command(cmd, VIRTIO_NET_CTRL_RSS_CTX, command, head, sizeof(head));
	memcpy(cmd + 2 + sizeof(head), config, len);
	return 2 + (uint32_t)sizeof(head) + len;
}

#endif
