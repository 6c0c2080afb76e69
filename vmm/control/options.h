/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands that speak to a running Ferry are asked for: the name of a VM, and options. */
#ifndef FERRY_VMM_CONTROL_OPTIONS_H
#define FERRY_VMM_CONTROL_OPTIONS_H

#include "vmm/control/transport.h"

/* Options, as bits: which of them a subcommand knows. */
enum client_option {
	CLIENT_RUNTIME_DIR = 1u << 0,
	CLIENT_DOWNTIME = 1u << 1,
	CLIENT_BANDWIDTH = 1u << 2,
	CLIENT_STALLED = 1u << 3,
	CLIENT_TIMEOUT = 1u << 4,
	CLIENT_REPORT = 1u << 5,
	CLIENT_DETACH = 1u << 6,
	CLIENT_FOLLOW = 1u << 7,
	CLIENT_JSON = 1u << 8,
	CLIENT_TO = 1u << 9,
	CLIENT_SSH = 1u << 10,
	CLIENT_PEER_UID = 1u << 11,
	CLIENT_CHECK = 1u << 12,
	CLIENT_TLS = 1u << 13,
	CLIENT_PEER = 1u << 14,
};

/* Texts are the arguments themselves. */
struct client_options {
	const char *name;
	const char *runtime_dir;
	const char *report; /* a file; NULL: none */
	/* What was given of these. */
	unsigned int given;
	unsigned int downtime_ms, timeout_s;
	uint64_t bandwidth; /* bytes a second; 0: no limit */
	const char *stalled;
	const char *to;
	struct transport_options transport;
};

/*
 * Reads the arguments of a subcommand, which begin with its own name: one VM's name, and options of @known.
 * Returns 0, or -EINVAL with what is wrong.
 */
int __must_check client_parse(struct client_options *o, unsigned int known, int argc, char **argv,
			      struct error *err);

/* Writes what was given of a migration's limits as members of a JSON object, each with a comma before it. */
#define CLIENT_LIMITS_MAX 192u
void client_limits_json(const struct client_options *o, char text[CLIENT_LIMITS_MAX]);

#endif
