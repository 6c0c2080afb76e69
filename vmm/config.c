/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of "run" and "receive" as one table, from which both the parser and the help work. */
#include "vmm/config.h"

#include <errno.h>
#include <sys/un.h>

#include "vmm/mac.h"

enum { CONFIG_RUN = 1u << 0, CONFIG_RECEIVE = 1u << 1, CONFIG_BOTH = CONFIG_RUN | CONFIG_RECEIVE };

/* Characters of an interface's name, and room for a socket's name in a hub's folder. */
#define CONFIG_MAX_IFNAME 15u
#define CONFIG_HUB_ROOM   32u

/* Ten years: more is a clock that was never set, which "any" is for. */
#define CONFIG_MAX_CLOCK_SKEW 315360000u

struct config_option {
	const char *name;
	const char *value; /* what stands for it in the help */
	const char *help;
	unsigned int subcommands; /* that know it */
	unsigned int needed;      /* that cannot do without */
	bool repeat;
	int (*parse)(struct vm_config *config, char *value, struct error *err);
};

int config_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned int shift = 0;
	uint64_t v = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	if (*text) {
		const char *unit = strchr(units, *text);

		if (!unit || text[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (v > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

bool config_name_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t len = strlen(name);

	return len >= 1 && len <= 64 && name[0] != '.' && strspn(name, allowed) == len;
}

static int config_name(struct vm_config *config, char *value, struct error *err)
{
	if (!config_name_valid(value))
		return error_add(err, -EINVAL,
				 "--name \"%s\": 1 to 64 letters, digits, '-', '_' and '.', not first '.'",
				 value);
	config->name = value;
	return 0;
}

static int config_kernel(struct vm_config *config, char *value, struct error *err)
{
	config->kernel = value;
	return 0;
}

static int config_initrd(struct vm_config *config, char *value, struct error *err)
{
	config->initrd = value;
	return 0;
}

static int config_cmdline(struct vm_config *config, char *value, struct error *err)
{
	config->cmdline = value;
	return 0;
}

static int config_from(struct vm_config *config, char *value, struct error *err)
{
	config->from = value;
	return 0;
}

static int config_runtime_dir(struct vm_config *config, char *value, struct error *err)
{
	config->runtime_dir = value;
	return 0;
}

static int config_mem(struct vm_config *config, char *value, struct error *err)
{
	if (config_parse_size(value, &config->mem) < 0)
		return error_add(err, -EINVAL,
				 "--mem \"%s\": a number with K, M, G or T is needed, such as 512M or 4G",
				 value);
	if (config->mem < CONFIG_MIN_MEM || config->mem > CONFIG_MAX_MEM || config->mem % PAGE_SIZE)
		return error_add(err, -EINVAL, "--mem \"%s\": %lluM to %lluG in steps of 4K are possible",
				 value, (unsigned long long)(CONFIG_MIN_MEM >> 20),
				 (unsigned long long)(CONFIG_MAX_MEM >> 30));
	return 0;
}

static int config_cpus(struct vm_config *config, char *value, struct error *err)
{
	uint64_t v;

	if (config_parse_size(value, &v) < 0 || v < 1 || v > CONFIG_MAX_CPUS)
		return error_add(err, -EINVAL, "--cpus \"%s\": 1 to %u are possible", value, CONFIG_MAX_CPUS);
	config->cpus = (unsigned int)v;
	return 0;
}

static int config_serial(struct vm_config *config, char *value, struct error *err)
{
	struct sockaddr_un sun;

	if (strcmp(value, "stdio") == 0) {
		config->serial = SERIAL_STDIO;
	} else if (strcmp(value, "none") == 0) {
		config->serial = SERIAL_NONE;
	} else if (strncmp(value, "unix:", 5) == 0 && value[5]) {
		config->serial = SERIAL_UNIX;
		config->serial_path = value + 5;
		if (strlen(value + 5) >= sizeof(sun.sun_path))
			return error_add(err, -EINVAL,
					 "--serial \"%s\": a socket's path has at most %zu characters", value,
					 sizeof(sun.sun_path) - 1);
	} else {
		return error_add(err, -EINVAL, "--serial \"%s\": stdio, unix:PATH or none are possible",
				 value);
	}
	return 0;
}

static int config_clock_skew(struct vm_config *config, char *value, struct error *err)
{
	uint64_t seconds;

	if (strcmp(value, "any") == 0) {
		config->clock_skew_ns = UINT64_MAX;
		return 0;
	}
	if (config_parse_size(value, &seconds) < 0 || seconds < 1 || seconds > CONFIG_MAX_CLOCK_SKEW)
		return error_add(err, -EINVAL, "--clock-skew \"%s\": 1 to %u seconds are possible, or any",
				 value, CONFIG_MAX_CLOCK_SKEW);
	config->clock_skew_ns = seconds * 1000000000u;
	return 0;
}

static int config_core(struct vm_config *config, char *value, struct error *err)
{
	static const char *const names[] = {
		[CORE_NONE] = "none", [CORE_FERRY] = "ferry", [CORE_GUEST] = "guest"
	};
	unsigned int core = 0;

	while (core < ARRAY_SIZE(names) && strcmp(value, names[core]) != 0)
		core++;
	if (core == ARRAY_SIZE(names))
		return error_add(err, -EINVAL, "--core \"%s\": none, ferry or guest are possible", value);
	config->core = (enum core_kind)core;
	return 0;
}

/* The keys of --net. */
static const struct {
	const char *name;
	size_t offset; /* of a const char * in struct net_config */
	bool word;     /* stands alone, without a value */
} config_net_keys[] = {
	{ "vdpa", offsetof(struct net_config, vdpa), false },
	{ "soft", offsetof(struct net_config, soft), true },
	{ "tap", offsetof(struct net_config, tap), false },
	{ "bridge", offsetof(struct net_config, bridge), false },
	{ "hub", offsetof(struct net_config, hub), false },
	{ "mac", offsetof(struct net_config, mac_text), false },
	{ "queues", offsetof(struct net_config, queues_text), false },
	{ "ring", offsetof(struct net_config, ring_text), false },
	{ "packed", offsetof(struct net_config, packed_text), false },
	{ "in-order", offsetof(struct net_config, in_order_text), false },
	{ "shared-switch", offsetof(struct net_config, shared_switch_text), false },
	{ "mode", offsetof(struct net_config, mode_text), false },
};

static const char **config_net_field(struct net_config *net, const char *key, size_t len, bool *word)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(config_net_keys); i++) {
		*word = config_net_keys[i].word;
		if (strlen(config_net_keys[i].name) == len && memcmp(config_net_keys[i].name, key, len) == 0)
			return (const char **)((char *)net + config_net_keys[i].offset);
	}
	return NULL;
}

static int config_net_unknown(const char *key, struct error *err)
{
	char names[128] = "";

	for (unsigned int i = 0; i < ARRAY_SIZE(config_net_keys); i++) {
		strcat(names, i ? ", " : "");
		strcat(names, config_net_keys[i].name);
	}
	return error_add(err, -EINVAL, "--net: \"%s\" is not known; possible are: %s", key, names);
}

/* Parses an address that an interface can have. */
static bool config_parse_mac(const char *text, uint8_t mac[6])
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";

	if (strlen(text) != 17)
		return false;
	for (unsigned int i = 0; i < 6; i++) {
		const char *high = strchr(digits, text[3 * i]), *low = strchr(digits, text[3 * i + 1]);

		if (!high || !low || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		mac[i] = (uint8_t)((high - digits) % 16 << 4 | (low - digits) % 16);
	}
	return mac_valid(mac);
}

static bool config_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* Whether Linux takes @name for an interface. */
static bool config_is_ifname(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c <= ' ' || c == 0x7f || c == '/' || c == ':')
			return false;
	}
	return len >= 1 && len <= CONFIG_MAX_IFNAME && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* A name with a %d is one that the kernel completes with the first number that is free. */
