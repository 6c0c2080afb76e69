/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of "run" and "receive" as one table, from which both the parser and the help work. */
#include "vmm/config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/config_text.h"
#include "vmm/tls/address.h"

enum { CONFIG_RUN = 1u << 0, CONFIG_RECEIVE = 1u << 1, CONFIG_BOTH = CONFIG_RUN | CONFIG_RECEIVE };

/* Ten years: more is a clock that was never set, which "any" is for. */
#define CONFIG_MAX_CLOCK_SKEW 315360000u

struct config_option {
	const char *name;
	const char *value; /* its placeholder in the help */
	const char *help;
	unsigned int subcommands; /* that know it */
	unsigned int needed;      /* that cannot do without */
	bool repeat;
	/* NULL: @text is the offset of a const char * in struct vm_config, which becomes the value. */
	int (*parse)(struct vm_config *config, char *value, struct error *err);
	size_t text;
};

static int config_name(struct vm_config *config, char *value, struct error *err)
{
	if (!config_name_valid(value)) {
		error_add(err, "--name \"%s\": 1 to 64 letters, digits, '-', '_' and '.', not first '.'",
			  value);
		return -EINVAL;
	}
	config->name = value;
	return 0;
}

static int config_mem(struct vm_config *config, char *value, struct error *err)
{
	if (config_parse_size(value, &config->mem) < 0) {
		error_add(err, "--mem \"%s\": a number with K, M, G or T is needed, such as 512M or 4G",
			  value);
		return -EINVAL;
	}
	if (config->mem < CONFIG_MIN_MEM || config->mem > CONFIG_MAX_MEM || config->mem % PAGE_SIZE) {
		error_add(err, "--mem \"%s\": %lluM to %lluG in steps of 4K are possible", value,
			  (unsigned long long)(CONFIG_MIN_MEM >> 20),
			  (unsigned long long)(CONFIG_MAX_MEM >> 30));
		return -EINVAL;
	}
	return 0;
}

static int config_cpus(struct vm_config *config, char *value, struct error *err)
{
	uint64_t v;

	if (config_parse_size(value, &v) < 0 || v < 1 || v > CONFIG_MAX_CPUS) {
		error_add(err, "--cpus \"%s\": 1 to %u are possible", value, CONFIG_MAX_CPUS);
		return -EINVAL;
	}
	config->cpus = (unsigned int)v;
	return 0;
}

static int config_cpu(struct vm_config *config, char *value, struct error *err)
{
	static const char key[] = "baseline=";

	if (strncmp(value, key, sizeof(key) - 1) != 0 || !value[sizeof(key) - 1]) {
		error_add(err, "--cpu \"%s\": baseline=FILE is possible, or baseline=NAME, such as x86-64-v3",
			  value);
		return -EINVAL;
	}
	config->cpu_baseline = value + sizeof(key) - 1;
	return 0;
}

static int config_serial(struct vm_config *config, char *value, struct error *err)
{
	struct serial_config serial;
	int ret = config_serial_parse(&serial, value, err);

	config->serial = serial.kind;
	config->serial_path = serial.path;
	config->serial_max = serial.max;
	return ret;
}

/* Takes "unix:PATH", and says what else there is for an address of another kind. */
static int config_from(struct vm_config *config, char *value, struct error *err)
{
	struct sockaddr_un sun;

	if (strncmp(value, "tcp:", 4) == 0) {
		error_add(err,
			  "--from \"%s\": nobody proves who he is over plain TCP; leave --from out, and come "
			  "with "
			  "\"ferry migrate --to ssh:HOST\", or give tls:HOST:PORT, or unix:PATH",
			  value);
		return -EINVAL;
	}
	if (strncmp(value, "tls:", 4) == 0) {
		struct tls_address address;

		config->from_tls = value + 4;
		return tls_address_parse(&address, config->from_tls, err);
	}
	if (strncmp(value, "unix:", 5) != 0 || !value[5] || strlen(value + 5) >= sizeof(sun.sun_path)) {
		error_add(err,
			  "--from \"%s\": tls:HOST:PORT is possible, or unix:PATH with a path of at most %zu "
			  "characters",
			  value, sizeof(sun.sun_path) - 1);
		return -EINVAL;
	}
	config->from_path = value + 5;
	return 0;
}

