/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of control commands in words, a family each: what a person is told of a NIC. A row of the
 * command table names its words beside its check; what a device has never been told has none.
 */
#ifndef FERRY_DEVICES_NET_CVQ_WORDS_H
#define FERRY_DEVICES_NET_CVQ_WORDS_H

#include "devices/net/cvq/store.h"
#include "vmm/facts.h"

/* Adds what @store has of this class and command to the list that is open, an item or several. Lists of a
 * guest's are cut at a bound, and the last item says how much is missing. */
typedef void cvq_words_fn(const struct cvq_store *store, uint8_t class, uint8_t command, struct facts *f);

cvq_words_fn cvq_words_mode;
cvq_words_fn cvq_words_mac;
cvq_words_fn cvq_words_macs;
cvq_words_fn cvq_words_vlans;
cvq_words_fn cvq_words_pairs;
cvq_words_fn cvq_words_rss;
cvq_words_fn cvq_words_hash;
cvq_words_fn cvq_words_contexts;
cvq_words_fn cvq_words_offloads;
cvq_words_fn cvq_words_tunnel;
cvq_words_fn cvq_words_coal;
cvq_words_fn cvq_words_coal_queues;

/* Addresses of each MAC table, ranges of VLANs, and entries of an RSS table that are told at most. */
#define CVQ_WORDS_MACS    16u
#define CVQ_WORDS_RANGES  64u
#define CVQ_WORDS_ENTRIES 64u

#endif
