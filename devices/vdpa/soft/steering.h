/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steering of the NIC in software: in which receive queue a packet belongs, and its hash (virtio 1.4,
 * "Automatic receive steering", "Receive-Side Scaling", "Inner Header Hash"). Plain data; the values come
 * from commands that ctrl.c has checked.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_STEERING_H
#define FERRY_DEVICES_VDPA_SOFT_STEERING_H

#include <stdbool.h>
#include <stdint.h>

#define SOFT_RSS_TABLE  128u
#define SOFT_RSS_KEY    40u
#define SOFT_HASH_TYPES 0x3fu /* IPv4 and IPv6: alone, TCP, UDP */
#define SOFT_FLOWS      256u  /* buckets of automatic steering */

struct soft_steering {
	bool rss;
	/* A port of several sources gives back a flow on the source of the pair that sent it. */
	bool by_source;
	unsigned int n_rx, n_tx; /* queues that are enabled */
	uint32_t hash_types, tunnel_types;
	uint8_t key[SOFT_RSS_KEY];
	uint16_t mask, unclassified;
	uint16_t table[SOFT_RSS_TABLE];
	uint8_t flows[SOFT_FLOWS]; /* pair that sent the flow last */
};

struct soft_hash {
	uint32_t value;
	uint16_t report; /* VIRTIO_NET_HASH_REPORT_*, 0: none */
};

/* Sets the state at DRIVER_OK: one pair, no hash. The port has @n_sources. */
void soft_steering_reset(struct soft_steering *s, unsigned int n_sources);
/* Returns how many pairs have a queue that is enabled. */
unsigned int soft_steering_pairs(const struct soft_steering *s);

/*
 * Hashes a frame of SOFT_MIN_FRAME bytes at least. The report is 0 if no enabled hash type fits the packet.
 */
struct soft_hash soft_steering_hash(const struct soft_steering *s, const uint8_t *frame, uint32_t len);
/* Returns the pair whose receive queue gets a packet that came from @source. */
unsigned int soft_steering_pair(const struct soft_steering *s, unsigned int source, const uint8_t *frame,
				uint32_t len, struct soft_hash hash);
/* Whether it matters on which pair the guest sends a flow. */
static inline bool soft_steering_learns(const struct soft_steering *s)
{
	return s->n_rx > 1 && !s->by_source;
}

/* Notes that the guest has sent a packet on @pair, so that its flow's answers go there. */
void soft_steering_learn(struct soft_steering *s, unsigned int pair, const uint8_t *frame, uint32_t len);

#endif