static int config_peer_uid(struct vm_config *config, char *value, struct error *err)
{
	char *end;
	unsigned long uid;

	errno = 0;
	uid = strtoul(value, &end, 10);
	/* The highest is what the kernel has for nobody in particular. */
	if (errno || *value < '0' || *value > '9' || *end || uid >= UINT32_MAX) {
		error_add(err, "--peer-uid \"%s\": the number of a user is needed, as \"id -u\" says it",
			  value);
		return -EINVAL;
	}
	config->peer_uid = (uid_t)uid;
	return 0;
}

static int config_clock_skew(struct vm_config *config, char *value, struct error *err)
{
	uint64_t seconds;

	if (strcmp(value, "any") == 0) {
		config->clock_skew_ns = UINT64_MAX;
		return 0;
	}
	if (config_parse_size(value, &seconds) < 0 || seconds < 1 || seconds > CONFIG_MAX_CLOCK_SKEW) {
		error_add(err, "--clock-skew \"%s\": 1 to %u seconds are possible, or any", value,
			  CONFIG_MAX_CLOCK_SKEW);
		return -EINVAL;
	}
	config->clock_skew_ns = seconds * 1000000000u;
	return 0;
}

static int config_core(struct vm_config *config, char *value, struct error *err)
{
	static const char *const names[] = {
		[CORE_NONE] = "none", [CORE_FERRY] = "ferry", [CORE_GUEST] = "guest"
	};
	int core = config_parse_word(value, names, ARRAY_SIZE(names));

	if (core < 0) {
		error_add(err, "--core \"%s\": none, ferry or guest are possible", value);
		return core;
	}
	config->core = (enum core_kind)core;
	return 0;
}

static int config_on_reset(struct vm_config *config, char *value, struct error *err)
{
	static const char *const names[] = { [RESET_RESTARTS] = "restart", [RESET_ENDS] = "exit" };
	int on_reset = config_parse_word(value, names, ARRAY_SIZE(names));

	if (on_reset < 0) {
		error_add(err, "--on-reset \"%s\": restart or exit are possible", value);
		return on_reset;
	}
	config->on_reset = (enum on_reset)on_reset;
	return 0;
}

static int config_log_level(struct vm_config *config, char *value, struct error *err)
{
	static const char *const names[] = {
		[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
	};
	int level = config_parse_word(value, names, ARRAY_SIZE(names));

	if (level < 0) {
		error_add(err, "--log-level \"%s\": error, warn, info or debug are possible", value);
		return level;
	}
	config->log_level = (enum log_level)level;
	return 0;
}

static int config_net(struct vm_config *config, char *value, struct error *err)
{
	struct net_config *net = &config->nets[config->n_nets];
	int ret;

	if (config->n_nets == CONFIG_MAX_NETS) {
		error_add(err, "--net: at most %u NICs are possible", CONFIG_MAX_NETS);
		return -EINVAL;
	}
	ret = config_net_parse(net, config->receives ? NET_ARRIVES : NET_BOOTS, value, err);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < config->n_nets; i++) {
		if (config_net_same_device(&config->nets[i], net)) {
			error_add(err, "--net: %s is given to two NICs; a device serves one",
				  net->vdpa ? net->vdpa : net->tap);
			return -EINVAL;
		}
	}
	config->n_nets++;
	return 0;
}

/* Reads "PATH[,ro]", and ends the path where its comma was. */
static int config_disk(struct vm_config *config, char *value, struct error *err)
{
	char *comma = strchr(value, ',');

	if (config->n_disks == CONFIG_MAX_DISKS) {
		error_add(err, "--disk: at most %u disks are possible", CONFIG_MAX_DISKS);
		return -EINVAL;
	}
	if (comma && strcmp(comma, ",ro") != 0) {
		error_add(err, "--disk: \"%s\" is not known; possible behind a path without commas is: ro",
			  comma + 1);
		return -EINVAL;
	}
	if (comma)
		*comma = '\0';
	if (!*value) {
		error_add(err, "--disk: PATH is missing");
		return -EINVAL;
	}
	for (unsigned int i = 0; i < config->n_disks; i++) {
		if (strcmp(config->disks[i].path, value) == 0) {
			error_add(err, "--disk: %s is given twice", value);
			return -EINVAL;
		}
	}
	config->disks[config->n_disks++] = (struct disk_config){ .path = value, .read_only = comma != NULL };
	return 0;
}

