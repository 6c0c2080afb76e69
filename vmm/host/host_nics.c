/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vDPA devices, by their folders under /sys/bus/vdpa. */
#define _GNU_SOURCE
#include "vmm/host/host_nics.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/text.h"

/* Devices that are listed; a host with more is asked about single nodes. */
#define HOST_MAX_DEVICES 256u

#define HOST_NODE_PREFIX "vhost-vdpa-"

#define HOST_NIC_MAKE                                                                                        \
	"load vhost_vdpa and the device's driver with \"modprobe\", make a device with \"vdpa dev add\", "   \
	"and bind it to vhost_vdpa; a NIC in software needs none: --net soft"

/* A vDPA device, whether it has a node or not. */
struct host_device {
	char name[HOST_LABEL_MAX];
	char node[HOST_LABEL_MAX];   /* name of the node; "" if it has none */
	char bus[HOST_LABEL_MAX];    /* driver of the device itself, such as vhost_vdpa; "" if none */
	char parent[HOST_LABEL_MAX]; /* name of the parent device */
	char driver[HOST_LABEL_MAX]; /* of the parent; or its class, or else its name */
};

struct host_devices {
	unsigned int n;
	struct host_device list[HOST_MAX_DEVICES];
};

/* Copies a name out of sysfs; false if it does not fit, or is no plain name. */
static bool host_nics_copy(char to[HOST_LABEL_MAX], const char *name)
{
	if (name[0] == '.' || strlen(name) >= HOST_LABEL_MAX)
		return false;
	strcpy(to, name);
	text_clean(to, strlen(to));
	return strcmp(to, name) == 0;
}

/* The device has the node's folder in its own. */
static void host_nics_find_node(struct host_device *device, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && !device->node[0] && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, HOST_NODE_PREFIX, strlen(HOST_NODE_PREFIX)) == 0 &&
		    !host_nics_copy(device->node, entry->d_name))
			device->node[0] = '\0';
	}
	if (dir)
		closedir(dir);
}

static void host_nics_find_parent(struct host_device *device, const char *path)
{
	char *real = realpath(path, NULL), *slash = real ? strrchr(real, '/') : NULL;

	if (slash && slash != real) {
		*slash = '\0';
		slash = strrchr(real, '/');
		host_link_name(device->driver, "%s/driver", real);
		/* A program's device has a class in the place of a driver: vduse. */
		if (!device->driver[0])
			host_link_name(device->driver, "%s/subsystem", real);
		if (slash && !host_nics_copy(device->parent, slash + 1))
			device->parent[0] = '\0';
	}
	if (!device->driver[0])
		strcpy(device->driver, device->parent);
	free(real);
}

/* Nodes by number, and devices without one behind them by name. */
static int host_nics_order(const void *a, const void *b)
{
	const struct host_device *x = a, *y = b;

	if (!x->node[0] != !y->node[0])
		return x->node[0] ? -1 : 1;
	return x->node[0] ? strverscmp(x->node, y->node) : strverscmp(x->name, y->name);
}

/* Lists the devices. -errno: there is no vDPA. */
static int host_nics_list(struct host_devices *devices, const struct host_look *look)
{
	char path[HOST_PATH_MAX];
	struct dirent *entry;
	int len = snprintf(path, sizeof(path), "%s/bus/vdpa/devices", look->sys);
	DIR *dir = opendir(path);

	if (!dir)
		return -errno;
	while (devices->n < HOST_MAX_DEVICES && (entry = readdir(dir))) {
		struct host_device *device = &devices->list[devices->n];
		int n;

		if (!host_nics_copy(device->name, entry->d_name))
			continue;
		n = snprintf(path + len, sizeof(path) - (size_t)len, "/%s", device->name);
		if (n < 0 || n >= (int)sizeof(path) - len)
			continue;
		host_link_name(device->bus, "%s/driver", path);
		host_nics_find_node(device, path);
		host_nics_find_parent(device, path);
		devices->n++;
	}
	closedir(dir);
	qsort(devices->list, devices->n, sizeof(devices->list[0]), host_nics_order);
	return 0;
}

static const struct host_device *host_nics_find(const struct host_devices *devices, const char *node)
{
	for (unsigned int i = 0; i < devices->n; i++) {
		if (strcmp(devices->list[i].node, node) == 0)
			return &devices->list[i];
	}
	return NULL;
}

