/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rounds of a migration while the guest runs: they send its memory and its devices' state ahead, and here
 * alone is decided when the guest stops. All of it is on the thread of the migration. Functions return 0, or
 * -errno with the reason in @err.
 */
#ifndef FERRY_MIGRATION_ROUNDS_H
#define FERRY_MIGRATION_ROUNDS_H

#include "migration/dirty.h"
#include "migration/outgoing.h"
#include "migration/ram.h"

/* The least that was left, of the rounds within the downtime limit, as the time that sending it takes; and
 * those rounds that did not halve it. Before the first of them: ROUNDS_LOW_NONE. */
struct rounds_low {
	uint64_t least_ns;
	unsigned int n_rounds;
};
#define ROUNDS_LOW_NONE ((struct rounds_low){ .least_ns = UINT64_MAX })

/* Zeroed but for @out, before the first round. */
struct rounds {
	struct outgoing *out;
	struct dirty dirty;
	struct ram_pass pass; /* the latest */
	/* In the report, NULL before the first; and when it began, which is when the log was looked at. */
	struct report_round *last;
	uint64_t last_ns;
	/* Bytes a second, smoothed over passes; 0: not known yet. */
	uint64_t bandwidth;
	/* The least that was left after a round, and the rounds since then. */
	uint64_t least_remaining;
	unsigned int n_stalled;
	struct rounds_low low;
	/* Answers that the destination owes: to SYNC, sent at @asked_ns or 0, and to WARM, of so many bytes.
	 */
	uint64_t asked_ns;
	unsigned int n_warm_asked;
	uint64_t warm_asked_bytes;
	/* Rounds that a device put off the stop: with new state, or by not answering at once. */
	unsigned int n_warm_rounds, n_slow_rounds;
	unsigned int throttle_step;
};

/* Switches the log of writes on, and sends all memory once. */
int __must_check rounds_first_memory(struct rounds *r, struct error *err);

/*
 * Sends all devices' state once. After the memory, not before it: where both hosts share a switch, two
 * devices with one address are up for a short time only; and what the destination takes long for is sent
 * again in the rounds that follow.
 */
int __must_check rounds_first_devices(struct rounds *r, struct error *err);

/* Sends what changes, again and again until the guest is to stop. Keeps its vCPUs back where the operator
 * wants that of a guest that is too busy. */
int __must_check rounds_repeat(struct rounds *r, struct error *err);

/*
 * Notes a round that leaves what takes @remaining_ns to send, which fits the downtime limit. Returns whether
 * that is about as little as it gets: another round costs one answer of the destination's, while the guest
 * runs; each page that it spares the last one costs the guest.
 */
bool rounds_low_reached(struct rounds_low *low, uint64_t remaining_ns);

/* How long sending the rest takes, as far as can be known; UINT64_MAX: it cannot. */
uint64_t rounds_expected_ns(const struct rounds *r);

/* Sends the rest, of a guest that stands still. */
int __must_check rounds_last(struct rounds *r, struct error *err);

/* The end, of which there is one in each migration, however far it came. rounds_stop(): the guest goes on
 * here or may have to, with its vCPUs not kept back and no log of its writes. */
void rounds_stop(struct rounds *r);
/* The guest has moved: KVM would build this VM's memory anew to end the log, on a host that may be the one
 * where the guest begins, so the log stays on. */
void rounds_forget(struct rounds *r);

#endif
