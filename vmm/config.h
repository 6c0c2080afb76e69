/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of "run" and "receive" as plain data. */
#ifndef FERRY_VMM_CONFIG_H
#define FERRY_VMM_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "vmm/log.h"

#define CONFIG_MAX_NETS     8u
#define CONFIG_MAX_DISKS    8u
#define CONFIG_MAX_CPUS     64u
#define CONFIG_MAX_QUEUES   16u /* pairs of a device in software */
#define CONFIG_MIN_RING     64u
#define CONFIG_MAX_RING     32768u
#define CONFIG_DEFAULT_RING 512u
#define CONFIG_MIN_MEM      MIB(16)
#define CONFIG_MAX_MEM      GIB(4096)
#define CONFIG_DEFAULT_MEM  MIB(512)

/* How far a source's clock may be from this host's, seconds, where --clock-skew does not say another. */
#define CONFIG_CLOCK_SKEW 60u

/* How much of this process may get into a core file: nothing, its own memory, or the guest's as well. */
enum core_kind { CORE_NONE, CORE_FERRY, CORE_GUEST };

enum serial_kind { SERIAL_STDIO, SERIAL_UNIX, SERIAL_NONE };

/* Who serves the guest's data queues: the device itself (passthrough), or Ferry (shadow rings). Auto: the
 * device, where it can be taken off them again for a migration. */
enum net_mode { NET_AUTO, NET_SHADOW, NET_PASSTHROUGH };

/* A NIC's backend: a vhost-vdpa device, or Ferry's own in software on a TAP interface or a hub. */
struct net_config {
	const char *vdpa; /* path of a vhost-vdpa node */
	const char *packed_text, *in_order_text, *shared_switch_text, *mode_text;
	enum net_mode mode;
	bool split_only;    /* the guest is not offered packed rings */
	bool any_order;     /* nor rings whose buffers come back in order */
	bool shared_switch; /* with the host that a guest comes from */
	const char *soft;   /* not NULL: Ferry's own device; the rest is for it */
	const char *tap;    /* name of an interface */
	const char *bridge;
	const char *hub; /* path of a folder */
	const char *mac_text, *queues_text, *ring_text;
	bool mac_set;
	uint8_t mac[6];
	unsigned int n_queues; /* pairs */
	uint16_t ring_size;    /* entries that a data queue has at most */
};

struct disk_config {
	const char *path; /* raw file or block device */
	bool read_only;
};

struct vm_config {
	const char *name;
	const char *runtime_dir;
	const char *kernel;     /* NULL for "receive" */
	const char *initrd;     /* NULL: none */
	const char *cmdline;    /* "" by default */
	const char *from;       /* channel address of "receive", NULL for "run" */
	uint64_t clock_skew_ns; /* of "receive"; UINT64_MAX: any */
	enum core_kind core;
	uint64_t mem;      /* bytes; 0: not given, "receive" takes the source's */
	unsigned int cpus; /* 0: not given, same */
	enum serial_kind serial;
	const char *serial_path;
	unsigned int n_nets;
	struct net_config nets[CONFIG_MAX_NETS];
	unsigned int n_disks;
	struct disk_config disks[CONFIG_MAX_DISKS];
};

/* The directory of control sockets where --runtime-dir does not say another. */
#define CONFIG_RUNTIME_DIR "/run/ferry"

/* A VM's name becomes a file's name: letters, digits, '-', '_' and '.', not first '.', 1 to 64 characters. */
bool config_name_valid(const char *name);

/*
 * Parse the arguments of a subcommand, whose name is argv[0]. Strings point into @argv. A wrong option, value
 * or combination is -EINVAL with the reason and what would be right in @err.
 */
int __must_check config_parse_run(struct vm_config *config, int argc, char **argv, struct error *err);
int __must_check config_parse_receive(struct vm_config *config, int argc, char **argv, struct error *err);

/* The options as the parser knows them, for "ferry run --help" and "ferry receive --help". */
void config_help_run(FILE *out);
void config_help_receive(FILE *out);

/* "512M", "5G", plain bytes; binary units K M G T. -EINVAL for anything else and for what does not fit. */
int __must_check config_parse_size(const char *text, uint64_t *bytes);

#endif
