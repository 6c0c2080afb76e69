/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The set of pages to send: filled from the memfd's extents and the two logs, emptied run by run. */
#include "migration/dirty.h"

#include <errno.h>

/* Marks the pages that exist: the rest are holes, which are zero at the destination as well. */
static int dirty_mark_existing(struct dirty *d)
{
	uint64_t start, end = 0;
	int ret;

	while ((ret = memory_next_data(&d->vm->memory, end, UINT64_MAX, &start, &end)) == 1)
		page_set_add(&d->pages, start >> PAGE_SHIFT, align_up(end, PAGE_SIZE) >> PAGE_SHIFT);
	return ret;
}

int dirty_start(struct dirty *d, struct vm *vm, struct error *err)
{
	int ret;

	*d = (struct dirty){ .vm = vm };
	ret = page_set_init(&d->pages, memory_pages(&vm->memory));
	if (ret < 0) {
		error_add(err, "out of memory for a bitmap of guest memory");
		return ret;
	}
	ret = kvm_log_start(&vm->kvm);
	if (ret < 0) {
		error_add(err, "cannot start KVM's dirty log: %s", strerror(-ret));
		goto free_pages;
	}
	ret = memory_log_start(&vm->memory);
	if (ret < 0) {
		error_add(err, "cannot start the dirty log: %s", strerror(-ret));
		goto stop_kvm_log;
	}
	/* The logs are on first, so that a page that comes into being from here on is in one of them. */
	ret = dirty_mark_existing(d);
	if (ret < 0) {
		error_add(err, "cannot find the holes of guest memory: %s", strerror(-ret));
		goto stop_log;
	}
	return 0;

stop_log:
	memory_log_stop(&vm->memory);
stop_kvm_log:
	kvm_log_stop(&vm->kvm);
free_pages:
	page_set_exit(&d->pages);
	return ret;
}

void dirty_stop(struct dirty *d)
{
	if (!d->pages.words)
		return;
	memory_log_stop(&d->vm->memory);
	kvm_log_stop(&d->vm->kvm);
	dirty_forget(d);
}

void dirty_forget(struct dirty *d)
{
	page_set_exit(&d->pages);
}

int dirty_sync(struct dirty *d, struct error *err)
{
	int ret = kvm_log_take(&d->vm->kvm, &d->pages);

	if (ret < 0) {
		error_add(err, "cannot read KVM's dirty log: %s", strerror(-ret));
		return ret;
	}
	memory_log_take(&d->vm->memory, &d->pages);
	return 0;
}

uint64_t dirty_bytes(const struct dirty *d)
{
	return d->pages.n_pages << PAGE_SHIFT;
}

const struct memory_region *dirty_region(const struct dirty *d, uint64_t page)
{
	const struct memory *m = &d->vm->memory;
	const struct memory_region *r = m->regions;

	while (page << PAGE_SHIFT >= r->offset + r->len)
		r++;
	return r;
}

bool dirty_next_run(struct dirty *d, uint64_t *page, uint64_t *n_pages, uint64_t max_pages)
{
	uint64_t n = memory_pages(&d->vm->memory);
	uint64_t first = page_set_next(&d->pages, *page, n);
	const struct memory_region *r;
	uint64_t end;

	if (first == n)
		return false;
	r = dirty_region(d, first);
	end = min_u64(first + max_pages, (r->offset + r->len) >> PAGE_SHIFT);
	end = page_set_next_gap(&d->pages, first, end);
	page_set_remove(&d->pages, first, end);
	*page = first;
	*n_pages = end - first;
	return true;
}
