/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of ferry-tls, which another program writes: names and numbers, nothing clever. */
#include "vmm/tls/options.h"

#include <errno.h>
#include <stdlib.h>

const char tls_usage[] =
	"usage: ferry-tls connect|accept|door --dir DIR [--host HOST] [--peer NAME]\n"
	"                 [--place HOST:PORT | --socket FD] --result FD\n"
	"                 [--timeout MILLISECONDS] [--kernel on|off]\n"
	"\n"
	"Makes a connected TCP socket a TLS 1.3 connection of two ends that know each other, and hands it "
	"back.\n"
	"ferry starts this program for --to tls:HOST:PORT and --from tls:HOST:PORT.\n"
	"\n"
	"  --dir DIR       ca.pem, cert.pem and key.pem: who is trusted, who this end is, and its key\n"
	"  --host HOST     a name or an address that the other end's certificate must have (connect needs "
	"it)\n"
	"  --peer NAME     another name that the other end's certificate must have\n"
	"  --place PLACE   HOST:PORT to connect to, or for a door to listen at\n"
	"  --socket FD     the TCP socket's descriptor (default: 0)\n"
	"  --result FD     the descriptor of a SOCK_SEQPACKET socket that the result goes to\n"
	"  --timeout N     milliseconds for the whole handshake (default: 10000)\n"
	"  --kernel on|off whether the kernel encrypts, where it can (default: on)\n";

static const char *const tls_roles[] = {
	[TLS_CONNECT] = "connect", [TLS_ACCEPT] = "accept", [TLS_DOOR] = "door"
};

const char *tls_role_name(enum tls_role role)
{
	return tls_roles[role];
}

static int tls_take_role(struct tls_options *o, const char *word)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(tls_roles); i++) {
		if (strcmp(word, tls_roles[i]) == 0) {
			o->role = (enum tls_role)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Reads a decimal number up to @max. */
static int tls_parse_number(const char *text, uint32_t max, uint32_t *value)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] < '0' || text[0] > '9' || v > max)
		return -EINVAL;
	*value = (uint32_t)v;
	return 0;
}

static int tls_take_dir(struct tls_options *o, const char *value)
{
	o->dir = value;
	return 0;
}

static int tls_take_host(struct tls_options *o, const char *value)
{
	o->host = value;
	return 0;
}

static int tls_take_peer(struct tls_options *o, const char *value)
{
	o->peer = value;
	return 0;
}

static int tls_take_place(struct tls_options *o, const char *value)
{
	o->place = value;
	return 0;
}

static int tls_take_fd(int *fd, const char *value)
{
	uint32_t v;

	if (tls_parse_number(value, INT32_MAX, &v))
		return -EINVAL;
	*fd = (int)v;
	return 0;
}

static int tls_take_socket(struct tls_options *o, const char *value)
{
	return tls_take_fd(&o->socket_fd, value);
}

static int tls_take_result(struct tls_options *o, const char *value)
{
	return tls_take_fd(&o->result_fd, value);
}

static int tls_take_timeout(struct tls_options *o, const char *value)
{
	return tls_parse_number(value, 3600000, &o->timeout_ms);
}

static int tls_take_kernel(struct tls_options *o, const char *value)
{
	o->kernel = strcmp(value, "on") == 0;
	return o->kernel || strcmp(value, "off") == 0 ? 0 : -EINVAL;
}

static const struct tls_option {
	const char *name;
	int (*take)(struct tls_options *o, const char *value);
} tls_option_table[] = {
	{ "--dir", tls_take_dir },         { "--host", tls_take_host },     { "--peer", tls_take_peer },
	{ "--place", tls_take_place },     { "--socket", tls_take_socket }, { "--result", tls_take_result },
	{ "--timeout", tls_take_timeout }, { "--kernel", tls_take_kernel },
};

static int tls_option_take(struct tls_options *o, const char *name, const char *value, struct error *err)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(tls_option_table); i++) {
		if (strcmp(tls_option_table[i].name, name) != 0)
			continue;
		if (value && tls_option_table[i].take(o, value) == 0)
			return 0;
		error_add(err, "%s: %s", name, value ? "not a value that it takes" : "its value is missing");
		return -EINVAL;
	}
	error_add(err, "there is no option %s", name);
	return -EINVAL;
}

int tls_options_parse(struct tls_options *o, int argc, char **argv, struct error *err)
{
	memset(o, 0, sizeof(*o));
	o->result_fd = -1;
	o->timeout_ms = TLS_TIMEOUT_MS;
	o->kernel = true;
	if (argc < 2 || tls_take_role(o, argv[1])) {
		error_add(err, "the first word is connect, accept or door");
		return -EINVAL;
	}
	for (int i = 2; i < argc; i += 2) {
		if (tls_option_take(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL, err))
			return -EINVAL;
	}
	if (!o->dir || o->result_fd < 0 || (o->role == TLS_CONNECT && !o->host)) {
		error_add(err, "%s is missing", !o->dir ? "--dir" : o->result_fd < 0 ? "--result" : "--host");
		return -EINVAL;
	}
	return 0;
}
