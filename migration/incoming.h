/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's coming: what a source says after READY, up to its COMMIT. The guest runs here
 * after that only. */
#ifndef FERRY_MIGRATION_INCOMING_H
#define FERRY_MIGRATION_INCOMING_H

#include "migration/destination.h"

/* Work that is done while the guest comes, and takes longer the larger it is: KVM and devices get its memory.
 * The first SYNC waits for it, and so do the devices' and the vCPUs' states. */
struct incoming_work {
	int fd; /* readable once it has ended */
	/* Tells once how the work has ended: 0, or -errno with the reason. Waits for the end where that has
	 * not come. */
	int (*end)(void *opaque, struct error *err);
	void *opaque;
};

/*
 * Follows the source up to COMMIT. On 0 the guest is running here, and @work (NULL: there is none) has ended
 * well. On an error the source has been told, and @vm is only good for being destroyed.
 */
int __must_check incoming_run(struct destination *d, struct vm *vm, const struct incoming_work *work,
			      struct error *err);

#endif
