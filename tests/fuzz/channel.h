/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A channel whose peer is a buffer: all that it says is there from the beginning, then it hangs up. */
#ifndef FERRY_TESTS_FUZZ_CHANNEL_H
#define FERRY_TESTS_FUZZ_CHANNEL_H

#include "migration/arrivals.h"
#include "migration/channel.h"

struct fuzz_peer {
	const uint8_t *data;
	uint32_t len, pos;
	uint32_t max_piece;  /* bytes that come at once; 0: all */
	uint8_t said[65536]; /* to it */
	uint32_t n_said;
};

/* Of the next arrivals_take(). */
void fuzz_channel_set_peer(struct fuzz_peer *p);

#endif
