/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk handed over with its guest, and kept where that fails: its lock, its caches, its state. */
#define _GNU_SOURCE
#include <libfdt.h>
#include <sys/syscall.h>

#include "tests/unit/devices/blk/blk_pair.h"

static _Atomic int fail_flush; /* errno */
static _Atomic unsigned int n_flushes, n_drops;

/* In the place of libc's. */
int fdatasync(int fd)
{
	n_flushes++;
	errno = fail_flush;
	return fail_flush ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
	n_drops += advice == POSIX_FADV_DONTNEED && offset == 0 && len == 0;
	return 0;
}

static int setup(void **state)
{
	fail_flush = 0;
	n_flushes = n_drops = 0;
	return pair_setup(state, "blk-migrate", DISK_LEN);
}

static void assert_locked_out(const char *path)
{
	struct disk_guest other;
	struct error err;

	assert_true(disk_guest_try(&other, path, WRITTEN, &err) < 0);
	assert_non_null(strstr(err.text, "is locked"));
	disk_guest_exit(&other);
}

static void the_disk_moves_with_its_lock_and_its_bytes(void **state)
{
	struct pair *p = *state;
	unsigned int before;
	struct tree t;

	assert_works(&p->a, 5);
	before = n_flushes;
	warm(p);
	assert_int_equal(n_drops, 1);
	settle(&p->a);
	assert_int_equal(n_flushes, before + 1);
	assert_locked_out(p->path);
	t = stop(p);
	/* The source has written all back before anybody else can have the lock, and the destination drops
	 * its cache afterwards. */
	assert_int_equal(n_flushes, before + 2);
	assert_taken(&p->b, blk_device_ops.load, t);
	assert_int_equal(n_drops, 2);
	assert_locked_out(p->path);
	blk_device_ops.resume(&p->b.blk->device, DEVICE_ARRIVED);
	blk_device_ops.release(&p->a.blk->device);
	assert_locked_out(p->path);
	assert_works(&p->b, 6);
	/* The guest moves on to a third host. */
	disk_guest_exit(&p->a);
	p->a = p->b;
	disk_guest_init(&p->b, p->path, ARRIVING);
	migrate(p);
	assert_works(&p->b, 7);
	disk_start(&p->b, ALL);
	assert_works(&p->b, 8);
}

/* Requests that wait in the ring go with it, and the pause does not wait until all are done. */
static void requests_that_wait_move_untouched(void **state)
{
	struct pair *p = *state;
	unsigned int n = 60;
	struct tree t;

	warm(p);
	for (unsigned int i = 0; i < n; i++) {
		struct virtio_seg segs[] = { new_header(&p->a, VIRTIO_BLK_T_OUT, i * 8),
					     { DATA, 4096 },
					     { 0, 0 } };

		segs[2] = new_status(&p->a);
		if (i == 20) {
			rest(&p->a);
			/* A kick does not end a pause. */
			reg_write(&p->a, p->a.notify, 0, 2);
		}
		submit(&p->a, segs, 2, 1);
	}
	rest(&p->a);
	assert_int_equal(p->a.blk->ring.vring.n_in_flight, 0);
	copy_guest(&p->b, &p->a);
	t = write_tree(&p->a, blk_device_ops.save);
	assert_taken(&p->b, blk_device_ops.load, t);
	blk_device_ops.resume(&p->b.blk->device, DEVICE_ARRIVED);
	blk_device_ops.release(&p->a.blk->device);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(finish(&p->b), VIRTIO_BLK_S_OK);
	assert_works(&p->b, 1);
}

static void a_migration_that_is_given_up_leaves_the_source_its_disk(void **state)
{
	struct pair *p = *state;
	struct error err = { 0 };
	struct tree t;

	/* The guest was stopped, and no state sent. */
	rest(&p->a);
	assert_locked_out(p->path);
	give_up(p);
	assert_works(&p->a, 1);
	/* State was saved, and has not arrived. */
	warm(p);
	free(stop(p).fdt);
	give_up(p);
	assert_locked_out(p->path);
	assert_works(&p->a, 2);
	/* The destination has the lock, and cannot be asked to let go, so the guest does not run here. */
	t = stop(p);
	assert_taken(&p->b, blk_device_ops.load, t);
	assert_int_equal(blk_device_ops.reclaim(&p->a.blk->device, &err), -EAGAIN);
	assert_non_null(strstr(err.text, "is locked by another process"));
	/* The destination ends. */
	blk_device_ops.release(&p->b.blk->device);
	give_up(p);
	assert_works(&p->a, 3);
	disk_guest_exit(&p->b);
	disk_guest_init(&p->b, p->path, ARRIVING);
	migrate(p);
	assert_works(&p->b, 4);
}

