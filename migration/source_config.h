/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration away from here as the operator wants it: where the guest goes, how long it may stand still,
 * what becomes of one that is too busy, and how much of a network and of time all of it may take. */
#ifndef FERRY_MIGRATION_SOURCE_CONFIG_H
#define FERRY_MIGRATION_SOURCE_CONFIG_H

#include <stdint.h>

#include "migration/report.h"

/* Policies for a guest that writes memory faster than it can be sent: its vCPUs are kept back; it is stopped,
 * and stands still for longer than was asked for; or it stays. */
enum source_stalled { SOURCE_THROTTLE, SOURCE_STOP, SOURCE_CANCEL };

/* When memory is compressed: where the connection is slower than that, always, or never. */
enum source_compress { SOURCE_COMPRESS_AUTO, SOURCE_COMPRESS_ON, SOURCE_COMPRESS_OFF };

/* Names of the policies. */
#define SOURCE_N_STALLED  3u
#define SOURCE_N_COMPRESS 3u
extern const char *const source_stalled_names[SOURCE_N_STALLED];
extern const char *const source_compress_names[SOURCE_N_COMPRESS];

struct source_config {
	/* The connection to the destination, see channel_adopt(). source_migrate() owns it. */
	int fd;
	const char *to; /* the destination's name, for the report; may be NULL */
	int cancel_fd;  /* see channel.h */
	/* These three may be changed by any thread while it runs: each is looked at again after each round,
	 * or each piece of memory. */
	_Atomic uint64_t downtime_limit_ns;
	_Atomic uint64_t bandwidth; /* bytes a second while the guest runs, on average; 0: no limit */
	_Atomic enum source_stalled stalled;
	/* An eventfd that tells of such a change, for a wait that the bandwidth demands; -1: none comes. */
	int changed_fd;
	enum source_compress compress;
	/* From the beginning to COMMIT; what takes longer is given up. 0: no limit. */
	uint64_t timeout_ns;
	/* Called at each stage, each round, and about twice a second between; not while the guest stands
	 * still, when it would cost downtime. On the migration's thread. May be NULL. */
	void (*progress)(void *opaque, const struct report *report);
	void *opaque;
};

#endif
