/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's side: its stages in order, the switchover, and the way back from each. */
#ifndef FERRY_MIGRATION_SOURCE_H
#define FERRY_MIGRATION_SOURCE_H

#include "migration/source_config.h"
#include "vmm/vm.h"

enum source_result {
	/* The guest runs at the destination; this VM is to end. */
	SOURCE_MOVED,
	/* The guest runs here as before; @err says why. */
	SOURCE_FAILED,
	/* COMMIT was sent and nothing came back, or the destination still has what only one can have (a
	 * disk's lock). The guest is paused here and stays so, until source_resume(); @err says why. */
	SOURCE_UNKNOWN,
};

/* Runs one migration on the caller's thread, to its end, over the socket config->fd, which is closed then
 * whatever the end is. Not two at once for one VM: the second is refused. */
enum source_result source_migrate(struct vm *vm, const struct source_config *config, struct report *report,
				  struct error *err);

/*
 * After SOURCE_UNKNOWN, on the operator's word that the guest does not run at the destination: it goes on
 * here, and can be migrated again. -errno if it cannot, for somebody has what it needs: it stays paused.
 */
int __must_check source_resume(struct vm *vm, struct error *err);

#endif
