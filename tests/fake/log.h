/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of what was written to guest memory, as a test looks at it: a bit a page. */
#ifndef FERRY_TESTS_FAKE_LOG_H
#define FERRY_TESTS_FAKE_LOG_H

#include <assert.h>

#include "vmm/memory.h"

static inline uint64_t fake_log_words(const struct memory *m)
{
	return (memory_pages(m) + 63) / 64;
}

/* ORs the log into @bitmap, which has fake_log_words() words, and empties the log. */
static inline void fake_log_take(struct memory *m, uint64_t *bitmap)
{
	struct page_set pages;
	int ret = page_set_init(&pages, memory_pages(m));

	assert(ret == 0);
	memory_log_take(m, &pages);
	for (uint64_t i = 0; i < pages.n_words; i++)
		bitmap[i] |= pages.words[i];
	page_set_exit(&pages);
}

#endif