static void a_disk_that_somebody_else_has_locked_is_refused(void **state)
{
	struct pair *p = *state;
	struct disk_guest third;
	struct tree t;

	warm(p);
	t = stop(p);
	disk_guest_init(&third, p->path, WRITTEN);
	assert_refused(&p->b, blk_device_ops.load, t, "is locked by another process that uses it");
	disk_guest_exit(&third);
	give_up(p);
	assert_works(&p->a, 1);
}

/* The difference is found while the source can still go on. */
static void another_disk_of_the_same_size_is_refused(void **state)
{
	struct pair *p = *state;
	char other[80];

	snprintf(other, sizeof(other), "%s-other", p->path);
	make_disk_at(other, DISK_LEN);
	disk_guest_exit(&p->b);
	disk_guest_init(&p->b, other, ARRIVING);
	assert_works(&p->a, 100);
	warm(p);
	assert_refused(&p->b, blk_device_ops.load, stop(p), "does not begin as the guest's disk does");
	blk_device_ops.release(&p->b.blk->device);
	unlink(other);
	give_up(p);
	assert_works(&p->a, 1);
}

/* The kernel tells once that writes are lost, to whoever asks first. */
static void a_guest_hears_of_lost_writes_and_stays(void **state)
{
	struct pair *p = *state;
	struct error err = { 0 };

	warm(p);
	fail_flush = EIO;
	settle(&p->a);
	fail_flush = 0;
	assert_int_equal(request(&p->a, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(&p->a, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);

	fail_flush = ENOSPC;
	blk_device_ops.pause(&p->a.blk->device);
	assert_int_equal(blk_device_ops.settle(&p->a.blk->device, end_of(3000), &err), -EIO);
	assert_non_null(strstr(err.text, "cannot write back what the guest has written"));
	fail_flush = 0;
	assert_locked_out(p->path);
	give_up(p);
	assert_int_equal(request(&p->a, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_works(&p->a, 1);
	migrate(p);
	assert_works(&p->b, 2);
}

static void a_disk_that_differs_is_refused_by_name(void **state)
{
	struct pair *p = *state;

	disk_guest_exit(&p->b);
	disk_guest_init(&p->b, p->path, READ_ONLY | ARRIVING);
	assert_refused(&p->b, blk_device_ops.accept, write_tree(&p->a, blk_device_ops.describe),
		       "disk0: the guest's disk is written, ");
	disk_guest_exit(&p->b);
	assert_int_equal(truncate(p->path, DISK_LEN + 512), 0);
	disk_guest_init(&p->b, p->path, ARRIVING);
	assert_refused(&p->b, blk_device_ops.accept, write_tree(&p->a, blk_device_ops.describe),
		       "disk0: the guest's disk has 4194304 bytes, ");
	disk_guest_exit(&p->b);
	assert_int_equal(truncate(p->path, DISK_LEN), 0);
	disk_guest_init(&p->b, p->path, ARRIVING);
	p->b.blk->offered &= ~VIRTIO_BIT(VIRTIO_BLK_F_DISCARD);
	assert_refused(&p->b, blk_device_ops.accept, write_tree(&p->a, blk_device_ops.describe),
		       "shown VIRTIO_BLK_F_DISCARD, which is not offered here");
	p->b.blk->offered = p->a.blk->offered;
	p->b.blk->file.block_len = 4096;
	assert_refused(&p->b, blk_device_ops.accept, write_tree(&p->a, blk_device_ops.describe),
		       "has blocks of 512 bytes");
	p->b.blk->file.block_len = 512;
	migrate(p);
	assert_works(&p->b, 1);
}

/* A byte of the configuration that the source has shown its guest, and whether it can be kept here. */
static void what_the_guest_has_read_stays_or_is_refused(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t value;
		bool taken;
	} bytes[] = {
		{ 10, 0, true },    /* size_max: 0 is less than here */
		{ 11, 1, false },   /* more */
		{ 12, 10, true },   /* seg_max: 10 */
		{ 12, 255, false }, /* 255 */
		{ 24, 0, true },    /* physical_block_exp, of storage that looks otherwise there */
		{ 24, 11, true },   /* the largest */
		{ 24, 12, false },  /* more than a guest shifts by */
		{ 26, 9, true },    /* min_io_size */
		{ 44, 1, true },    /* discard_sector_alignment */
		{ 47, 1, false },   /* 2^24 sectors and more */
		{ 42, 0, true },    /* max_discard_seg: as here */
		{ 42, 1, false },   /* 2^16 more */
		{ 56, 0, false },   /* write_zeroes_may_unmap */
		{ 32, 1, false },   /* writeback, and what else no Ferry shows */
		{ 28, 1, false },   /* opt_io_size */
		{ 57, 1, false },
	};
	struct pair *p = *state;
	uint8_t config[BLK_CONFIG_LEN];

	memcpy(config, p->a.blk->config, sizeof(config));
	for (unsigned int i = 0; i < ARRAY_SIZE(bytes); i++) {
		struct tree t;

		p->a.blk->config[bytes[i].at] = bytes[i].value;
		t = write_tree(&p->a, blk_device_ops.describe);
		if (bytes[i].taken) {
			assert_taken(&p->b, blk_device_ops.accept, t);
			assert_memory_equal(p->b.blk->config, p->a.blk->config, sizeof(config));
		} else {
			assert_refused(&p->b, blk_device_ops.accept, t, "other limits");
		}
		memcpy(p->a.blk->config, config, sizeof(config));
	}
}

/* The guest does not know the features that came later, and is not shown them here either. */
static void a_guest_of_an_older_ferry_is_taken_as_it_is(void **state)
{
	const uint64_t later = VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY);
	struct pair *p = *state;
	uint16_t size = BLK_RING_SIZE;

	p->a.blk->offered &= ~later;
	virtio_pci_limit(&p->a.blk->virtio, 1, &size, p->a.blk->offered);
	memset(p->a.blk->config + 8, 0, 4);
	memset(p->a.blk->config + 24, 0, 8);
	disk_start(&p->a, ALL);
	assert_int_equal(p->a.features & later, 0);
	migrate(p);
	assert_int_equal(disk_offered(&p->b), p->a.features);
	assert_int_equal(reg_read(&p->b, p->b.config + 8, 4), 0);
	assert_int_equal(reg_read(&p->b, p->b.config + 24, 8), 0);
	assert_works(&p->b, 1);
}

static void a_disk_that_is_only_read_moves(void **state)
{
	struct pair *p = *state;

	disk_guest_exit(&p->a);
	disk_guest_exit(&p->b);
	disk_guest_init(&p->a, p->path, READ_ONLY);
	disk_guest_init(&p->b, p->path, READ_ONLY | ARRIVING);
	disk_start(&p->a, ALL);
	migrate(p);
	assert_int_equal(request(&p->b, VIRTIO_BLK_T_IN, 0, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&p->b, VIRTIO_BLK_T_OUT, 0, 0, 4096), VIRTIO_BLK_S_IOERR);
}

static void a_driver_that_is_broken_or_absent_moves_as_it_is(void **state)
{
	struct virtio_seg segs[] = { { GUEST_MEM, 16 }, { DATA, 1 } };
	struct pair *p = *state;
	uint32_t len;

	submit(&p->a, segs, 1, 1);
	assert_int_equal(finish_in(&p->a, &len, 50), TIMED_OUT);
	migrate(p);
	assert_int_equal(disk_status(&p->b), BROKEN);
	disk_start(&p->b, ALL);
	assert_works(&p->b, 1);
	disk_reset(&p->b);

	disk_guest_exit(&p->a);
	p->a = p->b;
	disk_guest_init(&p->b, p->path, ARRIVING);
	migrate(p);
	assert_int_equal(disk_status(&p->b), 0);
	disk_start(&p->b, ALL);
	assert_works(&p->b, 2);
}

static void state_is_saved_and_loaded_and_saved_as_the_same_bytes(void **state)
{
	struct pair *p = *state;
	struct tree a;

	assert_works(&p->a, 1);
	warm(p);
	a = stop(p);
	assert_tree_same(write_tree(&p->a, blk_device_ops.save), a);
	assert_taken(&p->b, blk_device_ops.load, write_tree(&p->a, blk_device_ops.save));
	assert_tree_same(write_tree(&p->b, blk_device_ops.save), a);
	free(a.fdt);
}

static void state_that_is_cut_anywhere_is_refused(void **state)
{
	tree_read_fn *const ops[] = {
		blk_device_ops.accept,
		blk_device_ops.warm_load,
		blk_device_ops.load,
	};
	struct pair *p = *state;
	struct tree trees[3];
	struct error err;

	trees[0] = write_tree(&p->a, blk_device_ops.describe);
	trees[1] = write_warm(&p->a);
	trees[2] = stop(p);
	for (unsigned int i = 0; i < 3; i++) {
		for (uint32_t len = 0; len < trees[i].len; len++) {
			/* The copy is as long as the tree, so that the sanitizer sees a read beyond it. */
			void *cut = malloc(len ? len : 1);

			memcpy(cut, trees[i].fdt, len);
			assert_true(tree_read(&p->b.blk->device, ops[i], cut, len, &err) < 0);
			free(cut);
		}
		assert_taken(&p->b, ops[i], trees[i]);
	}
	blk_device_ops.resume(&p->b.blk->device, DEVICE_ARRIVED);
	assert_works(&p->b, 1);
}

/* Changes a number in the tree's node at @node. */
static void tamper(struct tree *t, const char *node, const char *name, uint32_t v)
{
	int offset = fdt_path_offset(t->fdt, node);

	assert_true(offset >= 0);
	assert_int_equal(fdt_setprop_inplace_u32(t->fdt, offset, name, v), 0);
}

static void values_that_cannot_be_are_refused_and_change_nothing(void **state)
{
	static const struct {
		bool describe;
		const char *node, *name;
		uint32_t value;
	} changes[] = {
		{ true, "/", "block-len", 511 },
		{ true, "/", "block-len", 1024 },
		{ true, "/", "read-only", 2 },
		{ true, "/", "queue-size", 0 },
		{ true, "/", "queue-size", 100 },
		{ true, "/", "queue-size", 512 },
		{ true, "/", "queue-size", 65536 },
		{ false, "/ring", "last-avail", 5 },
		{ false, "/ring", "used-idx", 5 },
		{ false, "/ring", "used-idx", 65536 },
		{ false, "/virtio/virtio-pci", "status", 0x100 },
		{ false, "/virtio/virtio-pci", "status", 4 },
		{ false, "/virtio/virtio-pci", "status", 0 },
		{ false, "/virtio/virtio-pci/queue@0", "enabled", 0 },
		{ false, "/virtio/virtio-pci/queue@0", "size", 3 },
	};
	struct pair *p = *state;
	struct error err;
	struct tree t;

	for (unsigned int i = 0; i < ARRAY_SIZE(changes); i++) {
		disk_guest_exit(&p->b);
		disk_guest_init(&p->b, p->path, ARRIVING);
		t = changes[i].describe ? write_tree(&p->a, blk_device_ops.describe) : stop(p);
		tamper(&t, changes[i].node, changes[i].name, changes[i].value);
		if (tree_read(&p->b.blk->device,
			      changes[i].describe ? blk_device_ops.accept : blk_device_ops.load, t.fdt, t.len,
			      &err) == 0)
			fail_msg("%s %s %u was taken", changes[i].node, changes[i].name, changes[i].value);
		/* State is read as a whole before any of it is applied. */
		assert_int_equal(p->b.blk->virtio.status, 0);
		assert_false(p->b.blk->virtio.queues[0].enabled);
		assert_false(p->b.blk->started || p->b.blk->ring.has_ring);
		free(t.fdt);
		blk_device_ops.release(&p->b.blk->device);
		give_up(p);
		assert_works(&p->a, i);
	}
}

/* No Ferry writes such state, for a request is answered or put back before the ring is saved. */
static void state_with_a_request_in_flight_is_refused(void **state)
{
	struct pair *p = *state;
	struct vring_chain chain;
	struct virtio_seg segs[] = { new_header(&p->a, VIRTIO_BLK_T_FLUSH, 0), new_status(&p->a) };

	warm(p);
	rest(&p->a);
	submit(&p->a, segs, 1, 1);
	assert_int_equal(vring_pop(&p->a.blk->ring.vring, &chain), 1);
	copy_guest(&p->b, &p->a);
	assert_refused(&p->b, blk_device_ops.load, write_tree(&p->a, blk_device_ops.save),
		       "disk0: 1 requests are in flight");
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_disk_moves_with_its_lock_and_its_bytes),
		T(requests_that_wait_move_untouched),
		T(a_migration_that_is_given_up_leaves_the_source_its_disk),
		T(a_disk_that_somebody_else_has_locked_is_refused),
		T(another_disk_of_the_same_size_is_refused),
		T(a_guest_hears_of_lost_writes_and_stays),
		T(a_disk_that_differs_is_refused_by_name),
		T(what_the_guest_has_read_stays_or_is_refused),
		T(a_guest_of_an_older_ferry_is_taken_as_it_is),
		T(a_disk_that_is_only_read_moves),
		T(a_driver_that_is_broken_or_absent_moves_as_it_is),
		T(state_is_saved_and_loaded_and_saved_as_the_same_bytes),
		T(state_that_is_cut_anywhere_is_refused),
		T(values_that_cannot_be_are_refused_and_change_nothing),
		T(state_with_a_request_in_flight_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
