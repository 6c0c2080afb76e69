/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands as saved state. */
#ifndef FERRY_DEVICES_NET_CVQ_STATE_H
#define FERRY_DEVICES_NET_CVQ_STATE_H

#include "devices/net/cvq/cvq.h"
#include "vmm/state.h"

/*
 * Properties of the current node. Reading validates every value as cvq_check() would have: @limits are the
 * destination's. Every reason against it goes into the node's error, and then @store is as it was.
 */
void cvq_save(const struct cvq_store *store, struct state_writer *w);
int __must_check cvq_load(struct cvq_store *store, const struct cvq_limits *limits, struct state_node *node);

#endif
