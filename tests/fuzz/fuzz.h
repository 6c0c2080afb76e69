/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzzers share. An input is a sequence of operations: bytes that are taken one after the other, and
 * zeros once there are no more. A finding is an assertion that fails, or what a sanitizer says.
 */
#ifndef FERRY_TESTS_FUZZ_FUZZ_H
#define FERRY_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/memory.h"
#include "vmm/state.h"

/* libFuzzer's interface. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
	const uint8_t *p;
	size_t len; /* bytes to go */
};

static inline void input_bytes(struct input *in, void *dst, size_t len)
{
	size_t n = min_u64(len, in->len);

	memset(dst, 0, len);
	if (n == 0)
		return;
	memcpy(dst, in->p, n);
	in->p += n;
	in->len -= n;
}

static inline uint8_t input_u8(struct input *in)
{
	uint8_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

static inline uint16_t input_u16(struct input *in)
{
	uint8_t v[2];

	input_bytes(in, v, sizeof(v));
	return get_le16(v);
}

static inline uint32_t input_u32(struct input *in)
{
	uint8_t v[4];

	input_bytes(in, v, sizeof(v));
	return get_le32(v);
}

static inline uint64_t input_u64(struct input *in)
{
	uint8_t v[8];

	input_bytes(in, v, sizeof(v));
	return get_le64(v);
}

/* Guest memory of two regions with nothing behind them that could be touched; the log of writes is on. */
#define FUZZ_LOW  KIB(32)
#define FUZZ_HIGH KIB(8) /* from MEMORY_HIGH_BASE */

void fuzz_memory_init(struct memory *m);

/* A tree of what @save writes into its root. */
struct fuzz_tree {
	void *fdt;
	uint32_t len;
};

struct fuzz_tree fuzz_save(void (*save)(const void *arg, struct state_writer *w), const void *arg);
bool fuzz_tree_same(const struct fuzz_tree *a, const struct fuzz_tree *b);
/* Some of its bytes are changed, as @in says. */
void fuzz_tree_spoil(struct fuzz_tree *t, struct input *in);

#endif
