/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a host is looked at: where its files are, what a guest is to have, and who opens devices. Nothing here
 * changes the host. One thread. */
#ifndef FERRY_VMM_HOST_HOST_LOOK_H
#define FERRY_VMM_HOST_HOST_LOOK_H

#include "vmm/host/host_report.h"

/* The guest that is asked about. */
struct host_wish {
	uint64_t mem;
	const char *runtime_dir;
	/* Its vDPA NICs; none: those that the host has are looked at, and none is needed. */
	unsigned int n_nets;
	struct net_config nets[CONFIG_MAX_NETS];
};

/* Those who open devices, which belong to other parts of Ferry. */
struct host_probe {
	/* Makes a VM with a vCPU that never runs, and says what it could have. -errno with the reason. */
	int (*machine)(struct cpuid_offer *cpu, struct error *err);
	/* Has such a VM run a few instructions. -errno with the reason. */
	int (*trial)(struct error *err);
	/*
	 * Opens the node that @config names and fills in @nic, all but its driver. @why: the reason for the
	 * mode that it would run in, or for none, which is an error. -errno with the reason: -EBUSY where
	 * another process has it.
	 */
	int (*nic)(const struct net_config *config, struct host_nic *nic, const char **why,
		   struct error *err);
	/* Writes the names of features, with ", " between two. */
	void (*feature_names)(uint64_t features, char *text, size_t size);
};

struct host_look {
	/* Folders in the place of /proc, /sys and /dev. */
	const char *proc, *sys, *dev;
	const struct host_wish *wish;
	const struct host_probe *probe;
};

/* A path of these folders, in bytes: longer ones are not found. */
#define HOST_PATH_MAX 512u

/*
 * Reads a file of the kernel's, at most @size - 1 bytes of it, into @text: without the end of its last line,
 * and cleaned but for ends of lines and tabs. 0 or -errno, with "" in @text.
 */
int __must_check host_read(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Whether there is such a file or folder. */
bool host_exists(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether @word is one of @text's, which are apart by spaces, commas or ends of lines. */
bool host_has_word(const char *text, const char *word);

/* The last part of the path that a link leads to, "" if there is none. */
void host_link_name(char name[HOST_LABEL_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
