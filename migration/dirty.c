/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bitmap of pages to send: filled from the memfd's extents and the two logs, emptied run by run. */
#include "migration/dirty.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t dirty_bits_from(uint64_t bit)
{
	return ~(uint64_t)0 << (bit % 64);
}

/* Sets or clears [first, end), a word at a time. */
static void dirty_fill(struct dirty *d, uint64_t first, uint64_t end, bool set)
{
	while (first < end) {
		uint64_t stop = min_u64(end, (first | 63) + 1);
		uint64_t mask = dirty_bits_from(first);

		if (stop % 64 != 0)
			mask &= ~dirty_bits_from(stop);
		if (set)
			d->bitmap[first / 64] |= mask;
		else
			d->bitmap[first / 64] &= ~mask;
		first = stop;
	}
}

/* Finds the first page at or after @page, below @end, whose bit is @set; @end if there is none. */
static uint64_t dirty_find(const struct dirty *d, uint64_t page, uint64_t end, bool set)
{
	while (page < end) {
		uint64_t word = (set ? d->bitmap[page / 64] : ~d->bitmap[page / 64]) & dirty_bits_from(page);

		if (word)
			return min_u64(end, (page & ~(uint64_t)63) + (uint64_t)__builtin_ctzll(word));
		page = (page | 63) + 1;
	}
	return end;
}

/* Marks the pages that exist: the rest are holes, which are zero at the destination as well. */
static int dirty_mark_existing(struct dirty *d)
{
	uint64_t start, end = 0;
	int ret;

	while ((ret = memory_next_data(&d->vm->memory, end, UINT64_MAX, &start, &end)) == 1)
		dirty_fill(d, start >> PAGE_SHIFT, align_up(end, PAGE_SIZE) >> PAGE_SHIFT, true);
	return ret;
}

int dirty_start(struct dirty *d, struct vm *vm, struct error *err)
{
	int ret;

	*d = (struct dirty){ .vm = vm, .n_words = memory_bitmap_words(&vm->memory) };
	d->bitmap = calloc(d->n_words, sizeof(*d->bitmap));
	if (!d->bitmap) {
		error_add(err, "out of memory for a bitmap of guest memory");
		return -ENOMEM;
	}
	ret = kvm_log_start(&vm->kvm);
	if (ret < 0) {
		error_add(err, "cannot start KVM's dirty log: %s", strerror(-ret));
		goto free_bitmap;
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
free_bitmap:
	free(d->bitmap);
	d->bitmap = NULL;
	return ret;
}

void dirty_stop(struct dirty *d)
{
	if (!d->bitmap)
		return;
	memory_log_stop(&d->vm->memory);
	kvm_log_stop(&d->vm->kvm);
	dirty_forget(d);
}

void dirty_forget(struct dirty *d)
{
	free(d->bitmap);
	d->bitmap = NULL;
}

int dirty_sync(struct dirty *d, struct error *err)
{
	int ret = kvm_log_take(&d->vm->kvm, d->bitmap);

	if (ret < 0) {
		error_add(err, "cannot read KVM's dirty log: %s", strerror(-ret));
		return ret;
	}
	memory_log_take(&d->vm->memory, d->bitmap);
	return 0;
}

uint64_t dirty_bytes(const struct dirty *d)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < d->n_words; i++)
		n += (uint64_t)__builtin_popcountll(d->bitmap[i]);
	return n << PAGE_SHIFT;
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
	uint64_t first = dirty_find(d, *page, n, true);
	const struct memory_region *r;
	uint64_t end;

	if (first == n)
		return false;
	r = dirty_region(d, first);
	end = min_u64(first + max_pages, (r->offset + r->len) >> PAGE_SHIFT);
	end = dirty_find(d, first, end, false);
	dirty_fill(d, first, end, false);
	*page = first;
	*n_pages = end - first;
	return true;
}
