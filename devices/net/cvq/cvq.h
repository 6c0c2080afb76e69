/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control virtqueue's commands (virtio 1.4, "Network Device / Device Operation / Control Virtqueue"): one
 * const table says what each is, and from it follow the check of a guest's command, the record of what the
 * device has accepted, and the list of commands that brings a fresh device into the recorded state. Plain
 * data and functions on it: no queue, no device, no thread.
 *
 * Adding a command is adding a row and, at most, one small function.
 */
#ifndef FERRY_DEVICES_NET_CVQ_CVQ_H
#define FERRY_DEVICES_NET_CVQ_CVQ_H

#include "devices/virtio/virtio.h"
#include "vmm/state.h"

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

/* The most queues in a STATS_GET; a longer one is refused. A queue's counters with their headers have 160
 * bytes. */
#define CVQ_MAX_STATS_ITEMS 256u
/* The longest answer, with its ack. */
#define CVQ_MAX_REPLY (1u + 160u * CVQ_MAX_STATS_ITEMS)

/* Queues other than the control queue: what statistics and per-queue coalescing are kept for. */
#define CVQ_MAX_QUEUES 128u

/* What a device, and the driver's negotiation with it, allows. From negotiated features and config space. */
struct cvq_limits {
	uint64_t features;      /* negotiated with the guest */
	uint64_t features_high; /* those from 64 on: none where they cannot be negotiated, as with vhost-vdpa
				 */
	uint16_t max_pairs;     /* that there can be with them */
	uint8_t rss_max_key;
	uint16_t rss_max_table;
	uint32_t hash_types;
	uint32_t tunnel_types;
	uint16_t device_ctrl; /* the control queue's index at the device; the guest's is 2 * max_pairs */
	bool queue_disabled[CVQ_MAX_QUEUES]; /* by the guest: not to be named in commands on a queue */
};

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

enum cvq_verdict {
	CVQ_REFUSE,       /* answer VIRTIO_NET_ERR, the device never sees it */
	CVQ_FORWARD,      /* to the device; on OK, cvq_remember() */
	CVQ_PASS,         /* to the device, and its answer to the guest: cvq_take_reply() */
	CVQ_ANNOUNCE_ACK, /* the announcement is Ferry's own, and so is the answer */
};

/*
 * Decides on a private copy of a command, *@len bytes with the header; a byte of padding that Linux leaves
 * behind a hash key is cut off. Fields that the specification reserves
 * are zeroed in @cmd, for the device and for the record alike (HASH_CONFIG: Linux leaves max_tx_vq in them).
 * Why it is refused goes into @err.
 */
enum cvq_verdict __must_check cvq_check(const struct cvq_limits *limits, uint8_t *cmd, uint32_t *len,
					struct error *err);

/* Records a command that cvq_check() let through and the device has answered with VIRTIO_NET_OK. */
void cvq_remember(struct cvq_store *store, const uint8_t *cmd, uint32_t len);

/*
 * Bytes of the device's answer with its ack, of which a guest that asks for statistics may take less. 0: the
 * @room that the guest has left for it is too small.
 */
uint32_t __must_check cvq_reply_len(const uint8_t *cmd, uint32_t len, uint32_t room);

/*
 * Statistics as the guest sees them: what the device counts, and what devices before it have counted.
 * The rows are queues as the guest numbers them, the control queue is the last; the columns its counters,
 * type after type. All sums modulo 2^64.
 */
#define CVQ_MAX_COUNTERS 16u

struct cvq_stats {
	uint64_t types; /* that the guest knows of; 0: it has not asked yet */
	uint64_t offset[CVQ_MAX_QUEUES + 1][CVQ_MAX_COUNTERS]; /* to be added to what the device counts */
	uint64_t shown[CVQ_MAX_QUEUES + 1][CVQ_MAX_COUNTERS];  /* last read, with the offset */
};

/*
 * Takes a private copy of the answer to a command for CVQ_PASS, @reply_len bytes and at least the ack, and
 * makes of it what the guest is to see. Returns its length; an answer that does not fit the command becomes
 * an error.
 */
uint32_t __must_check cvq_take_reply(struct cvq_stats *stats, const struct cvq_limits *limits,
				     const uint8_t *cmd, uint32_t len, uint8_t *reply, uint32_t reply_len);

/* Types of statistics whose counters Ferry can carry, with the features of @limits. */
uint64_t cvq_stats_types(const struct cvq_limits *limits);

/* Writes a STATS_GET for everything that the guest knows of; returns its length, 0 if that is nothing. */
#define CVQ_MAX_STATS_COMMAND (2u + 16u * (CVQ_MAX_QUEUES + 1))
uint32_t __must_check cvq_stats_request(const struct cvq_stats *stats, const struct cvq_limits *limits,
					uint8_t cmd[CVQ_MAX_STATS_COMMAND]);
/* A device of which that was asked goes on from what was shown: @reply as for cvq_take_reply(), left as it
 * is. */
bool __must_check cvq_stats_rebase(struct cvq_stats *stats, const struct cvq_limits *limits,
				   const uint8_t *cmd, uint32_t len, const uint8_t *reply,
				   uint32_t reply_len);
/* Properties of the current node: what was shown. On loading the offsets are those of a device that counts
 * from 0; @stats->types stays. */
void cvq_stats_save(const struct cvq_stats *stats, const struct cvq_limits *limits, struct state_writer *w);
int __must_check cvq_stats_load(struct cvq_stats *stats, const struct cvq_limits *limits,
				struct state_node *node);

/* The features that the table's rows need and whose state it can therefore carry: the first 64. */
uint64_t cvq_features(void);

/*
 * The commands that bring a device which is in state @from into state @to, none superfluous, none missing, in
 * an order that devices take: replay.c has it, and why.
 * @from is all defaults for a fresh device; @to is later in the same life (no reset of the driver between:
 * the caller restarts the device for that). Both stores must not change until the end. Ends with 0.
 */
struct cvq_replay {
	const struct cvq_store *from, *to;
	unsigned int stage;
	unsigned int index;
};

void cvq_replay_init(struct cvq_replay *replay, const struct cvq_store *from, const struct cvq_store *to);
/* Writes the next command, with its header, to @cmd (CVQ_MAX_COMMAND bytes); returns its length, 0 at the
 * end. */
uint32_t __must_check cvq_replay_next(struct cvq_replay *replay, uint8_t *cmd);

/*
 * Takes out of @to what would attract traffic that is still another device's, on the same switch: a MAC
 * address other than @from's, further unicast addresses, and modes that let all of them through. And, where
 * the address is kept back, VLANs, which some devices combine with the one that they have.
 */
void cvq_hold_back(struct cvq_store *to, const struct cvq_store *from);

/* Words for messages: the name of a command ("VLAN_ADD") and its argument where it is short ("VLAN_ADD 100").
 */
#define CVQ_NAME_MAX 64u
void cvq_describe(const uint8_t *cmd, uint32_t len, char name[CVQ_NAME_MAX]);

/*
 * Properties of the current node. Reading validates every value as cvq_check() would have: @limits are the
 * destination's. Every reason against it goes into the node's error, and then @store is as it was.
 */
void cvq_save(const struct cvq_store *store, struct state_writer *w);
int __must_check cvq_load(struct cvq_store *store, const struct cvq_limits *limits, struct state_node *node);

#endif
