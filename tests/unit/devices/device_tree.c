/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device's state in a tree, as migration/ has it written and read. */
#include "tests/unit/devices/device_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct tree tree_write(struct device *dev, tree_write_fn *fn)
{
	struct state_writer w;
	struct tree t;

	assert_int_equal(state_open_writer(&w), 0);
	fn(dev, &w);
	assert_int_equal(state_close(&w, &t.fdt, &t.len), 0);
	return t;
}

struct tree tree_write_warm(struct device *dev, bool first)
{
	struct state_writer w;
	struct tree t;
	int ret;

	assert_int_equal(state_open_writer(&w), 0);
	ret = dev->ops->warm_save(dev, &w, first);
	assert_int_equal(state_close(&w, &t.fdt, &t.len), 0);
	if (ret == 0) {
		free(t.fdt);
		t.fdt = NULL;
	}
	return t;
}

int tree_read(struct device *dev, tree_read_fn *fn, const void *fdt, uint32_t len, struct error *err)
{
	struct state_node root;
	int ret;

	*err = (struct error){ 0 };
	ret = state_open(&root, fdt, len, err);
	if (ret == 0)
		ret = fn(dev, &root);
	if (ret == 0)
		ret = state_finish(&root);
	assert_true(ret == 0 || err->text[0]);
	return ret;
}

int tree_take(struct device *dev, tree_read_fn *fn, struct tree t, struct error *err)
{
	int ret = tree_read(dev, fn, t.fdt, t.len, err);

	free(t.fdt);
	return ret;
}

void assert_tree_taken(struct device *dev, tree_read_fn *fn, struct tree t)
{
	struct error err;

	if (tree_take(dev, fn, t, &err) < 0)
		fail_msg("%s", err.text);
}

void assert_tree_refused(struct device *dev, tree_read_fn *fn, struct tree t, const char *reason)
{
	struct error err;

	assert_true(tree_take(dev, fn, t, &err) < 0);
	if (!strstr(err.text, reason))
		fail_msg("'%s' is not in: %s", reason, err.text);
}

void assert_tree_same(struct tree t, struct tree other)
{
	assert_int_equal(t.len, other.len);
	assert_memory_equal(t.fdt, other.fdt, t.len);
	free(t.fdt);
}
