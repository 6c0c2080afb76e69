/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pages that are still to be sent: KVM's log and Ferry's own merged, walked as runs. On the migration's
 * thread. */
#ifndef FERRY_MIGRATION_DIRTY_H
#define FERRY_MIGRATION_DIRTY_H

#include "vmm/vm.h"

struct dirty {
	struct vm *vm;
	struct page_set pages; /* of the memfd */
};

/* Switches both logs on, with every page that exists (no hole of the memfd) marked. dirty_stop() switches off
 * and frees; dirty_forget() frees and leaves the logs on, for a VM that ends. A zeroed struct may be passed
 * to both. */
int __must_check dirty_start(struct dirty *d, struct vm *vm, struct error *err);
void dirty_stop(struct dirty *d);
void dirty_forget(struct dirty *d);

/* Adds the pages that were written since the last call. */
int __must_check dirty_sync(struct dirty *d, struct error *err);

/* Returns how many bytes are marked. */
uint64_t dirty_bytes(const struct dirty *d);

/* Takes the next run of marked pages at or after page *@page, up to @max_pages and within one region, and
 * unmarks it. Returns true with *@page and *@n_pages set, false if there is none. */
bool dirty_next_run(struct dirty *d, uint64_t *page, uint64_t *n_pages, uint64_t max_pages);

/* Returns the region that page @page of the memfd is in. */
const struct memory_region *dirty_region(const struct dirty *d, uint64_t page);

#endif