static bool config_is_pattern(const char *name)
{
	const char *percent = name ? strchr(name, '%') : NULL;

	return percent && percent[1] == 'd' && !strchr(percent + 1, '%');
}

static int config_net_names(const struct net_config *net, struct error *err)
{
	const char *names[] = { net->tap, net->bridge };
	struct sockaddr_un sun;

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i] && !config_is_ifname(names[i]))
			return error_add(err, -EINVAL,
					 "--net: \"%s\" is not the name of an interface: that has 1 to %u "
					 "characters, no space, \"/\" or \":\"",
					 names[i], CONFIG_MAX_IFNAME);
		if (names[i] && strchr(names[i], '%') &&
		    (names[i] != net->tap || !config_is_pattern(net->tap)))
			return error_add(err, -EINVAL,
					 "--net: \"%s\" is not the name of an interface: a \"%%\" can be in "
					 "that of a new TAP, as in tap=tap%%d, for a number that is free",
					 names[i]);
	}
	/* Sockets with names of their own are in it. */
	if (net->hub && strlen(net->hub) > sizeof(sun.sun_path) - CONFIG_HUB_ROOM)
		return error_add(err, -EINVAL, "--net: hub=\"%s\": a hub's path has at most %zu characters",
				 net->hub, sizeof(sun.sun_path) - CONFIG_HUB_ROOM);
	return 0;
}

