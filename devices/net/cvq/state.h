/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of control commands as saved state. */
#ifndef FERRY_DEVICES_NET_CVQ_STATE_H
#define FERRY_DEVICES_NET_CVQ_STATE_H

#include "devices/net/cvq/cvq.h"
#include "vmm/state.h"

/*
 * The record as properties of the current node. Loading checks every value as cvq_check() would have, against
 * the destination's @limits, with @cmd as room. Every reason against a value goes into the node's error, and
 * then @store is as after a reset: -errno.
 */
void cvq_save(const struct cvq_store *store, struct state_writer *w);
int __must_check cvq_load(struct cvq_store *store, uint8_t cmd[CVQ_MAX_COMMAND],
			  const struct cvq_limits *limits, struct state_node *node);

#endif
