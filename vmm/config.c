/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the options of "run" and "receive" mean, and where they come from: the command line, and a file. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/config_file.h"
#include "vmm/config_text.h"
#include "vmm/tls/address.h"

/* Ten years: more is a clock that was never set, which "any" is for. */
#define CONFIG_MAX_CLOCK_SKEW 315360000u

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

/* Reads what follows the size of memory: "node=N". */
static int config_node(struct vm_config *config, const char *text, struct error *err)
{
	static const char key[] = "node=";
	uint64_t node;

	if (strncmp(text, key, strlen(key)) != 0 || config_parse_size(text + strlen(key), &node) < 0 ||
	    node >= CONFIG_MAX_NODES) {
		error_add(err, "--mem: \"%s\" is not known; possible behind the size is: node=N, 0 to %u",
			  text, CONFIG_MAX_NODES - 1);
		return -EINVAL;
	}
	config->node = (int)node;
	return 0;
}

static int config_mem(struct vm_config *config, char *value, struct error *err)
{
	char *comma = strchr(value, ',');

	if (comma)
		*comma++ = '\0';
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
	return comma ? config_node(config, comma, err) : 0;
}

static int config_hugepages(struct vm_config *config, char *value, struct error *err)
{
	static const char *const names[] = { "2M", "1G" };
	static const uint64_t sizes[] = { MIB(2), GIB(1) };
	int size = config_parse_word(value, names, ARRAY_SIZE(names));

	if (size < 0) {
		error_add(err, "--hugepages \"%s\": 2M or 1G are possible", value);
		return size;
	}
	config->page_size = sizes[size];
	return 0;
}

