/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A NIC as it is at one moment, copied out by its thread: whoever asks puts it in words on a thread of its
 * own, and the NIC's, which packets wait for, does no more than copy.
 */
#ifndef FERRY_DEVICES_NET_VIEW_H
#define FERRY_DEVICES_NET_VIEW_H

#include "devices/net/nic.h"

/* What a view has of the NIC beside what each has: the control queue's record is a hundred KiB. */
enum net_view_of { NET_VIEW_COUNTS, NET_VIEW_ALL };

struct net_queue_view {
	uint16_t guest_size;  /* of the guest's ring; 0: the driver has none here */
	uint16_t device_size; /* of the shadow ring; 0: there is none */
	struct net_counts counts;
};

struct net_view {
	struct net_left_call left;
	struct net *net;
	enum net_view_of of;

	enum net_phase phase;
	/* Why it is not in passthrough, or has stopped; empty: there is nothing to say. */
	char why[256];
	uint64_t features, offered; /* @features: 0 without a driver */
	uint8_t config[NET_CONFIG_LEN];
	bool link_up;
	bool asked_to_announce;     /* the guest was, and has not answered */
	unsigned int announcements; /* rounds of Ferry's own that are left */
	unsigned int n_pairs, n_data;
	bool has_ctrl;
	uint64_t outcomes[NET_CTRL_N_OUTCOMES];
	/* Data queues, and the control queue behind them if there is one. */
	unsigned int n_queues;
	struct net_queue_view queues[2 * NET_MAX_PAIRS + 1];
	/* With NET_VIEW_ALL. */
	struct cvq_limits limits;
	struct cvq_store store;
	struct cvq_stats stats;
};

/*
 * Asks the NIC's thread for a view, and waits until @until_ns (now_ns()) at most. Any thread. NULL with the
 * reason: the NIC's thread is kept by its device, or memory is short. net_view_free() frees it.
 */
struct net_view *__must_check net_view_ask(struct net *net, enum net_view_of of, uint64_t until_ns,
					   struct error *err);
void net_view_free(struct net_view *v);

/* Frees the views that nobody waits for, once the loop has ended; the NIC goes. */
void net_views_exit(struct net *net);

#endif
