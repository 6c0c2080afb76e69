/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bits of pages, and bits of the words that they are in. */
#include "vmm/page_set.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t page_bits_from(uint64_t bit)
{
	return ~(uint64_t)0 << (bit % 64);
}

int page_set_init(struct page_set *s, uint64_t n_pages)
{
	*s = (struct page_set){ .n_words = (n_pages + 63) / 64 };
	s->words = calloc(s->n_words, sizeof(*s->words));
	s->summary = calloc((s->n_words + 63) / 64, sizeof(*s->summary));
	if (s->words && s->summary)
		return 0;
	page_set_exit(s);
	return -ENOMEM;
}

void page_set_exit(struct page_set *s)
{
	free(s->words);
	free(s->summary);
	*s = (struct page_set){ 0 };
}

void page_set_add_word(struct page_set *s, uint64_t word, uint64_t bits)
{
	uint64_t added = bits & ~s->words[word];

	if (!added)
		return;
	s->words[word] |= added;
	s->summary[word / 64] |= (uint64_t)1 << (word % 64);
	s->n_pages += (uint64_t)__builtin_popcountll(added);
}

static void page_set_remove_word(struct page_set *s, uint64_t word, uint64_t bits)
{
	uint64_t removed = bits & s->words[word];

	s->words[word] &= ~removed;
	if (!s->words[word])
		s->summary[word / 64] &= ~((uint64_t)1 << (word % 64));
	s->n_pages -= (uint64_t)__builtin_popcountll(removed);
}

void page_set_add_bits(struct page_set *s, uint64_t first, const uint64_t *src, uint64_t n_words)
{
	unsigned int shift = first % 64;
	uint64_t word = first / 64;

	for (uint64_t i = 0; i < n_words; i++) {
		/* Most of a large guest has not been written to: a cache line is looked at as a whole. */
		while (i + 8 <= n_words && !(src[i] | src[i + 1] | src[i + 2] | src[i + 3] | src[i + 4] |
					     src[i + 5] | src[i + 6] | src[i + 7]))
			i += 8;
		if (i == n_words)
			return;
		if (!src[i])
			continue;
		page_set_add_word(s, word + i, src[i] << shift);
		if (shift > 0 && src[i] >> (64 - shift))
			page_set_add_word(s, word + i + 1, src[i] >> (64 - shift));
	}
}

/* Calls @change for each word of [first, end), with the bits that are within. */
static void page_set_change(struct page_set *s, uint64_t first, uint64_t end,
			    void (*change)(struct page_set *s, uint64_t word, uint64_t bits))
{
	while (first < end) {
		uint64_t stop = min_u64(end, (first | 63) + 1);
		uint64_t bits = page_bits_from(first);

		if (stop % 64 != 0)
			bits &= ~page_bits_from(stop);
		change(s, first / 64, bits);
		first = stop;
	}
}

void page_set_add(struct page_set *s, uint64_t first, uint64_t end)
{
	page_set_change(s, first, end, page_set_add_word);
}

void page_set_remove(struct page_set *s, uint64_t first, uint64_t end)
{
	page_set_change(s, first, end, page_set_remove_word);
}

/* Returns the first word at or after @word that is not zero; s->n_words if there is none. */
static uint64_t page_set_next_word(const struct page_set *s, uint64_t word)
{
	while (word < s->n_words) {
		uint64_t bits = s->summary[word / 64] & page_bits_from(word);

		if (bits)
			return (word & ~(uint64_t)63) + (uint64_t)__builtin_ctzll(bits);
		word = (word | 63) + 1;
	}
	return s->n_words;
}

uint64_t page_set_next(const struct page_set *s, uint64_t page, uint64_t end)
{
	uint64_t word = page / 64, bits;

	if (page >= end)
		return end;
	bits = s->words[word] & page_bits_from(page);
	if (!bits) {
		word = page_set_next_word(s, word + 1);
		if (word == s->n_words)
			return end;
		bits = s->words[word];
	}
	return min_u64(end, word * 64 + (uint64_t)__builtin_ctzll(bits));
}

uint64_t page_set_next_gap(const struct page_set *s, uint64_t page, uint64_t end)
{
	while (page < end) {
		uint64_t gaps = ~s->words[page / 64] & page_bits_from(page);

		if (gaps)
			return min_u64(end, (page & ~(uint64_t)63) + (uint64_t)__builtin_ctzll(gaps));
		page = (page | 63) + 1;
	}
	return end;
}
