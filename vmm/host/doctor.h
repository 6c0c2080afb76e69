/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry doctor": what this host has for a guest, and what stands against a move to another. */
#ifndef FERRY_VMM_HOST_DOCTOR_H
#define FERRY_VMM_HOST_DOCTOR_H

#include "vmm/host/host_look.h"
#include "vmm/host/host_peer.h"

/* What the doctor needs of parts that stand above it. */
struct doctor_parts {
	struct host_probe probe;
	/* Versions of the migration stream. */
	unsigned int stream_oldest, stream_newest;
	/* Adds to @r, this host's report, what would stop a guest of @mem bytes from moving to @peer, whose
	 * name is @host. */
	void (*compare)(struct host_report *r, const struct host_report *peer, const char *host,
			const struct host_moments *moments, uint64_t mem);
};

/* Looks at the host into @r, zeroed. Changes nothing on it. */
void doctor_look(struct host_report *r, const struct host_look *look);

/* Arguments begin with the subcommand's name. Returns the exit code: 0 only if a guest could run, and move if
 * that is asked. */
int doctor_run(int argc, char **argv, const struct doctor_parts *parts);

#endif
