/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the operator wants of a migration away from here: where to, how long the guest may stand still, and
 * what to do with one that is too busy. */
#ifndef FERRY_MIGRATION_SOURCE_CONFIG_H
#define FERRY_MIGRATION_SOURCE_CONFIG_H

#include <stdint.h>

#include "migration/report.h"

/* What to do with a guest that writes memory faster than it can be sent. */
enum source_stalled { SOURCE_THROTTLE, SOURCE_STOP, SOURCE_CANCEL };

struct source_config {
	const char *to; /* channel address */
	int cancel_fd;  /* see channel.h */
	uint64_t downtime_limit_ns;
	enum source_stalled stalled;
	/* Called at each stage, each round, and about twice a second between; not while the guest stands
	 * still. May be NULL. */
	void (*progress)(void *opaque, const struct report *report);
	void *opaque;
};

#endif
