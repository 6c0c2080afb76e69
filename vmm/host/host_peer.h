/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of a move, asked over ssh what its own "ferry doctor" finds. */
#ifndef FERRY_VMM_HOST_HOST_PEER_H
#define FERRY_VMM_HOST_HOST_PEER_H

#include "vmm/control/transport.h"
#include "vmm/host/host_report.h"

/* The moments between which the other host has looked at its clock, microseconds since 1970. */
struct host_moments {
	uint64_t from_us, to_us;
};

/*
 * Runs "ferry doctor --json" at @host, "[USER@]HOST[:PORT]", and reads what it says, as host_parse() does.
 * Waits for no more than a minute, the connection included. -errno with the reason; ssh says on stderr what
 * it has to say.
 */
int __must_check host_peer_ask(struct host_report *r, struct host_moments *moments, const char *host,
			       const struct transport_options *options, struct error *err);

#endif