static int config_cpus(struct vm_config *config, char *value, struct error *err)
{
	int ret = config_cpus_parse(&config->vcpus, value, err);

	config->cpus = config->vcpus.n;
	return ret;
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
	if (descriptor_is(value)) {
		config->from_path = value;
		return 0;
	}
	if (strncmp(value, "unix:", 5) != 0 || !value[5] || strlen(value + 5) >= sizeof(sun.sun_path)) {
		error_add(err,
			  "--from \"%s\": tls:HOST:PORT is possible, or unix:PATH with a path of at most %zu "
			  "characters, or fd:N",
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

static int config_stop_timeout(struct vm_config *config, char *value, struct error *err)
{
	uint64_t seconds;

	if (config_parse_size(value, &seconds) < 0 || seconds > CONFIG_MAX_STOP_TIMEOUT) {
		error_add(err, "--stop-timeout \"%s\": 0 to %u seconds are possible", value,
			  CONFIG_MAX_STOP_TIMEOUT);
		return -EINVAL;
	}
	config->stop_s = (unsigned int)seconds;
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

/* The path is known before the first option is taken: see config_parse(). */
static int config_config(struct vm_config *config, char *value, struct error *err)
{
	return 0;
}

/* Where an option's value goes: through a function, or as it is to a const char * at an offset. */
#define CONFIG_TEXT(member)                                                                                  \
	{                                                                                                    \
		.text = offsetof(struct vm_config, member)                                                   \
	}
#define CONFIG_WORD(member)                                                                                  \
	{                                                                                                    \
		.word = offsetof(struct vm_config, member)                                                   \
	}
#define CONFIG_PARSED(fn)                                                                                    \
	{                                                                                                    \
		.parse = (fn)                                                                                \
	}

static const struct {
	int (*parse)(struct vm_config *config, char *value, struct error *err);
	size_t text;
	/* Of an enum, whose values are the row's words in their order. */
	size_t word;
} config_options[N_OPTIONS] = {
	[OPTION_CONFIG] = CONFIG_PARSED(config_config),
	[OPTION_NAME] = CONFIG_PARSED(config_name),
	[OPTION_FROM] = CONFIG_PARSED(config_from),
	[OPTION_TLS] = CONFIG_TEXT(tls_dir),
	[OPTION_PEER] = CONFIG_TEXT(tls_peer),
	[OPTION_PEER_UID] = CONFIG_PARSED(config_peer_uid),
	[OPTION_KVM] = CONFIG_TEXT(kvm),
	[OPTION_KERNEL] = CONFIG_TEXT(kernel),
	[OPTION_INITRD] = CONFIG_TEXT(initrd),
	[OPTION_CMDLINE] = CONFIG_TEXT(cmdline),
	[OPTION_MEM] = CONFIG_PARSED(config_mem),
	[OPTION_HUGEPAGES] = CONFIG_PARSED(config_hugepages),
	[OPTION_CPUS] = CONFIG_PARSED(config_cpus),
	[OPTION_CPU] = CONFIG_PARSED(config_cpu),
	[OPTION_NET] = CONFIG_PARSED(config_net),
	[OPTION_DISK] = CONFIG_PARSED(config_disk),
	[OPTION_DEVICE] = CONFIG_PARSED(config_device),
	[OPTION_REPORT] = CONFIG_TEXT(report),
	[OPTION_CLOCK_SKEW] = CONFIG_PARSED(config_clock_skew),
	[OPTION_ON_RESET] = CONFIG_WORD(on_reset),
	[OPTION_STOP_TIMEOUT] = CONFIG_PARSED(config_stop_timeout),
	[OPTION_CORE] = CONFIG_WORD(core),
	[OPTION_REGISTER] = CONFIG_WORD(registers),
	[OPTION_SERIAL] = CONFIG_PARSED(config_serial),
	[OPTION_LOG_LEVEL] = CONFIG_WORD(log_level),
	[OPTION_RUNTIME_DIR] = CONFIG_TEXT(runtime_dir),
};

_Static_assert(CONFIG_MAX_CPUS == 64 && CONFIG_DEFAULT_MEM == MIB(512) && CONFIG_CLOCK_SKEW == 60 &&
		       CONFIG_STOP_TIMEOUT == 60,
	       "as the help says");

static int config_take(struct vm_config *config, const struct option_item *item, struct error *err)
{
	enum option_id id = item->row->id;

	if (config_options[id].parse)
		return config_options[id].parse(config, item->value, err);
	if (config_options[id].word) {
		int word = option_find_word(item->row, item->value, err);

		if (word >= 0)
			*(int *)((char *)config + config_options[id].word) = word;
		return word < 0 ? word : 0;
	}
	assert(config_options[id].text && "an option of run or receive needs a row here");
	*(const char **)((char *)config + config_options[id].text) = item->value;
	return 0;
}

/* Reads the whole line once, to say what is wrong with it, what it gives, and which file it names. */
static int config_look(struct option_line line, uint64_t *given, const char **path, struct error *err)
{
	struct option_item item;
	int ret;

	while ((ret = option_next(&line, &item, err)) == 1) {
		if (item.row->id == OPTION_CONFIG)
			*path = item.value;
	}
	*given = line.given;
	return ret;
}

/* Takes what the file says of options that the command line, which gives @given, does not have. */
static int config_take_file(struct vm_config *config, enum command_id command, const char *path,
			    uint64_t *given, struct error *err)
{
	const uint64_t replaced = *given;
	struct config_file file;
	struct option_item item;
	int ret = config_file_open(&file, path, err);

	if (ret < 0)
		return ret;
	config->text = file.text;
	while ((ret = config_file_next(&file, command, &item, err)) == 1) {
		struct error reason = { 0 };

		if (replaced & OPTION_BIT(item.row->id))
			continue;
		if ((*given & OPTION_BIT(item.row->id)) && !(item.row->flags & OPTION_REPEATS)) {
			error_add(&reason, "%s is given twice", item.row->name);
			ret = -EINVAL;
		} else {
			ret = config_take(config, &item, &reason);
		}
		if (ret < 0) {
			config_file_wrong(&file, &reason, err);
			break;
		}
		*given |= OPTION_BIT(item.row->id);
	}
	return ret;
}

/* Finds the descriptors in the place of files. */
static int config_claim(struct vm_config *config, struct error *err)
{
	struct descriptors *d = &config->descriptors;
	int ret = descriptors_claim_text(d, "--kvm", &config->kvm, DESCRIPTOR_READ_WRITE, err);

	if (ret == 0)
		ret = descriptors_claim_text(d, "--kernel", &config->kernel, DESCRIPTOR_READ, err);
	if (ret == 0)
		ret = descriptors_claim_text(d, "--initrd", &config->initrd, DESCRIPTOR_READ, err);
	if (ret == 0)
		ret = descriptors_claim_text(d, "--from", &config->from_path, DESCRIPTOR_LISTEN, err);
	for (unsigned int i = 0; ret == 0 && i < config->n_nets; i++)
		ret = config_net_claim(&config->nets[i], d, err);
	for (unsigned int i = 0; ret == 0 && i < config->n_disks; i++) {
		struct disk_config *disk = &config->disks[i];

		ret = descriptors_claim_text(d, "--disk", &disk->path,
					     disk->read_only ? DESCRIPTOR_READ : DESCRIPTOR_READ_WRITE, err);
	}
	return ret;
}

static int config_parse(struct vm_config *config, enum command_id command, int argc, char **argv,
			struct error *err)
{
	struct option_line line;
	struct option_item item;
	const char *path = NULL;
	uint64_t given = 0;
	int ret;

	*config = (struct vm_config){ .receives = command == COMMAND_RECEIVE,
				      .runtime_dir = CONFIG_RUNTIME_DIR,
				      .kvm = CONFIG_KVM,
				      .node = -1,
				      .page_size = PAGE_SIZE,
				      .cmdline = "",
				      .peer_uid = geteuid(),
				      .log_level = LOG_INFO,
				      .clock_skew_ns = CONFIG_CLOCK_SKEW * UINT64_C(1000000000),
				      .stop_s = CONFIG_STOP_TIMEOUT };
	ret = descriptors_init(&config->descriptors, err);
	option_begin(&line, command, argc, argv);
	if (ret == 0)
		ret = config_look(line, &given, &path, err);
	if (ret == 0 && path)
		ret = config_take_file(config, command, path, &given, err);
	while (ret == 0 && (ret = option_next(&line, &item, err)) == 1)
		ret = config_take(config, &item, err);
	if (ret == 0)
		ret = config_claim(config, err);
	return ret < 0 ? ret : option_need(command, given, err);
}

static int config_check_pages(const struct vm_config *config, struct error *err)
{
	if (config->mem % config->page_size == 0)
		return 0;
	error_add(err, "--hugepages: memory of %llu MiB is no whole number of pages of %llu MiB",
		  (unsigned long long)(config->mem >> 20), (unsigned long long)(config->page_size >> 20));
	return -EINVAL;
}

int config_parse_run(struct vm_config *config, int argc, char **argv, struct error *err)
{
	int ret = config_parse(config, COMMAND_RUN, argc, argv, err);

	if (config->mem == 0)
		config->mem = CONFIG_DEFAULT_MEM;
	if (config->cpus == 0)
		config->cpus = 1;
	return ret < 0 ? ret : config_check_pages(config, err);
}

int config_parse_receive(struct vm_config *config, int argc, char **argv, struct error *err)
{
	int ret = config_parse(config, COMMAND_RECEIVE, argc, argv, err);

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
	return ret < 0 ? ret : config_check_pages(config, err);
}

void config_release(struct vm_config *config)
{
	descriptors_release(&config->descriptors);
	free(config->text);
	config->text = NULL;
}
