/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device statistics (virtio 1.4, "Device Statistics"): counters that a guest reads, and that go on where they
 * were when it has moved to another device. */
#ifndef FERRY_DEVICES_NET_CVQ_STATS_H
#define FERRY_DEVICES_NET_CVQ_STATS_H

#include "devices/net/cvq/checks.h"
#include "vmm/state.h"

/* The most queues in a STATS_GET; a longer one is refused. A queue's counters with their headers have 160
 * bytes. */
#define CVQ_MAX_STATS_ITEMS 256u
/* The longest answer, with its ack. */
#define CVQ_MAX_REPLY (1u + 160u * CVQ_MAX_STATS_ITEMS)

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

/* The answer to a command that is passed through. */
struct cvq_reply {
	uint32_t len; /* bytes behind the ack; 0: as many as the command asks for, cvq_stats_len() */
	/* Makes of the device's answer, without ack, the guest's. False: it is none to this command. */
	bool (*take)(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *p, uint32_t len,
		     uint8_t *reply, uint32_t reply_len);
};

extern const struct cvq_reply cvq_stats_query, cvq_stats_get;
/* A check as those of checks.h. */
cvq_check_fn cvq_check_stats;
/* Bytes of the answer to a request that was checked. */
uint32_t cvq_stats_len(const uint8_t *p, uint32_t len);

#endif