static int config_device(struct vm_config *config, char *value, struct error *err)
{
	return config_device_parse(&config->devices, value, err);
}

/* Where a row's value goes: as it is into a member of struct vm_config, or through a function. */
#define CONFIG_TEXT(member) NULL, offsetof(struct vm_config, member)
#define CONFIG_PARSED(fn)   fn, 0

static const struct config_option config_options[] = {
	{ "name", "NAME", "what the VM is called, here and for \"ferry migrate\"", CONFIG_BOTH, CONFIG_BOTH,
	  false, CONFIG_PARSED(config_name) },
	{ "from", "tls:HOST:PORT", "where to listen for sources that come over TLS, with --tls",
	  CONFIG_RECEIVE, 0, false, CONFIG_PARSED(config_from) },
	{ "from", "unix:PATH",
	  "a socket for sources of this host; without --from \"ferry connect\" alone brings one",
	  CONFIG_RECEIVE, 0, false, CONFIG_PARSED(config_from) },
	{ "tls", "DIR", "for tls: the folder of ca.pem, cert.pem and key.pem (man ferry)", CONFIG_RECEIVE, 0,
	  false, CONFIG_TEXT(tls_dir) },
	{ "peer", "NAME", "for tls: a name that the source's certificate must have", CONFIG_RECEIVE, 0, false,
	  CONFIG_TEXT(tls_peer) },
	{ "peer-uid", "UID", "a user who may connect to that socket beside this one and root", CONFIG_RECEIVE,
	  0, false, CONFIG_PARSED(config_peer_uid) },
	{ "kernel", "FILE", "bzImage (vmlinuz), or ELF vmlinux with a PVH entry", CONFIG_RUN, CONFIG_RUN,
	  false, CONFIG_TEXT(kernel) },
	{ "initrd", "FILE", "initial RAM disk", CONFIG_RUN, 0, false, CONFIG_TEXT(initrd) },
	{ "cmdline", "TEXT", "the kernel's command line; add console=ttyS0 to see it talk", CONFIG_RUN, 0,
	  false, CONFIG_TEXT(cmdline) },
	{ "mem", "SIZE",
	  "memory with a unit K, M, G or T (default 512M; receive: what the source has, if the host has it)",
	  CONFIG_BOTH, 0, false, CONFIG_PARSED(config_mem) },
	{ "cpus", "N", "number of vCPUs, 1 to 64 (default 1; receive: what the source has)", CONFIG_BOTH, 0,
	  false, CONFIG_PARSED(config_cpus) },
	{ "cpu", "baseline=FILE",
	  "the guest has the CPU features of FILE (\"ferry cpu\"), or of x86-64-v2, -v3 or -v4, and no "
	  "others",
	  CONFIG_RUN, 0, false, CONFIG_PARSED(config_cpu) },
	{ "net", "vdpa=PATH", "a NIC backed by a vhost-vdpa device; may be repeated", CONFIG_BOTH, 0, true,
	  CONFIG_PARSED(config_net) },
	{ "net", "soft,tap=NAME",
	  "a NIC in software on a TAP interface; also bridge=NAME, mac=, queues=N, ring=ENTRIES, hub=FOLDER",
	  CONFIG_BOTH, 0, true, CONFIG_PARSED(config_net) },
	{ "net", "...,packed=on",
	  "the guest has packed rings; in-order=on: its buffers come back in order, where the device keeps "
	  "it",
	  CONFIG_BOTH, 0, true, CONFIG_PARSED(config_net) },
	{ "net", "...,shared-switch=on",
	  "both hosts' NICs are on one switch: the guest's addresses are taken over with it, not before",
	  CONFIG_RECEIVE, 0, true, CONFIG_PARSED(config_net) },
	{ "net", "...,mode=MODE",
	  "who serves the guest's rings: passthrough, the device; shadow, Ferry; auto, what fits (the "
	  "default)",
	  CONFIG_BOTH, 0, true, CONFIG_PARSED(config_net) },
	{ "disk", "PATH[,ro]",
	  "a disk: raw file or block device, for a move on storage of both hosts; may be repeated",
	  CONFIG_BOTH, 0, true, CONFIG_PARSED(config_disk) },
	{ "device", "NAME",
	  "a device more: rng, rtc (a PC's clock), vmclock (says that the guest was moved); may be repeated",
	  CONFIG_RUN, 0, true, CONFIG_PARSED(config_device) },
	{ "report", "FILE", "write a report of the guest's coming to FILE, as JSON, also if it fails",
	  CONFIG_RECEIVE, 0, false, CONFIG_TEXT(report) },
	{ "clock-skew", "SECONDS",
	  "how far the source's clock may be off, or any (default 60): the guest's jumps or stays ahead by "
	  "that",
	  CONFIG_RECEIVE, 0, false, CONFIG_PARSED(config_clock_skew) },
	{ "on-reset", "WHAT",
	  "what a guest's reset does: restart (the default), it boots again in place, or exit, with code 3",
	  CONFIG_BOTH, 0, false, CONFIG_PARSED(config_on_reset) },
	{ "core", "WHAT",
	  "what a crash may leave in a core file: none (the default), ferry, or guest: its memory, too",
	  CONFIG_BOTH, 0, false, CONFIG_PARSED(config_core) },
	{ "serial", "TO",
	  "stdio (the default; on a terminal Ctrl-A x ends the VM), unix:PATH, file:PATH[,max=SIZE], pty or "
	  "none",
	  CONFIG_BOTH, 0, false, CONFIG_PARSED(config_serial) },
	{ "log-level", "LEVEL", "which messages are written: error, warn, info (the default) or debug",
	  CONFIG_BOTH, 0, false, CONFIG_PARSED(config_log_level) },
	{ "runtime-dir", "DIR", "where control sockets are (default " CONFIG_RUNTIME_DIR ")", CONFIG_BOTH, 0,
	  false, CONFIG_TEXT(runtime_dir) },
};

