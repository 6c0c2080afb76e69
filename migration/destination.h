/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's side: it answers, it checks everything before it says PREPARED, and it runs the guest
 * after COMMIT only. */
#ifndef FERRY_MIGRATION_DESTINATION_H
#define FERRY_MIGRATION_DESTINATION_H

#include "migration/stream.h"
#include "vmm/vm.h"

struct destination_config {
	const char *from;       /* channel address */
	int cancel_fd;          /* see channel.h */
	uint64_t clock_skew_ns; /* the source's clock may differ by this much; UINT64_MAX: by anything */
};

struct destination {
	struct channel channel;
	struct stream stream;
	void *hello; /* config tree, checked as a whole */
	uint32_t hello_len;
	uint64_t mem;
	unsigned int cpus;
	uint64_t clock_skew_ns;
	uint64_t accepted, arrived; /* this host's clock (clock.h): the HELLO was said after the one, came
				       with the other */
	void *tree;                 /* STATE_MAX bytes, for the payload in hand */
};

/* Work that is done while the guest comes, and takes longer the larger it is: KVM and devices get its memory.
 * The first SYNC waits for it, and so do the devices' and the vCPUs' states. */
struct destination_work {
	int fd; /* readable once it has ended */
	/* Tells once how the work has ended: 0, or -errno with the reason. Waits for the end where that has
	 * not come. */
	int (*end)(void *opaque, struct error *err);
	void *opaque;
};

/*
 * The order is that of these functions: the guest is compared before anything is taken for it, and READY is
 * out before what takes longer the larger the guest is. Where one fails before destination_run(), the caller
 * says so with destination_refuse().
 */

/*
 * Waits for a source, whoever else connects meanwhile and says something else or nothing, and takes its
 * HELLO: memory size and vCPU count are known then, within the bounds of what can be built at all. On an
 * error there is nothing to close.
 */
int __must_check destination_accept(struct destination *d, const struct destination_config *config,
				    struct error *err);

/*
 * Compares the HELLO with @vm, of which no more than vm_frame() and its devices is needed. Every difference
 * is added to @err; where there were reasons in it the guest is refused for those.
 */
int __must_check destination_compare(struct destination *d, struct vm *vm, struct error *err);

/* Says READY. The VM has its memory, and need not have more. */
int __must_check destination_ready(struct destination *d, struct error *err);

/* Tells the source why this host cannot take the guest. */
void destination_refuse(struct destination *d, const struct error *err);

/*
 * Follows the source up to COMMIT. On 0 the guest is running here, and @work (NULL: there is none) has ended
 * well. On an error the source has been told, and @vm is only good for being destroyed.
 */
int __must_check destination_run(struct destination *d, struct vm *vm, const struct destination_work *work,
				 struct error *err);
void destination_close(struct destination *d);

#endif
