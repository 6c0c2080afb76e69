/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the fuzzers share: see the header. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* What a guest or a peer does wrong is logged, and is all that happens here. */
	log_level = LOG_ERROR;
	return 0;
}

static void add_region(struct memory *m, uint64_t gpa, uint64_t len)
{
	uint8_t *p = mmap(NULL, len + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert(p != MAP_FAILED);
	assert(mprotect(p + PAGE_SIZE, len, PROT_READ | PROT_WRITE) == 0);
	m->regions[m->n_regions++] =
		(struct memory_region){ .gpa = gpa, .len = len, .offset = m->size, .hva = p + PAGE_SIZE };
	m->size += len;
}

void fuzz_memory_init(struct memory *m)
{
	int ret;

	*m = (struct memory){ .fd = -1 };
	add_region(m, 0, FUZZ_LOW);
	add_region(m, MEMORY_HIGH_BASE, FUZZ_HIGH);
	ret = memory_log_start(m);
	assert(ret == 0);
}

struct fuzz_tree fuzz_save(void (*save)(const void *arg, struct state_writer *w), const void *arg)
{
	struct state_writer w;
	struct fuzz_tree t;
	int ret = state_open_writer(&w);

	assert(ret == 0);
	save(arg, &w);
	ret = state_close(&w, &t.fdt, &t.len);
	assert(ret == 0);
	return t;
}

bool fuzz_tree_same(const struct fuzz_tree *a, const struct fuzz_tree *b)
{
	return a->len == b->len && memcmp(a->fdt, b->fdt, a->len) == 0;
}

void fuzz_tree_spoil(struct fuzz_tree *t, struct input *in)
{
	for (unsigned int n = input_u8(in) % 4; n > 0; n--)
		((uint8_t *)t->fdt)[input_u16(in) % t->len] = input_u8(in);
}
