/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device's state in a tree, as migration/ has it written and read. Functions fail the test on what cannot
 * be. */
#ifndef FERRY_TESTS_UNIT_DEVICES_DEVICE_TREE_H
#define FERRY_TESTS_UNIT_DEVICES_DEVICE_TREE_H

#include "vmm/device.h"

struct tree {
	void *fdt; /* to be freed */
	uint32_t len;
};

/* Operations of struct device_ops, with the error where it has none of its own. */
typedef void tree_write_fn(struct device *dev, struct state_writer *w);
typedef int tree_read_fn(struct device *dev, struct state_node *node);

/* Has @fn write a tree; and warm_save: .fdt is NULL if nothing has changed since it was last asked. */
struct tree tree_write(struct device *dev, tree_write_fn *fn);
struct tree tree_write_warm(struct device *dev, bool first);

/* Has @fn read a tree, and returns what @fn returns. A refusal has a reason in @err. tree_take() frees the
 * tree, too. */
int tree_read(struct device *dev, tree_read_fn *fn, const void *fdt, uint32_t len, struct error *err);
int tree_take(struct device *dev, tree_read_fn *fn, struct tree t, struct error *err);

/* Free a tree that must be taken; refused with @reason in the text; the same as @other, byte by byte. */
void assert_tree_taken(struct device *dev, tree_read_fn *fn, struct tree t);
void assert_tree_refused(struct device *dev, tree_read_fn *fn, struct tree t, const char *reason);
void assert_tree_same(struct tree t, struct tree other);

#endif
