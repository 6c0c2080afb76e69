/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set of pages of guest memory: a bit a page, and above these a bit for each word of them, so that looking
 * for the few pages of a large guest that are in it costs about nothing for all those that are not. One
 * thread.
 */
#ifndef FERRY_VMM_PAGE_SET_H
#define FERRY_VMM_PAGE_SET_H

#include "vmm/util.h"

struct page_set {
	uint64_t *words;   /* page n: bit n % 64 of word n / 64 */
	uint64_t *summary; /* in the same way, which words are not zero */
	uint64_t n_words;
	uint64_t n_pages; /* in the set */
};

/* An empty set for pages below @n_pages. -ENOMEM. page_set_exit() also takes a zeroed one. */
int __must_check page_set_init(struct page_set *s, uint64_t n_pages);
void page_set_exit(struct page_set *s);

/* Adds the pages of @bits, which are of the word @word. */
void page_set_add_word(struct page_set *s, uint64_t word, uint64_t bits);

/* Adds the pages whose bits are set in @n_words of @src, of which bit 0 is the page @first. A bit beyond the
 * set's last word must not be set. */
void page_set_add_bits(struct page_set *s, uint64_t first, const uint64_t *src, uint64_t n_words);

/* Adds or removes all pages from @first to before @end. */
void page_set_add(struct page_set *s, uint64_t first, uint64_t end);
void page_set_remove(struct page_set *s, uint64_t first, uint64_t end);

/* Return the first page at or after @page, below @end, that is in the set, or that is not; @end if none. */
uint64_t page_set_next(const struct page_set *s, uint64_t page, uint64_t end);
uint64_t page_set_next_gap(const struct page_set *s, uint64_t page, uint64_t end);

#endif