#define CONFIG_N_OPTIONS ARRAY_SIZE(config_options)
_Static_assert(CONFIG_N_OPTIONS <= 64, "one bit each");
_Static_assert(CONFIG_MAX_CPUS == 64 && CONFIG_DEFAULT_MEM == MIB(512) && CONFIG_CLOCK_SKEW == 60,
	       "as the help says");

/* The column where the explanations begin. */
#define CONFIG_HELP_COLUMN 25

/* Names one subcommand: an option that both know is never spoken of as the other's. */
static const char *config_subcommand_name(unsigned int subcommand)
{
	return subcommand == CONFIG_RUN ? "run" : "receive";
}

/* Finds the option that @arg ("--name" or "--name=value") names; NULL with the reason in @err. */
static const struct config_option *config_find(const char *arg, unsigned int subcommand, struct error *err)
{
	size_t len;

	if (strncmp(arg, "--", 2) != 0 || !arg[2]) {
		error_add(err, "\"%s\" is not an option", arg);
		return NULL;
	}
	len = strcspn(arg + 2, "=");
	for (unsigned int i = 0; i < CONFIG_N_OPTIONS; i++) {
		const struct config_option *o = &config_options[i];

		if (strlen(o->name) != len || memcmp(o->name, arg + 2, len) != 0)
			continue;
		if (o->subcommands & subcommand)
			return o;
		error_add(err, "--%s is for \"ferry %s\"", o->name, config_subcommand_name(o->subcommands));
		return NULL;
	}
	error_add(err, "--%.*s is not known", (int)len, arg + 2);
	return NULL;
}

static int config_take(struct vm_config *config, const struct config_option *o, uint64_t *seen, char *value,
		       struct error *err)
{
	uint64_t bit = (uint64_t)1 << (o - config_options);

