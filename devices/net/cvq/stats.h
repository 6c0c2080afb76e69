/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device statistics (virtio 1.4, "Device Statistics"): counters that a guest reads, and that go on where they
 * were when it has moved to another device. */
#ifndef FERRY_DEVICES_NET_CVQ_STATS_H
#define FERRY_DEVICES_NET_CVQ_STATS_H

#include "devices/net/cvq/checks.h"
#include "vmm/facts.h"
#include "vmm/state.h"

/* The most queues in a STATS_GET; a longer one is refused, for the answer's room needs a bound. */
#define CVQ_MAX_STATS_ITEMS 256u
/* The longest answer with its ack: a queue's counters and their headers have 160 bytes. */
#define CVQ_MAX_REPLY (1u + 160u * CVQ_MAX_STATS_ITEMS)

/* Counters of one queue: the specification's types of receive queues have so many together. */
#define CVQ_MAX_COUNTERS 16u

/*
 * Statistics as the guest sees them: what the device counts, and what devices before it have counted. A row
 * is a queue as the guest numbers it, the last one the control queue; a column is a counter, type after type.
 * Sums are modulo 2^64, as the device's are.
 */
struct cvq_stats {
	/* Types that the guest knows of; 0: it has not asked yet. */
	uint64_t types;
	/* Summands for what the device counts. */
	uint64_t offset[CVQ_MAX_QUEUES + 1][CVQ_MAX_COUNTERS];
	/* Counters as they were last read, with the offset. */
	uint64_t shown[CVQ_MAX_QUEUES + 1][CVQ_MAX_COUNTERS];
};

/* Types of statistics whose counters Ferry can carry, with the features of @limits. */
uint64_t cvq_stats_types(const struct cvq_limits *limits);

/* The longest command of cvq_stats_request(): an item of 16 bytes for each queue. */
#define CVQ_MAX_STATS_COMMAND (2u + 16u * (CVQ_MAX_QUEUES + 1))

/* Writes a STATS_GET for everything that the guest knows of; returns its length, 0 if that is nothing. */
uint32_t __must_check cvq_stats_request(const struct cvq_stats *stats, const struct cvq_limits *limits,
					uint8_t cmd[CVQ_MAX_STATS_COMMAND]);

/* Sets the offsets so that a device which has answered that request goes on from what was shown. @reply is as
 * for cvq_take_reply(), and stays as it is. False: it is no answer to @cmd. */
bool __must_check cvq_stats_rebase(struct cvq_stats *stats, const struct cvq_limits *limits,
				   const uint8_t *cmd, uint32_t len, const uint8_t *reply,
				   uint32_t reply_len);

/* Writes what was shown into the current node, and reads it. Loading sets the offsets for a device that
 * counts from 0, and leaves @stats->types. */
void cvq_stats_save(const struct cvq_stats *stats, const struct cvq_limits *limits, struct state_writer *w);
int __must_check cvq_stats_load(struct cvq_stats *stats, const struct cvq_limits *limits,
				struct state_node *node);

/* Tells what was shown, each counter as a sum over the queues, as an object "deviceStatistics"; nothing where
 * the guest has not asked. */
void cvq_stats_tell(const struct cvq_stats *stats, const struct cvq_limits *limits, struct facts *f);

/* The answer to a command that is passed through. */
struct cvq_reply {
	/* Bytes behind the ack; 0: as many as the command asks for, cvq_stats_len(). */
	uint32_t len;
	/* Makes the guest's answer of the device's, both without ack. False: it is no answer to this command.
	 * NULL: the guest gets every byte as it is. */
	bool (*take)(struct cvq_stats *stats, const struct cvq_limits *limits, const uint8_t *p, uint32_t len,
		     uint8_t *reply, uint32_t reply_len);
};

extern const struct cvq_reply cvq_stats_query, cvq_stats_get;
/* The check of STATS_GET, as those of checks.h. */
cvq_check_fn cvq_check_stats;
/* Bytes of the answer to a request that was checked. */
uint32_t cvq_stats_len(const uint8_t *p, uint32_t len);

#endif
