/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration away from here as the operator wants it: where the guest goes, how long it may stand still, and
 * what becomes of one that is too busy. */
#ifndef FERRY_MIGRATION_SOURCE_CONFIG_H
#define FERRY_MIGRATION_SOURCE_CONFIG_H

#include <stdint.h>

#include "migration/report.h"

/* Policies for a guest that writes memory faster than it can be sent: its vCPUs are kept back; it is stopped,
 * and stands still for longer than was asked for; or it stays. */
enum source_stalled { SOURCE_THROTTLE, SOURCE_STOP, SOURCE_CANCEL };

struct source_config {
	const char *to; /* channel address */
	int cancel_fd;  /* see channel.h */
	uint64_t downtime_limit_ns;
	enum source_stalled stalled;
	/* Called at each stage, each round, and about twice a second between; not while the guest stands
	 * still, when it would cost downtime. On the migration's thread. May be NULL. */
	void (*progress)(void *opaque, const struct report *report);
	void *opaque;
};

#endif
