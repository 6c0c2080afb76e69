/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk's guest that moves from one host to another. */
#include "tests/unit/devices/blk/blk_pair.h"

int pair_setup(void **state, const char *name, uint64_t len)
{
	struct pair *p = calloc(1, sizeof(*p));

	make_disk(p->path, name, len);
	disk_guest_init(&p->a, p->path, WRITTEN);
	disk_start(&p->a, ALL);
	disk_guest_init(&p->b, p->path, ARRIVING);
	*state = p;
	return 0;
}

int pair_teardown(void **state)
{
	struct pair *p = *state;

	disk_guest_exit(&p->a);
	disk_guest_exit(&p->b);
	unlink(p->path);
	free(p);
	return 0;
}

struct tree write_tree(struct disk_guest *g, tree_write_fn *fn)
{
	return tree_write(&g->blk->device, fn);
}

struct tree write_warm(struct disk_guest *g)
{
	struct tree t = tree_write_warm(&g->blk->device, true);

	assert_non_null(t.fdt);
	return t;
}

void assert_taken(struct disk_guest *g, tree_read_fn *fn, struct tree t)
{
	assert_tree_taken(&g->blk->device, fn, t);
}

void assert_refused(struct disk_guest *g, tree_read_fn *fn, struct tree t, const char *reason)
{
	assert_tree_refused(&g->blk->device, fn, t, reason);
}

void settle(struct disk_guest *g)
{
	struct error err = { 0 };
	int ret;

	do {
		ret = blk_device_ops.settle(&g->blk->device, end_of(3000), &err);
	} while (ret == -EAGAIN);
	if (ret < 0)
		fail_msg("%s", err.text);
}

void rest(struct disk_guest *g)
{
	blk_device_ops.pause(&g->blk->device);
	settle(g);
}

void copy_guest(struct disk_guest *to, struct disk_guest *from)
{
	memcpy(bytes_at(to, 0, GUEST_MEM), bytes_at(from, 0, GUEST_MEM), GUEST_MEM);
	to->common = from->common;
	to->notify = from->notify;
	to->config = from->config;
	to->features = from->features;
	to->n_requests = from->n_requests;
	memcpy(to->status_of, from->status_of, sizeof(to->status_of));
	fake_driver_exit(&to->ring);
	if (from->ring.mem)
		fake_driver_copy(&to->ring, &from->ring, &to->host->vm.memory);
}

void warm(struct pair *p)
{
	assert_taken(&p->b, blk_device_ops.accept, write_tree(&p->a, blk_device_ops.describe));
	assert_taken(&p->b, blk_device_ops.warm_load, write_warm(&p->a));
	/* A second state has nothing new. */
	assert_null(tree_write_warm(&p->a.blk->device, false).fdt);
}

struct tree stop(struct pair *p)
{
	rest(&p->a);
	copy_guest(&p->b, &p->a);
	return write_tree(&p->a, blk_device_ops.save);
}

void migrate(struct pair *p)
{
	warm(p);
	settle(&p->a);
	assert_taken(&p->b, blk_device_ops.load, stop(p));
	blk_device_ops.resume(&p->b.blk->device, DEVICE_ARRIVED);
	blk_device_ops.release(&p->a.blk->device);
}

void give_up(struct pair *p)
{
	struct error err = { 0 };

	if (blk_device_ops.reclaim(&p->a.blk->device, &err) < 0)
		fail_msg("%s", err.text);
	blk_device_ops.resume(&p->a.blk->device, DEVICE_STAYED);
}
