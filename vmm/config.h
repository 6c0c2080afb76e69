/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of "run" and "receive" as plain data. */
#ifndef FERRY_VMM_CONFIG_H
#define FERRY_VMM_CONFIG_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/config_cpus.h"
#include "vmm/config_device.h"
#include "vmm/config_net.h"
#include "vmm/config_serial.h"
#include "vmm/descriptor.h"
#include "vmm/option_table.h"

/* Bounds of a VM, to which the command line and a source's HELLO are held alike. */
#define CONFIG_MAX_NETS    8u
#define CONFIG_MAX_DISKS   8u
#define CONFIG_MIN_MEM     MIB(16)
#define CONFIG_MAX_MEM     GIB(4096)
#define CONFIG_DEFAULT_MEM MIB(512)
#define CONFIG_MAX_NODES   1024

/* Seconds that a source's clock may be from this host's, where --clock-skew does not say another. */
#define CONFIG_CLOCK_SKEW 60u

/* Seconds that a guest has to shut down, where --stop-timeout does not say another: less than service
 * managers give a service by default. */
#define CONFIG_STOP_TIMEOUT     60u
#define CONFIG_MAX_STOP_TIMEOUT 86400u

/* How much of this process may get into a core file: nothing, its own memory, or the guest's as well. */
enum core_kind { CORE_NONE, CORE_FERRY, CORE_GUEST };

/* Whether systemd-machined is told of the VM: where it can be, in any case, or not. */
enum config_register { REGISTER_AUTO, REGISTER_YES, REGISTER_NO };

/* What becomes of a guest that asks for a reset: it boots again in place, or the process ends. */
enum on_reset { RESET_RESTARTS, RESET_ENDS };

/* The file of KVM, where --kvm does not say another. */
#define CONFIG_KVM "/dev/kvm"

struct disk_config {
	const char *path; /* raw file or block device, or fd:N */
	bool read_only;
};

struct vm_config {
	bool receives; /* a guest comes: "ferry receive" */
	const char *name;
	const char *runtime_dir;
	/* Paths, or fd:N as of vmm/descriptor.h. @initrd may be NULL, @cmdline is "" by default; but for @kvm
	 * they are of "run". */
	const char *kvm, *kernel, *initrd, *cmdline;
	/* Of "receive": the path of a unix socket, or fd:N of one that listens; NULL for none; and who beside
	 * us and root may connect to it; how far the source's clock may be off, UINT64_MAX for any. */
	const char *from_path;
	uid_t peer_uid;
	/* Of "receive": HOST:PORT to listen at for sources that come over TLS, the folder of certificates and
	 * key, and a name that a source must have; NULL: none. */
	const char *from_tls, *tls_dir, *tls_peer;
	uint64_t clock_skew_ns;
	const char *report; /* a file for the report of the guest's coming; NULL: none */
	enum on_reset on_reset;
	unsigned int stop_s; /* for the guest to shut down after SIGTERM; 0: it is not asked */
	enum core_kind core;
	enum config_register registers;
	enum log_level log_level; /* messages above it are dropped */
	/* Bytes and number; 0, of "receive" alone: not given, so that it takes the source's. */
	uint64_t mem;
	int node; /* of the host's, that memory comes from; -1: any */
	/* What memory comes in: PAGE_SIZE, or the size of huge pages. */
	uint64_t page_size;
	unsigned int cpus;
	struct cpus_config vcpus; /* as --cpus says; @pinned false where it is not given */
	/* Of "run": a file, or a level's name (vmm/x86/cpu_baseline.h); NULL: all that the host has. */
	const char *cpu_baseline;
	enum serial_kind serial;
	const char *serial_path; /* of a socket or a file */
	uint64_t serial_max;     /* of a file, bytes */
	unsigned int n_nets;
	struct net_config nets[CONFIG_MAX_NETS];
	unsigned int n_disks;
	struct disk_config disks[CONFIG_MAX_DISKS];
	/* Of "run": a set of enum config_device. */
	unsigned int devices;
	/* Descriptors that the options name. */
	struct descriptors descriptors;
	/* The text of --config, allocated, or NULL: strings point into it. */
	char *text;
};

#define CONFIG_RUNTIME_DIR OPTION_RUNTIME_DIR_DEFAULT

/*
 * Parses the arguments of a subcommand, whose name is argv[0], and the file that --config names, before this
 * process opens anything else, see vmm/descriptor.h. An option of
 * the command line stands in the place of all that the file says of that option. Strings point into @argv,
 * which is changed, and into memory that config_release() frees, after failure too. A wrong option, value or
 * combination is -EINVAL with the reason and what would be right in @err; -errno if the file cannot be read.
 */
int __must_check config_parse_run(struct vm_config *config, int argc, char **argv, struct error *err);
int __must_check config_parse_receive(struct vm_config *config, int argc, char **argv, struct error *err);
void config_release(struct vm_config *config);

#endif
