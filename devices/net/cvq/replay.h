/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replay: the commands that bring a device from one recorded state to another. */
#ifndef FERRY_DEVICES_NET_CVQ_REPLAY_H
#define FERRY_DEVICES_NET_CVQ_REPLAY_H

#include "devices/net/cvq/cvq.h"

/*
 * A walk through the commands that bring a device from state @from into state @to: none is superfluous, none
 * is missing, and their order is one that devices take. For a fresh device @from is all defaults; otherwise
 * @to is later in the same life, without a reset of the driver between, for which the caller restarts the
 * device. Neither store may change until the end.
 */
struct cvq_replay {
	const struct cvq_store *from, *to;
	unsigned int stage;
	unsigned int index; /* the stage's own */
};

void cvq_replay_init(struct cvq_replay *replay, const struct cvq_store *from, const struct cvq_store *to);
/* Writes the next command with its header to @cmd, which has room for CVQ_MAX_COMMAND bytes. Returns its
 * length, 0 at the end. */
uint32_t __must_check cvq_replay_next(struct cvq_replay *replay, uint8_t *cmd);

/*
 * Takes out of @to what would attract traffic that is still another device's, on the same switch: a MAC
 * address other than @from's, further unicast addresses, and modes that let all of them through. Where the
 * address is kept back, so are VLANs, which some devices combine with the address that they have.
 */
void cvq_hold_back(struct cvq_store *to, const struct cvq_store *from);

#endif
