/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VM's devices are and do, for clients of the control socket: a part at a time, for a reply has its
 * bounds. Any thread; nobody waits longer than INSPECT_MS for a device that stands still. */
#ifndef FERRY_MIGRATION_INSPECT_H
#define FERRY_MIGRATION_INSPECT_H

#include "migration/job.h"
#include "vmm/config.h"

#define INSPECT_MS 1000

/*
 * Writes the answer to the method DescribeNic: the NIC @name, the first one for NULL, and its queues from
 * @queue on. 0; -ENOENT: there is no such NIC; -ETIMEDOUT with the reason. What does not fit @size bytes,
 * which are at least 16 KiB, is left out, and the answer says so.
 */
int __must_check inspect_nic(const struct vm *vm, const char *name, unsigned int queue, char *text,
			     size_t size, struct error *err);

/* What an answer to the method Metrics is about, beside the devices; @vm is NULL while there is no guest. */
struct inspect_vm {
	const struct vm_config *config;
	const struct vm *vm;
	struct job *job;
	const char *state;
};

/*
 * Writes the answer to the method Metrics: the part that *@from, which the answer before has named, stands
 * for, 0 for the first. As inspect_nic() does; -ENOENT: there is no such part.
 */
int __must_check inspect_metrics(const struct inspect_vm *in, unsigned int from, char *text, size_t size,
				 struct error *err);

#endif