/* The device in software: where its packets go, and what it is like. */
static int config_net_soft(struct net_config *net, struct error *err)
{
	uint64_t n = 1, ring = CONFIG_DEFAULT_RING;

	if (!net->tap == !net->hub)
		return error_add(err, -EINVAL, "--net soft: tap=NAME or hub=PATH is needed");
	if (net->bridge && !net->tap)
		return error_add(err, -EINVAL, "--net soft: bridge=NAME is for tap=NAME");
	if (net->mac_text && !config_parse_mac(net->mac_text, net->mac))
		return error_add(err, -EINVAL,
				 "--net: mac=\"%s\": a NIC's address is needed, such as 52:54:00:12:34:56",
				 net->mac_text);
	if (net->queues_text &&
	    (config_parse_size(net->queues_text, &n) < 0 || n < 1 || n > CONFIG_MAX_QUEUES))
		return error_add(err, -EINVAL, "--net: queues=\"%s\": 1 to %u are possible", net->queues_text,
				 CONFIG_MAX_QUEUES);
	if (net->ring_text && (config_parse_size(net->ring_text, &ring) < 0 || !is_power_of_2(ring) ||
			       ring < CONFIG_MIN_RING || ring > CONFIG_MAX_RING))
		return error_add(err, -EINVAL, "--net: ring=\"%s\": powers of 2 from %u to %u are possible",
				 net->ring_text, CONFIG_MIN_RING, CONFIG_MAX_RING);
	net->mac_set = net->mac_text;
	net->n_queues = (unsigned int)n;
	net->ring_size = (uint16_t)ring;
	return config_net_names(net, err);
}

/* What is on or off. */
static int config_net_switches(struct net_config *net, struct error *err)
{
	const struct {
		const char *key, *text;
	} switches[] = { { "packed", net->packed_text },
			 { "in-order", net->in_order_text },
			 { "shared-switch", net->shared_switch_text } };

	for (unsigned int i = 0; i < ARRAY_SIZE(switches); i++) {
		const char *text = switches[i].text;

		if (text && !config_same(text, "on") && !config_same(text, "off"))
			return error_add(err, -EINVAL, "--net: %s=%s: on or off are possible",
					 switches[i].key, text);
	}
	net->split_only = config_same(net->packed_text, "off");
	net->any_order = config_same(net->in_order_text, "off");
	net->shared_switch = config_same(net->shared_switch_text, "on");
	return 0;
}

static int config_net_mode(struct net_config *net, struct error *err)
{
	static const char *const names[] = {
		[NET_AUTO] = "auto", [NET_SHADOW] = "shadow", [NET_PASSTHROUGH] = "passthrough"
	};
	unsigned int mode = 0;

	if (!net->mode_text)
		return 0;
	while (mode < ARRAY_SIZE(names) && strcmp(net->mode_text, names[mode]) != 0)
		mode++;
	if (mode == ARRAY_SIZE(names))
		return error_add(err, -EINVAL, "--net: mode=%s: auto, shadow or passthrough are possible",
				 net->mode_text);
	net->mode = (enum net_mode)mode;
	if (net->mode == NET_PASSTHROUGH && config_same(net->packed_text, "on"))
		return error_add(err, -EINVAL,
				 "--net: packed=on with mode=passthrough: packed rings are for shadow rings");
	return 0;
}

/* A backend, and one alone. */
static int config_net_check(struct net_config *net, struct error *err)
{
	if (!net->vdpa == !net->soft)
		return error_add(err, -EINVAL, "--net: vdpa=PATH, or soft,tap=NAME, is needed");
	if (config_net_switches(net, err) < 0 || config_net_mode(net, err) < 0)
		return -EINVAL;
	if (net->soft)
		return config_net_soft(net, err);
	if (net->tap || net->bridge || net->hub || net->mac_text || net->queues_text || net->ring_text)
		return error_add(err, -EINVAL,
				 "--net: tap, bridge, hub, mac, queues and ring go with soft, not with vdpa");
	return 0;
}

