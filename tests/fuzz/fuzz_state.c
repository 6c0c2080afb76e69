/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trees of saved state that a hostile peer made, byte by byte, and every part of a NIC that loads one. What
 * is taken is saved again, and that is loaded to the same.
 */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "devices/net/cvq/state.h"
#include "devices/virtio/vring.h"
#include "tests/fake/commands.h"

#define SIZE 8u

static struct memory memory;
static struct cvq_store store;
static struct cvq_stats stats;
static struct cvq_limits limits;

/* A part: loads from a node, and saves what it has then. */
struct part {
	const char *name;
	int (*load)(struct state_node *node);
	void (*save)(const void *part, struct state_writer *w);
};

static int load_cvq(struct state_node *node)
{
	static uint8_t cmd[CVQ_MAX_COMMAND];

	return cvq_load(&store, cmd, &limits, node);
}

static void save_cvq(const void *part, struct state_writer *w)
{
	cvq_save(&store, w);
}

static int load_stats(struct state_node *node)
{
	return cvq_stats_load(&stats, &limits, node);
}

static void save_stats(const void *part, struct state_writer *w)
{
	cvq_stats_save(&stats, &limits, w);
}

static struct vring ring;

static int load_ring(struct state_node *node, bool packed, bool in_order)
{
	const struct vring_setup setup = { .size = SIZE,
					   .desc = 0x1000,
					   .avail = 0x2000,
					   .used = 0x3000,
					   .indirect = true,
					   .packed = packed,
					   .in_order = in_order };
	int ret;

	vring_exit(&ring);
	ret = vring_init(&ring, &memory, &setup);
	assert(ret == 0);
	ret = vring_load(&ring, node);
	/* All of it or nothing. */
	assert(ret == 0 || (ring.n_in_flight == 0 && vring_next_in_flight(&ring, -1) == -1));
	return ret;
}

static int load_split(struct state_node *node)
{
	return load_ring(node, false, false);
}

static int load_packed(struct state_node *node)
{
	return load_ring(node, true, false);
}

static int load_packed_in_order(struct state_node *node)
{
	return load_ring(node, true, true);
}

static void save_ring(const void *part, struct state_writer *w)
{
	vring_save(&ring, w);
}

static const struct part parts[] = {
	{ "cvq", load_cvq, save_cvq },
	{ "stats", load_stats, save_stats },
	{ "split", load_split, save_ring },
	{ "packed", load_packed, save_ring },
	{ "ordered", load_packed_in_order, save_ring },
};

static int load(const struct part *part, const void *fdt, uint32_t len)
{
	struct error err = { 0 };
	struct state_node root;
	int ret = state_open(&root, fdt, len, &err);

	if (ret == 0)
		ret = part->load(&root);
	if (ret == 0)
		ret = state_finish(&root);
	assert(ret == 0 || err.text[0]);
	return ret;
}

static void try(const struct part *part, const void *fdt, uint32_t len)
{
	struct fuzz_tree first, second;

	if (load(part, fdt, len) < 0)
		return;
	first = fuzz_save(part->save, NULL);
	assert(load(part, first.fdt, first.len) == 0);
	second = fuzz_save(part->save, NULL);
	assert(fuzz_tree_same(&first, &second));
	free(first.fdt);
	free(second.fdt);
}

/* The first byte says which part; the rest is the tree. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	void *fdt;

	if (len < 2)
		return 0;
	limits = fake_limits;
	limits.features_high = 0;
	limits.max_pairs = 2;
	limits.device_ctrl = 4;
	if (!memory.n_regions)
		fuzz_memory_init(&memory);
	/* Aligned, and with nothing behind it. */
	fdt = malloc(len - 1);
	assert(fdt);
	memcpy(fdt, data + 1, len - 1);
	try(&parts[data[0] % ARRAY_SIZE(parts)], fdt, (uint32_t)(len - 1));
	free(fdt);
	return 0;
}
