/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's side: it answers, it checks everything before it says PREPARED, and it runs the guest
 * after COMMIT only. */
#ifndef FERRY_MIGRATION_DESTINATION_H
#define FERRY_MIGRATION_DESTINATION_H

#include "migration/stream.h"
#include "vmm/vm.h"

struct destination {
	struct channel channel;
	struct stream stream;
	void *hello; /* config tree, checked as a whole */
	uint32_t hello_len;
	uint64_t mem;
	unsigned int cpus;
};

/* Waits for a source and takes its HELLO: memory size and vCPU count are known then, and bounded. */
int __must_check destination_accept(struct destination *d, const char *from, int cancel_fd,
				    struct error *err);

/* Tells the source why this host cannot take the guest. */
void destination_refuse(struct destination *d, const struct error *err);

/*
 * Checks the VM and its devices against the HELLO, answers, and follows the source up to COMMIT. On 0 the
 * guest is running here. On an error the source has been told, and @vm is only good for being destroyed.
 */
int __must_check destination_run(struct destination *d, struct vm *vm, struct error *err);
void destination_close(struct destination *d);

#endif