/* "vhost-vdpa-0 mode" */
static const char *host_nics_name(char name[HOST_LABEL_MAX], const char *node, const char *what)
{
	snprintf(name, HOST_LABEL_MAX, "%.*s %s", (int)(HOST_LABEL_MAX - strlen(what) - 2), node, what);
	return name;
}

static void host_nics_add_queues(struct host_report *r, const char *node, const struct host_nic *nic)
{
	char name[HOST_LABEL_MAX];

	host_report_add(r, HOST_INFO, host_nics_name(name, node, "queues"), "",
			"%u queue pair%s%s, rings of up to %u entries; %u group%s of queues, %u address "
			"space%s%s; %s; "
			"addresses up to 0x%llx",
			nic->pairs, nic->pairs == 1 ? "" : "s",
			nic->ctrl ? " and a control queue" : ", no control queue", nic->ring, nic->groups,
			nic->groups == 1 ? "" : "s", nic->spaces, nic->spaces == 1 ? "" : "s",
			nic->ctrl_apart ? ", the control queue apart" : "",
			nic->can_suspend ? "can be suspended and resumed" : "cannot be suspended and resumed",
			(unsigned long long)nic->last_address);
}

static void host_nics_add_features(struct host_report *r, const struct host_look *look, const char *node,
				   const struct host_nic *nic)
{
	char name[HOST_LABEL_MAX], offered[HOST_FOUND_MAX], kept[HOST_FOUND_MAX];

	look->probe->feature_names(nic->offered, offered, sizeof(offered));
	look->probe->feature_names(nic->features & ~nic->offered, kept, sizeof(kept));
	host_report_add(r, HOST_INFO, host_nics_name(name, node, "features"), "", "a guest is offered %s%s%s",
			offered, kept[0] ? "; the device has beside them " : "", kept);
}

/* What a node is that can be opened. */
static void host_nics_add(struct host_report *r, const struct host_look *look,
			  const struct host_device *device, struct host_nic *nic, const char *why)
{
	const char *node = strrchr(nic->node, '/') ? strrchr(nic->node, '/') + 1 : nic->node;
	char name[HOST_LABEL_MAX], mac[32] = "no MAC address of its own", mtu[24] = "";

	if (memcmp(nic->mac, (uint8_t[MAC_LEN]){ 0 }, MAC_LEN) != 0)
		snprintf(mac, sizeof(mac), "MAC address " MAC_FORMAT, MAC_ARGS(nic->mac));
	if (nic->mtu > 0)
		snprintf(mtu, sizeof(mtu), ", MTU %u", nic->mtu);
	host_report_add(r, HOST_OK, node, "", "%s%s%s%s%s, %s%s", device ? device->name : "a vDPA NIC",
			device ? " of " : "", device ? device->driver : "",
			device && strcmp(device->driver, device->parent) != 0 ? " " : "",
			device && strcmp(device->driver, device->parent) != 0 ? device->parent : "", mac,
			mtu);
	host_nics_add_features(r, look, node, nic);
	host_nics_add_queues(r, node, nic);
	host_report_add(r, nic->passthrough ? HOST_OK : HOST_INFO, host_nics_name(name, node, "mode"), "",
			"%s%s%s",
			nic->passthrough ? "passthrough: the device serves the guest's rings"
					 : "shadow rings: Ferry serves the guest's",
			why ? ", for " : "", why ? why : "");
}

/* Looks into one node. @asked: a guest is to have it. */
static void host_nics_look(struct host_report *r, const struct host_look *look,
			   const struct net_config *config, const struct host_device *device)
{
	const char *slash = strrchr(config->vdpa, '/');
	struct host_nic *nic = &r->facts.nics[r->facts.n_nics];
	bool asked = look->wish->n_nets > 0;
	struct error err = { 0 };
	const char *why = NULL;
	int ret;

	*nic = (struct host_nic){ 0 };
	ret = look->probe->nic(config, nic, &why, &err);
	if (ret == 0) {
		snprintf(nic->node, sizeof(nic->node), "%s", config->vdpa);
		snprintf(nic->driver, sizeof(nic->driver), "%s", device ? device->driver : "");
		host_nics_add(r, look, device, nic, why);
		r->facts.n_nics++;
		return;
	}
	host_report_add(r,
			asked           ? HOST_FAIL
			: ret == -EBUSY ? HOST_INFO
					: HOST_WARN,
			slash ? slash + 1 : config->vdpa,
			ret == -EBUSY && asked ? "end the process that has it, or name another node" : "",
			"%s%s%s%s", device ? device->driver : "", device && device->driver[0] ? ": " : "",
			err.text, ret == -EBUSY && !asked ? ", such as a running guest's" : "");
}

