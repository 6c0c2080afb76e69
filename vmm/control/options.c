/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of the subcommands that speak to a running Ferry. */
#define _GNU_SOURCE
#include "vmm/control/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/config.h"
#include "vmm/config_text.h"
#include "vmm/control/interface.h"

static int client_parse_number(const char *text, unsigned int max, unsigned int *v)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || n < 1 || n > max)
		return -EINVAL;
	*v = (unsigned int)n;
	return 0;
}

static int client_take_runtime_dir(struct client_options *o, const char *value, struct error *err)
{
	o->runtime_dir = value;
	return 0;
}

static int client_take_downtime(struct client_options *o, const char *value, struct error *err)
{
	if (client_parse_number(value, CLIENT_DOWNTIME_MAX_MS, &o->downtime_ms) == 0)
		return 0;
	error_add(err, "--downtime takes milliseconds from 1 to %u, not \"%s\"", CLIENT_DOWNTIME_MAX_MS,
		  value);
	return -EINVAL;
}

static int client_take_bandwidth(struct client_options *o, const char *value, struct error *err)
{
	if (strcmp(value, "none") == 0)
		return 0;
	if (config_parse_size(value, &o->bandwidth) == 0 && o->bandwidth >= CLIENT_BANDWIDTH_MIN &&
	    o->bandwidth <= CLIENT_BANDWIDTH_MAX)
		return 0;
	error_add(err, "--bandwidth takes bytes a second from 1M to 1T, such as 500M, or none; not \"%s\"",
		  value);
	return -EINVAL;
}

static int client_take_stalled(struct client_options *o, const char *value, struct error *err)
{
	static const char *const policies[] = { "throttle", "stop", "cancel" };

	o->stalled = value;
	if (config_parse_word(value, policies, ARRAY_SIZE(policies)) >= 0)
		return 0;
	error_add(err, "--stalled takes throttle, stop or cancel, not \"%s\"", value);
	return -EINVAL;
}

static int client_take_timeout(struct client_options *o, const char *value, struct error *err)
{
	if (client_parse_number(value, CLIENT_TIMEOUT_MAX_MS / 1000, &o->timeout_s) == 0)
		return 0;
	error_add(err, "--timeout takes seconds from 1 to %u, not \"%s\"", CLIENT_TIMEOUT_MAX_MS / 1000,
		  value);
	return -EINVAL;
}

static int client_take_report(struct client_options *o, const char *value, struct error *err)
{
	o->report = value;
	return 0;
}

static int client_take_to(struct client_options *o, const char *value, struct error *err)
{
	o->to = value;
	return 0;
}

static int client_take_ssh(struct client_options *o, const char *value, struct error *err)
{
	o->transport.ssh = value;
	return 0;
}

static int client_take_tls(struct client_options *o, const char *value, struct error *err)
{
	o->transport.tls_dir = value;
	return 0;
}

static int client_take_peer(struct client_options *o, const char *value, struct error *err)
{
	o->transport.peer = value;
	return 0;
}

static int client_take_peer_uid(struct client_options *o, const char *value, struct error *err)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(value, &end, 10);
	if (errno || *value < '0' || *value > '9' || *end || n >= TRANSPORT_ANY_UID) {
		error_add(err, "--peer-uid takes the number of a user, not \"%s\"", value);
		return -EINVAL;
	}
	o->transport.peer_uid = (uid_t)n;
	return 0;
}

/* The n-th is the option of bit n. */
static const struct {
	const char *name;
	/* NULL: it has no value. */
	int (*take)(struct client_options *o, const char *value, struct error *err);
} client_options[] = {
	{ "runtime-dir", client_take_runtime_dir },
	{ "downtime", client_take_downtime },
	{ "bandwidth", client_take_bandwidth },
	{ "stalled", client_take_stalled },
	{ "timeout", client_take_timeout },
	{ "report", client_take_report },
	{ "detach", NULL },
	{ "follow", NULL },
	{ "json", NULL },
	{ "to", client_take_to },
	{ "ssh", client_take_ssh },
	{ "peer-uid", client_take_peer_uid },
	{ "check", NULL },
	{ "tls", client_take_tls },
	{ "peer", client_take_peer },
};

#define CLIENT_N_OPTIONS ARRAY_SIZE(client_options)
/* The first of getopt()'s numbers for them: above all characters. */
#define CLIENT_FIRST 256

static int client_take(struct client_options *o, unsigned int known, int argc, char **argv, struct error *err)
{
	struct option options[CLIENT_N_OPTIONS + 1] = { 0 };
	unsigned int n = 0;
	int c;

	for (unsigned int i = 0; i < CLIENT_N_OPTIONS; i++) {
		if (known & 1u << i)
			options[n++] = (struct option){ .name = client_options[i].name,
							.has_arg = client_options[i].take ? required_argument
											  : no_argument,
							.val = CLIENT_FIRST + (int)i };
	}
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		unsigned int i = (unsigned int)c - CLIENT_FIRST;

		if (c < CLIENT_FIRST || i >= CLIENT_N_OPTIONS) {
			error_add(err, c == ':' ? "%s takes a value" : "no option \"%s\"", argv[optind - 1]);
			return -EINVAL;
		}
		o->given |= 1u << i;
		if (client_options[i].take && client_options[i].take(o, optarg, err) < 0)
			return -EINVAL;
	}
	return 0;
}

int client_parse(struct client_options *o, unsigned int known, int argc, char **argv, struct error *err)
{
	*o = (struct client_options){ .runtime_dir = CONFIG_RUNTIME_DIR,
				      .transport.peer_uid = TRANSPORT_ANY_UID };
	if (client_take(o, known, argc, argv, err) < 0)
		return -EINVAL;
	if (argc - optind != 1) {
		error_add(err, argc == optind ? "the name of the VM is missing" : "one VM at a time");
		return -EINVAL;
	}
	o->name = argv[optind];
	if (!config_name_valid(o->name)) {
		error_add(err, "\"%s\" cannot be the name of a VM", o->name);
		return -EINVAL;
	}
	o->transport.name = o->name;
	o->transport.detached = o->given & CLIENT_DETACH;
	return 0;
}

void client_limits_json(const struct client_options *o, char text[CLIENT_LIMITS_MAX])
{
	int n = 0;

	text[0] = '\0';
	if (o->given & CLIENT_DOWNTIME)
		n += snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"downtimeMs\":%u", o->downtime_ms);
	if (o->given & CLIENT_BANDWIDTH)
		n += snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"bandwidth\":%" PRIu64,
			      o->bandwidth);
	/* One of three words. */
	if (o->given & CLIENT_STALLED)
		snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"stalled\":\"%s\"", o->stalled);
}
