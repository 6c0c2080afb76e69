/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts' reports, and what would stop a guest from moving from the one to the other. */
#ifndef FERRY_VMM_APP_DOCTOR_COMPARE_H
#define FERRY_VMM_APP_DOCTOR_COMPARE_H

#include "vmm/host/host_peer.h"

/*
 * Adds to @r, this host's report, what @peer lacks for a guest of @mem bytes from here, by the rules that a
 * destination has: "peer", "peer version", "peer cpu", "peer memory", "peer clock" and "peer NICs", and each
 * check that fails there. @host: what the peer is called; @moments: when it was asked. Plain data, any
 * thread.
 */
void doctor_compare(struct host_report *r, const struct host_report *peer, const char *host,
		    const struct host_moments *moments, uint64_t mem);

#endif
