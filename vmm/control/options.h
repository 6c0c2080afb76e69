/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands that speak to a running Ferry are asked for: the name of a VM, and options. */
#ifndef FERRY_VMM_CONTROL_OPTIONS_H
#define FERRY_VMM_CONTROL_OPTIONS_H

#include "vmm/control/transport.h"
#include "vmm/option_table.h"

/* VMs that one command can name, and bytes of a name with its NUL. */
#define CLIENT_MAX_NAMES 256u
#define CLIENT_NAME_MAX  65u

/* Texts are the arguments themselves. */
struct client_options {
	const char *name; /* the first one's, of a command that takes several */
	unsigned int n_names;
	const char *names[CLIENT_MAX_NAMES];
	/* Of the names those that a pattern has found. */
	char found[CLIENT_MAX_NAMES][CLIENT_NAME_MAX];
	const char *runtime_dir;
	const char *report; /* a file; NULL: none */
	uint64_t given;     /* options, as a set of OPTION_BIT() */
	unsigned int downtime_ms, timeout_s;
	uint64_t bandwidth; /* bytes a second; 0: no limit */
	const char *stalled, *compress;
	const char *to;
	struct transport_options transport;
};

/* Reads the arguments of a subcommand, which begin with its own name: one VM's name, if it has operands, or
 * several or patterns for them, if these end in dots, and its options. Returns 0, or -EINVAL with what is
 * wrong. */
int __must_check client_parse(struct client_options *o, enum command_id command, int argc, char **argv,
			      struct error *err);

/* Puts the VMs that run, and that a pattern among the names stands for, in its place, none of them twice. 0,
 * or -errno with the reason: -ENOENT for a pattern without any. */
int __must_check client_find_names(struct client_options *o, struct error *err);

/* Whether an option was given. */
static inline bool client_has(const struct client_options *o, enum option_id id)
{
	return o->given & OPTION_BIT(id);
}

/* Writes what was given of a migration's limits as members of a JSON object, each with a comma before it. */
#define CLIENT_LIMITS_MAX 192u
void client_limits_json(const struct client_options *o, char text[CLIENT_LIMITS_MAX]);

#endif
