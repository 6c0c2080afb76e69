/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VM is, for a client of the control socket. */
#include "migration/describe.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/control/json.h"

/* Bytes of a path, or of a name, with its quotes and escapes. */
#define DESCRIBE_QUOTED_MAX 288u
/* Bytes of a NIC or disk: texts and what stands around them. */
#define DESCRIBE_NIC_MAX  (4 * DESCRIBE_QUOTED_MAX + 256)
#define DESCRIBE_DISK_MAX (DESCRIBE_QUOTED_MAX + 128)

_Static_assert(CONFIG_MAX_NETS *DESCRIBE_NIC_MAX + CONFIG_MAX_DISKS * DESCRIBE_DISK_MAX + 1024 <= KIB(16),
	       "all devices fit");

static void describe_put_string(struct json_text *t, const char *name, const char *value)
{
	char quoted[DESCRIBE_QUOTED_MAX];

	if (!value)
		return;
	json_quote(value, quoted, sizeof(quoted));
	json_put(t, ",\"%s\":%s", name, quoted);
}

static void describe_nic(struct json_text *t, const struct net_config *net, unsigned int i)
{
	static const char *const modes[] = {
		[NET_AUTO] = "auto",
		[NET_SHADOW] = "shadow",
		[NET_PASSTHROUGH] = "passthrough",
	};

	json_put(t, "%s{\"name\":\"net%u\",\"mode\":\"%s\"", i > 0 ? "," : "", i, modes[net->mode]);
	describe_put_string(t, "vdpa", net->vdpa);
	describe_put_string(t, "tap", net->tap);
	describe_put_string(t, "bridge", net->bridge);
	describe_put_string(t, "hub", net->hub);
	if (net->mac_set)
		json_put(t, ",\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"", net->mac[0], net->mac[1],
			 net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
	json_put(t, "}");
}

static void describe_disk(struct json_text *t, const struct disk_config *disk, unsigned int i)
{
	json_put(t, "%s{\"name\":\"disk%u\",\"readOnly\":%s", i > 0 ? "," : "", i,
		 disk->read_only ? "true" : "false");
	describe_put_string(t, "path", disk->path);
	json_put(t, "}");
}

void describe_vm(const struct vm_config *config, const struct vm *vm, const char *state, char *text,
		 size_t size)
{
	struct json_text t = { .buf = text, .size = size };
	uint64_t mem = vm ? vm->memory.size : config->mem;
	unsigned int cpus = vm ? vm->n_vcpus : config->cpus;

	json_put(&t, "{\"pid\":%d,\"version\":\"" FERRY_VERSION "\",\"role\":\"%s\",\"state\":\"%s\"",
		 (int)getpid(), config->receives ? "receive" : "run", state);
	describe_put_string(&t, "name", config->name);
	if (mem)
		json_put(&t, ",\"memory\":%" PRIu64, mem);
	if (cpus)
		json_put(&t, ",\"cpus\":%u", cpus);
	json_put(&t, ",\"nics\":[");
	for (unsigned int i = 0; i < config->n_nets; i++)
		describe_nic(&t, &config->nets[i], i);
	json_put(&t, "],\"disks\":[");
	for (unsigned int i = 0; i < config->n_disks; i++)
		describe_disk(&t, &config->disks[i], i);
	json_put(&t, "]}");
}
