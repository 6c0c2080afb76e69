/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that bring a device from one recorded state to another. */
#ifndef FERRY_DEVICES_NET_CVQ_REPLAY_H
#define FERRY_DEVICES_NET_CVQ_REPLAY_H

#include "devices/net/cvq/cvq.h"

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

#endif