/* "key=value,key=value"; ends each value where its comma was. */
static int config_net(struct vm_config *config, char *value, struct error *err)
{
	struct net_config net = { 0 };

	if (config->n_nets == CONFIG_MAX_NETS)
		return error_add(err, -EINVAL, "--net: at most %u NICs are possible", CONFIG_MAX_NETS);
	for (char *item = value, *next; item; item = next) {
		size_t len = strcspn(item, "=,");
		bool word;
		const char **field = config_net_field(&net, item, len, &word);

		next = strchr(item, ',');
		if (next)
			*next++ = '\0';
		if (!field)
			return config_net_unknown(item, err);
		if (word && item[len] == '=')
			return error_add(err, -EINVAL, "--net: \"%.*s\" takes no value", (int)len, item);
		if (!word && (item[len] != '=' || !item[len + 1]))
			return error_add(err, -EINVAL, "--net: \"%.*s\" needs a value, as in %.*s=...",
					 (int)len, item, (int)len, item);
		if (*field)
			return error_add(err, -EINVAL, "--net: \"%.*s\" is given twice", (int)len, item);
		*field = word ? item : item + len + 1;
	}
	if (config_net_check(&net, err) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < config->n_nets; i++) {
		const struct net_config *other = &config->nets[i];

		if (config_same(other->vdpa, net.vdpa) ||
		    (config_same(other->tap, net.tap) && !config_is_pattern(net.tap)))
			return error_add(err, -EINVAL, "--net: %s is given to two NICs; a device serves one",
					 net.vdpa ? net.vdpa : net.tap);
	}
	config->nets[config->n_nets++] = net;
	return 0;
}

/* "PATH[,ro]"; ends the path where its comma was. */
static int config_disk(struct vm_config *config, char *value, struct error *err)
{
	char *comma = strchr(value, ',');

	if (config->n_disks == CONFIG_MAX_DISKS)
		return error_add(err, -EINVAL, "--disk: at most %u disks are possible", CONFIG_MAX_DISKS);
	if (comma && strcmp(comma, ",ro") != 0)
		return error_add(err, -EINVAL,
				 "--disk: \"%s\" is not known; possible behind a path without commas is: ro",
				 comma + 1);
	if (comma)
		*comma = '\0';
	if (!*value)
		return error_add(err, -EINVAL, "--disk: PATH is missing");
	for (unsigned int i = 0; i < config->n_disks; i++) {
		if (strcmp(config->disks[i].path, value) == 0)
			return error_add(err, -EINVAL, "--disk: %s is given twice", value);
	}
	config->disks[config->n_disks++] = (struct disk_config){ .path = value, .read_only = comma != NULL };
	return 0;
}

static const struct config_option config_options[] = {
	{ "name", "NAME", "what the VM is called, here and for \"ferry migrate\"", CONFIG_BOTH, CONFIG_BOTH,
	  false, config_name },
	{ "from", "ADDRESS", "where the source connects to: unix:PATH, or tcp:HOST:PORT on loopback",
	  CONFIG_RECEIVE, CONFIG_RECEIVE, false, config_from },
	{ "kernel", "FILE", "bzImage (vmlinuz), or ELF vmlinux with a PVH entry", CONFIG_RUN, CONFIG_RUN,
	  false, config_kernel },
	{ "initrd", "FILE", "initial RAM disk", CONFIG_RUN, 0, false, config_initrd },
	{ "cmdline", "TEXT", "the kernel's command line; add console=ttyS0 to see it talk", CONFIG_RUN, 0,
	  false, config_cmdline },
	{ "mem", "SIZE",
	  "memory with a unit K, M, G or T (default 512M; receive: what the source has, if the host has it)",
	  CONFIG_BOTH, 0, false, config_mem },
	{ "cpus", "N", "number of vCPUs, 1 to 64 (default 1; receive: what the source has)", CONFIG_BOTH, 0,
	  false, config_cpus },
	{ "net", "vdpa=PATH", "a NIC backed by a vhost-vdpa device; may be repeated", CONFIG_BOTH, 0, true,
	  config_net },
	{ "net", "soft,tap=NAME",
	  "a NIC in software on a TAP interface; also bridge=NAME, mac=, queues=N, ring=ENTRIES, hub=PATH",
	  CONFIG_BOTH, 0, true, config_net },
	{ "net", "...,packed=on",
	  "the guest has packed rings; in-order=on: its buffers come back in order, where the device keeps "
	  "it",
	  CONFIG_BOTH, 0, true, config_net },
	{ "net", "...,shared-switch=on",
	  "both hosts' NICs are on one switch: the guest's addresses are taken over with it, not before",
	  CONFIG_RECEIVE, 0, true, config_net },
	{ "net", "...,mode=MODE",
	  "who serves the guest's rings: passthrough, the device; shadow, Ferry; auto, what fits (the "
	  "default)",
	  CONFIG_BOTH, 0, true, config_net },
	{ "disk", "PATH[,ro]",
	  "a disk: raw file or block device, for a move on storage of both hosts; may be repeated",
	  CONFIG_BOTH, 0, true, config_disk },
	{ "clock-skew", "SECONDS",
	  "how far the source's clock may be off, or any (default 60): the guest's clock jumps by that",
	  CONFIG_RECEIVE, 0, false, config_clock_skew },
	{ "core", "WHAT",
	  "what a crash may leave in a core file: none (the default), ferry, or guest: its memory, too",
	  CONFIG_BOTH, 0, false, config_core },
	{ "serial", "TO", "stdio (the default; on a terminal Ctrl-A x ends the VM), unix:PATH, or none",
	  CONFIG_BOTH, 0, false, config_serial },
	{ "runtime-dir", "DIR", "where control sockets are (default " CONFIG_RUNTIME_DIR ")", CONFIG_BOTH, 0,
	  false, config_runtime_dir },
};

