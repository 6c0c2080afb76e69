/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of the subcommands that speak to a running Ferry. */
#include "vmm/control/options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/config.h"
#include "vmm/config_text.h"
#include "vmm/control/interface.h"
#include "vmm/control/names.h"
#include "vmm/option.h"

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

static int client_take_compress(struct client_options *o, const char *value, struct error *err)
{
	static const char *const words[] = { "auto", "on", "off" };

	o->compress = value;
	if (config_parse_word(value, words, ARRAY_SIZE(words)) >= 0)
		return 0;
	error_add(err, "--compress takes auto, on or off, not \"%s\"", value);
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

/* By the option's id; switches have nothing to be taken. */
static int (*const client_options[N_OPTIONS])(struct client_options *o, const char *value,
					      struct error *err) = {
	[OPTION_RUNTIME_DIR] = client_take_runtime_dir,
	[OPTION_DOWNTIME] = client_take_downtime,
	[OPTION_BANDWIDTH] = client_take_bandwidth,
	[OPTION_STALLED] = client_take_stalled,
	[OPTION_COMPRESS] = client_take_compress,
	[OPTION_TIMEOUT] = client_take_timeout,
	[OPTION_REPORT] = client_take_report,
	[OPTION_TO] = client_take_to,
	[OPTION_SSH] = client_take_ssh,
	[OPTION_PEER_UID] = client_take_peer_uid,
	[OPTION_TLS] = client_take_tls,
	[OPTION_PEER] = client_take_peer,
};

_Static_assert(CLIENT_DOWNTIME_MS == 300 && CLIENT_DOWNTIME_MAX_MS == 60000, "as the help says");

static int client_take_name(struct client_options *o, enum command_id command, const char *name,
			    struct error *err)
{
	/* The usage shows it. */
	const bool several = strstr(command_table[command].operands, "...");
	const unsigned int max = several ? CLIENT_MAX_NAMES : 1;

	if (o->n_names == max) {
		error_add(err, "the command takes %u VM%s at a time", max, max == 1 ? "" : "s");
		return -EINVAL;
	}
	if (!config_name_valid(name) && !(several && names_is_pattern(name))) {
		error_add(err, "\"%s\" cannot be the name of a VM", name);
		return -EINVAL;
	}
	o->names[o->n_names++] = name;
	o->name = o->names[0];
	return 0;
}

static int client_take(struct client_options *o, enum command_id command, const struct option_item *item,
		       struct error *err)
{
	if (!item->row)
		return client_take_name(o, command, item->value, err);
	if (!item->row->value)
		return 0;
	assert(client_options[item->row->id] && "an option of a client needs a row here");
	return client_options[item->row->id](o, item->value, err);
}

int client_parse(struct client_options *o, enum command_id command, int argc, char **argv, struct error *err)
{
	struct option_line line;
	struct option_item item;
	int ret;

	*o = (struct client_options){ .runtime_dir = CONFIG_RUNTIME_DIR,
				      .transport.peer_uid = TRANSPORT_ANY_UID };
	option_begin(&line, command, argc, argv);
	while ((ret = option_next(&line, &item, err)) == 1) {
		if (client_take(o, command, &item, err) < 0)
			return -EINVAL;
	}
	if (ret < 0 || option_need(command, line.given, err) < 0)
		return -EINVAL;
	o->given = line.given;
	if (!command_table[command].operands)
		return 0;
	/* The usage has those in brackets that can be left out. */
	if (!o->name && command_table[command].operands[0] != '[') {
		error_add(err, "the name of the VM is missing");
		return -EINVAL;
	}
	o->transport.name = o->name;
	o->transport.detached = client_has(o, OPTION_DETACH);
	return 0;
}

_Static_assert(CLIENT_NAME_MAX == 64 + 1, "as config_name_valid() has it");

/* What the names become. */
struct client_search {
	struct client_options *o;
	const char *pattern;
	unsigned int n_found; /* of @pattern */
	unsigned int n;
	const char *names[CLIENT_MAX_NAMES];
	struct error *err; /* is set where there are too many */
};

static void client_add_name(struct client_search *s, const char *name)
{
	for (unsigned int i = 0; i < s->n; i++) {
		if (strcmp(s->names[i], name) == 0)
			return;
	}
	if (s->n < CLIENT_MAX_NAMES)
		s->names[s->n++] = name;
	else if (!s->err->text[0])
		error_add(s->err, "the command takes %u VM%s at a time", CLIENT_MAX_NAMES, "s");
}

static void client_try_name(const char *name, void *opaque)
{
	struct client_search *s = opaque;
	const unsigned int n = s->n;

	if (!names_match(s->pattern, name) || !names_is_running(s->o->runtime_dir, name))
		return;
	s->n_found++;
	client_add_name(s, name);
	if (s->n > n) {
		snprintf(s->o->found[n], CLIENT_NAME_MAX, "%s", name);
		s->names[n] = s->o->found[n];
	}
}

int client_find_names(struct client_options *o, struct error *err)
{
	struct client_search s = { .o = o, .err = err };

	for (unsigned int i = 0; i < o->n_names; i++) {
		int ret = 0;

		s.pattern = o->names[i];
		s.n_found = 0;
		if (!names_is_pattern(s.pattern)) {
			client_add_name(&s, s.pattern);
			continue;
		}
		ret = names_each(o->runtime_dir, client_try_name, &s, err);
		if (ret == 0 && s.n_found == 0) {
			error_add(err, "no VM in %s is called as in \"%s\"", o->runtime_dir, s.pattern);
			ret = -ENOENT;
		}
		if (ret < 0 || err->text[0])
			return ret < 0 ? ret : -E2BIG;
	}
	memcpy(o->names, s.names, sizeof(s.names));
	o->n_names = s.n;
	o->name = o->names[0];
	return 0;
}

void client_limits_json(const struct client_options *o, char text[CLIENT_LIMITS_MAX])
{
	int n = 0;

	text[0] = '\0';
	if (client_has(o, OPTION_DOWNTIME))
		n += snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"downtimeMs\":%u", o->downtime_ms);
	if (client_has(o, OPTION_BANDWIDTH))
		n += snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"bandwidth\":%" PRIu64,
			      o->bandwidth);
	/* One of three words each. */
	if (client_has(o, OPTION_STALLED))
		n += snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"stalled\":\"%s\"", o->stalled);
	if (client_has(o, OPTION_COMPRESS))
		snprintf(text + n, CLIENT_LIMITS_MAX - (size_t)n, ",\"compress\":\"%s\"", o->compress);
}