static void host_nics_check_asked(struct host_report *r, const struct host_look *look,
				  const struct host_devices *devices)
{
	for (unsigned int i = 0; i < look->wish->n_nets; i++) {
		const struct net_config *config = &look->wish->nets[i];
		const char *slash = strrchr(config->vdpa, '/');

		host_nics_look(r, look, config, host_nics_find(devices, slash ? slash + 1 : config->vdpa));
	}
}

/* Looks into those that there are. Returns the number of devices with a node. */
static unsigned int host_nics_check_all(struct host_report *r, const struct host_look *look,
					const struct host_devices *devices)
{
	unsigned int n = 0;

	while (n < devices->n && devices->list[n].node[0]) {
		const struct host_device *device = &devices->list[n++];
		char path[HOST_PATH_MAX];
		const struct net_config config = { .vdpa = path };

		snprintf(path, sizeof(path), "%s/%s", look->dev, device->node);
		if (n <= HOST_MAX_NICS)
			host_nics_look(r, look, &config, device);
	}
	return n;
}

/* Says what there is beside the nodes that were looked into. */
static void host_nics_add_rest(struct host_report *r, const struct host_devices *devices,
			       unsigned int n_nodes)
{
	unsigned int unbound = devices->n - n_nodes;
	const struct host_device *first = &devices->list[n_nodes];

	if (devices->n == 0)
		host_report_add(r, HOST_INFO, "vdpa", HOST_NIC_MAKE, "this host has no vDPA devices");
	else if (unbound > 0)
		host_report_add(
			r, HOST_WARN, "vdpa",
			"\"modprobe vhost_vdpa\", then write its name to "
			"/sys/bus/vdpa/drivers/vhost_vdpa/bind, after unbinding it where another has it",
			"%u vDPA devices; %u without a node, the first of them %s, %s%s", devices->n, unbound,
			first->name, first->bus[0] ? "bound to " : "bound to no driver", first->bus);
	else
		host_report_add(r, HOST_OK, "vdpa",
				n_nodes > HOST_MAX_NICS ? "name those of interest: --net vdpa=PATH" : "",
				"%u vDPA device%s, bound to vhost_vdpa%s", devices->n,
				devices->n == 1 ? "" : "s",
				n_nodes > HOST_MAX_NICS ? "; only the first are shown" : "");
}

static void host_nics_check_iommu(struct host_report *r, const struct host_look *look)
{
	char path[HOST_PATH_MAX];
	struct dirent *entry;
	unsigned int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/kernel/iommu_groups", look->sys);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	if (n > 0)
		host_report_add(r, HOST_OK, "iommu", "", "it is on: %u groups of devices", n);
	else
		host_report_add(
			r, HOST_INFO, "iommu",
			"for hardware: switch VT-d or AMD-Vi on in the machine's firmware, and boot with "
			"intel_iommu=on where the CPU is Intel's",
			"it is off, or there is none: only vDPA devices that need no IOMMU can be used, "
			"such as those with one of their own, and those in software");
}

void host_nics_check(struct host_report *r, const struct host_look *look)
{
	struct host_devices *devices = calloc(1, sizeof(*devices));
	unsigned int n_nodes;

	if (!devices) {
		host_report_add(r, HOST_FAIL, "vdpa", "", "out of memory for a list of devices");
		return;
	}
	if (host_nics_list(devices, look) < 0 && look->wish->n_nets == 0) {
		host_report_add(r, HOST_INFO, "vdpa", HOST_NIC_MAKE, "the kernel's vDPA is not loaded");
	} else if (look->wish->n_nets > 0) {
		host_nics_check_asked(r, look, devices);
	} else {
		n_nodes = host_nics_check_all(r, look, devices);
		host_nics_add_rest(r, devices, n_nodes);
	}
	host_nics_check_iommu(r, look);
	free(devices);
}