#define CONFIG_N_OPTIONS ARRAY_SIZE(config_options)
_Static_assert(CONFIG_N_OPTIONS <= 64, "one bit each");
_Static_assert(CONFIG_MAX_CPUS == 64 && CONFIG_DEFAULT_MEM == MIB(512) && CONFIG_CLOCK_SKEW == 60,
	       "as the help says");

/* Where the explanations begin. */
#define CONFIG_HELP_COLUMN 25

/* Of one subcommand: options that both know are never spoken of as the other's. */
static const char *config_subcommand_name(unsigned int subcommand)
{
	return subcommand == CONFIG_RUN ? "run" : "receive";
}

/* The option that @arg ("--name" or "--name=value") names. */
static const struct config_option *config_find(const char *arg, unsigned int subcommand, struct error *err)
{
	size_t len;

	if (strncmp(arg, "--", 2) != 0 || !arg[2]) {
		error_add(err, -EINVAL, "\"%s\" is not an option", arg);
		return NULL;
	}
	len = strcspn(arg + 2, "=");
	for (unsigned int i = 0; i < CONFIG_N_OPTIONS; i++) {
		const struct config_option *o = &config_options[i];

		if (strlen(o->name) != len || memcmp(o->name, arg + 2, len) != 0)
			continue;
		if (o->subcommands & subcommand)
			return o;
		error_add(err, -EINVAL, "--%s is for \"ferry %s\"", o->name,
			  config_subcommand_name(o->subcommands));
		return NULL;
	}
	error_add(err, -EINVAL, "--%.*s is not known", (int)len, arg + 2);
	return NULL;
}

static int config_take(struct vm_config *config, const struct config_option *o, uint64_t *seen, char *value,
		       struct error *err)
{
	uint64_t bit = (uint64_t)1 << (o - config_options);

	if (!value)
		return error_add(err, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name, o->value);
	if ((*seen & bit) && !o->repeat)
		return error_add(err, -EINVAL, "--%s is given twice", o->name);
	if (!*value && o->parse != config_cmdline)
		return error_add(err, -EINVAL, "--%s has an empty value; needed is %s", o->name, o->value);
	*seen |= bit;
	return o->parse(config, value, err);
}

static int config_parse(struct vm_config *config, unsigned int subcommand, int argc, char **argv,
			struct error *err)
{
	uint64_t seen = 0;
	int ret = 0;

	*config = (struct vm_config){ .runtime_dir = CONFIG_RUNTIME_DIR,
				      .cmdline = "",
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

		if ((o->needed & subcommand) && !(seen & (uint64_t)1 << i))
			ret = error_add(err, -EINVAL, "--%s %s is missing", o->name, o->value);
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
	/* A destination takes what the source has. */
	for (unsigned int i = 0; i < config->n_nets; i++) {
		config->nets[i].split_only |= !config->nets[i].packed_text;
		config->nets[i].any_order |= !config->nets[i].in_order_text;
		if (ret == 0 && config->nets[i].shared_switch_text)
			ret = error_add(err, -EINVAL,
					"--net: shared-switch=%s is for \"ferry receive\": it is about a "
					"guest that comes",
					config->nets[i].shared_switch_text);
	}
	return ret;
}

int config_parse_receive(struct vm_config *config, int argc, char **argv, struct error *err)
{
	return config_parse(config, CONFIG_RECEIVE, argc, argv, err);
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
