/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In which receive queue a packet of the NIC in software belongs, and its hash (virtio 1.4, "Automatic
 * receive steering", "Receive-Side Scaling", "Inner Header Hash"). Plain data; the values come from commands
 * that ctrl.c has checked.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_STEERING_H
#define FERRY_DEVICES_VDPA_SOFT_STEERING_H

#include <stdbool.h>
#include <stdint.h>

#define SOFT_RSS_TABLE  128u
#define SOFT_RSS_KEY    40u
#define SOFT_HASH_TYPES 0x3fu /* IPv4 and IPv6, alone, with TCP, with UDP */
#define SOFT_FLOWS      256u  /* buckets of automatic steering */

struct soft_steering {
	bool rss;
	bool by_source;          /* the port keeps a flow in the source of the pair on which it was sent */
	unsigned int n_rx, n_tx; /* queues that are enabled */
	uint32_t hash_types, tunnel_types;
	uint8_t key[SOFT_RSS_KEY];
	uint16_t mask, unclassified;
	uint16_t table[SOFT_RSS_TABLE];
	uint8_t flows[SOFT_FLOWS]; /* pair on which a flow was sent last */
};

struct soft_hash {
	uint32_t value;
	uint16_t report; /* VIRTIO_NET_HASH_REPORT_*, 0: none */
};

/* One pair, no hash. @n_sources: of the port. */
void soft_steering_reset(struct soft_steering *s, unsigned int n_sources);
/* How many pairs have a queue that is enabled. */
unsigned int soft_steering_pairs(const struct soft_steering *s);

/* Frames have SOFT_MIN_FRAME bytes at least. No hash type enabled: there is no report. */
struct soft_hash soft_steering_hash(const struct soft_steering *s, const uint8_t *frame, uint32_t len);
/* The pair in whose receive queue a packet belongs that came from this source. */
unsigned int soft_steering_pair(const struct soft_steering *s, unsigned int source, const uint8_t *frame,
				uint32_t len, struct soft_hash hash);
/* The guest has sent a packet on @pair: its flow's answers go there. */
void soft_steering_learn(struct soft_steering *s, unsigned int pair, const uint8_t *frame, uint32_t len);

#endif
