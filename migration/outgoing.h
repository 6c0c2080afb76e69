/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two halves of a migration's source share: source.c (its stages, the switchover, the way back) and
 * rounds.c (rounds while the guest runs, and the one place that decides when it stops). All of it is
 * on the thread of the migration. 0 or -errno with the reason in @err.
 */
#ifndef FERRY_MIGRATION_OUTGOING_H
#define FERRY_MIGRATION_OUTGOING_H

#include "migration/ram.h"
#include "migration/source.h"

/* For an answer while the guest runs: it loses nothing by waiting, and a peer that has gone is noticed at
 * once. */
#define SOURCE_RUNNING_TIMEOUT_MS 60000

struct source {
	struct vm *vm;
	const struct source_config *config;
	struct report *report;
	struct channel channel;
	struct stream stream;
	struct dirty dirty;
	struct ram_pass pass;
	uint64_t start_ns;

	/* When to stop. */
	uint64_t bandwidth; /* bytes a second, smoothed over passes; 0: not known yet */
	uint64_t least_remaining;
	unsigned int n_stalled;
	uint64_t least_fitting; /* the least remaining, of the rounds within the limit */
	unsigned int n_fitting; /* rounds within the limit that did not halve it */
	unsigned int n_warm_rounds;
	unsigned int n_slow_rounds; /* after which a device did not answer at once */
	unsigned int throttle_step;

	/* The guest stands still. */
	bool vm_paused;
	bool devices_paused;
	bool devices_tracked; /* or some of them */
	bool committed;
	uint64_t paused_ns;
	uint64_t mark_ns; /* end of the part of the downtime noted last */
};

/* source.c */

/* Tells the caller of source_migrate() how far it is, unless the guest stands still. */
void source_progress(struct source *s);
/* Whether there is still a guest. */
int __must_check source_check_vm(struct source *s, struct error *err);
/* Whether it makes sense to go on: here, at the destination, and for the operator. */
int __must_check source_check(struct source *s, struct error *err);
/* Closes @w's tree and sends it as one frame. */
int __must_check source_send_tree(struct source *s, enum stream_type type, uint64_t arg,
				  struct state_writer *w, struct error *err);

/* Waits until the devices have settled, or @deadline_ns: then -ETIMEDOUT, with the device's name in @err. */
int __must_check source_settle(struct source *s, uint64_t deadline_ns, struct error *err);

/* rounds.c */

/* One pass over what is marked. */
int __must_check source_round(struct source *s, struct error *err);
/* The stages: all of memory once; all devices' state once; and both again until the guest is to stop. */
int __must_check source_first_round(struct source *s, struct error *err);
/*
 * After the first round, not before it: where both hosts share a switch, two devices with one address are up
 * for a short time only; and what the destination takes long for is sent again in the rounds that follow.
 */
int __must_check source_first_warm(struct source *s, struct error *err);
int __must_check source_rounds(struct source *s, struct error *err);
/* How long sending the rest takes, as far as can be known; UINT64_MAX: it cannot. */
uint64_t source_expected_ns(const struct source *s);

#endif