	if (!value) {
		error_add(err, "--%s needs a value: --%s %s", o->name, o->name, o->value);
		return -EINVAL;
	}
	if ((*seen & bit) && !o->repeat) {
		error_add(err, "--%s is given twice", o->name);
		return -EINVAL;
	}
	if (!*value && o->text != offsetof(struct vm_config, cmdline)) {
		error_add(err, "--%s has an empty value; needed is %s", o->name, o->value);
		return -EINVAL;
	}
	*seen |= bit;
	if (o->parse)
		return o->parse(config, value, err);
	*(const char **)((char *)config + o->text) = value;
	return 0;
}

static int config_parse(struct vm_config *config, unsigned int subcommand, int argc, char **argv,
			struct error *err)
{
	uint64_t seen = 0;
	int ret = 0;

	*config = (struct vm_config){ .receives = subcommand == CONFIG_RECEIVE,
				      .runtime_dir = CONFIG_RUNTIME_DIR,
				      .cmdline = "",
				      .peer_uid = geteuid(),
				      .log_level = LOG_INFO,
				      .clock_skew_ns = CONFIG_CLOCK_SKEW * UINT64_C(1000000000) };
	for (int i = 1; i < argc; i++) {
		const struct config_option *o = config_find(argv[i], subcommand, err);
		char *value;

		if (!o)
			return -EINVAL;
		value = strchr(argv[i], '=');
		if (value)
			value++;
		else if (i + 1 < argc)
			value = argv[++i];
		ret = config_take(config, o, &seen, value, err);
		if (ret < 0)
			return ret;
	}
	for (unsigned int i = 0; i < CONFIG_N_OPTIONS; i++) {
		const struct config_option *o = &config_options[i];

		if ((o->needed & subcommand) && !(seen & (uint64_t)1 << i)) {
			error_add(err, "--%s %s is missing", o->name, o->value);
			ret = -EINVAL;
		}
	}
	return ret;
}

int config_parse_run(struct vm_config *config, int argc, char **argv, struct error *err)
{
	int ret = config_parse(config, CONFIG_RUN, argc, argv, err);

	if (config->mem == 0)
		config->mem = CONFIG_DEFAULT_MEM;
	if (config->cpus == 0)
		config->cpus = 1;
	return ret;
}

int config_parse_receive(struct vm_config *config, int argc, char **argv, struct error *err)
{
	int ret = config_parse(config, CONFIG_RECEIVE, argc, argv, err);

	if (ret == 0 && config->peer_uid != geteuid() && !config->from_path) {
		error_add(err, "--peer-uid is for a socket that --from makes");
		return -EINVAL;
	}
	if (ret == 0 && config->from_tls && !config->tls_dir) {
		error_add(err, "--tls DIR is missing: the folder of ca.pem, cert.pem and key.pem");
		return -EINVAL;
	}
	if (ret == 0 && (config->tls_dir || config->tls_peer) && !config->from_tls) {
		error_add(err, "--tls and --peer are for --from tls:HOST:PORT");
		return -EINVAL;
	}
	return ret;
}

static void config_help(FILE *out, unsigned int subcommand, const char *summary)
{
	fprintf(out, "usage: ferry %s OPTION...\n\n%s\n\n", config_subcommand_name(subcommand), summary);
	for (unsigned int i = 0; i < CONFIG_N_OPTIONS; i++) {
		const struct config_option *o = &config_options[i];
		int width = CONFIG_HELP_COLUMN - (int)strlen(o->name);

		if (o->subcommands & subcommand)
			fprintf(out, "  --%s %-*s%s%s\n", o->name, width, o->value, o->help,
				o->needed & subcommand ? " (needed)" : "");
	}
}

void config_help_run(FILE *out)
{
	config_help(out, CONFIG_RUN, "Boots a guest and stays with it until it ends or has moved away.");
}

void config_help_receive(FILE *out)
{
	config_help(out, CONFIG_RECEIVE,
		    "Opens its NICs, waits for a guest that \"ferry migrate\" sends, and stays with it.");
}
