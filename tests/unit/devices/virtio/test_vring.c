/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chains that a driver makes, legal or not, as the device side of a ring takes them. */
#include "tests/unit/devices/virtio/vring_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* What a driver (or a migration stream) may say about where its ring is. */
static void a_ring_must_be_aligned_and_in_guest_memory(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct vring_setup setup;
		int ret;
	} rows[] = {
		{ { .size = 0, .desc = DESC, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 3, .desc = DESC, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 65535, .desc = DESC, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 32768, .desc = DESC, .avail = AVAIL, .used = MIB(1) }, 0 },
		{ { .size = 1, .desc = DESC, .avail = AVAIL, .used = USED }, 0 },
		{ { .size = 8, .desc = DESC + 8, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 8, .desc = DESC, .avail = AVAIL + 1, .used = USED }, -EINVAL },
		{ { .size = 8, .desc = DESC, .avail = AVAIL, .used = USED + 2 }, -EINVAL },
		{ { .size = 8, .desc = MEMORY_LOW_MAX - 112, .avail = AVAIL, .used = USED }, -EFAULT },
		{ { .size = 8, .desc = MEMORY_LOW_MAX - 128, .avail = AVAIL, .used = USED }, 0 },
		{ { .size = 8, .desc = DESC, .avail = MEMORY_LOW_MAX - 20, .used = USED }, -EFAULT },
		{ { .size = 8, .desc = DESC, .avail = MEMORY_LOW_MAX - 22, .used = USED }, 0 },
		{ { .size = 8, .desc = DESC, .avail = AVAIL, .used = MEMORY_LOW_MAX - 68 }, -EFAULT },
		{ { .size = 8, .desc = DESC, .avail = AVAIL, .used = HIGH + HIGH_N - 72 }, 0 },
		{ { .size = 8, .desc = DESC, .avail = AVAIL, .used = HIGH + HIGH_N }, -EFAULT },
		{ { .size = 8, .desc = UINT64_MAX - 15, .avail = AVAIL, .used = USED }, -EFAULT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vring vr;

		if (vring_init(&vr, &f->mem, &rows[i].setup) != rows[i].ret)
			fail_msg("row %zu", i);
		vring_exit(&vr);
		vring_exit(&vr);
	}
}

/* Ring parts that lie on each other are the driver's own loss. */
static void parts_that_overlap_harm_the_driver_alone(void **state)
{
	struct fixture *f = *state;
	struct vring_setup s = { .size = SIZE, .desc = DESC, .avail = DESC, .used = DESC };
	struct vring_chain chain;
	unsigned int n = 0;

	assert_int_equal(vring_init(&f->vr, &f->mem, &s), 0);
	for (unsigned int i = 0; i < 16 * SIZE; i++)
		assert_int_equal(memory_write(&f->mem, DESC + i, &(uint8_t){ (uint8_t)(i * 37) }, 1), 0);
	while (vring_pop(&f->vr, &chain) == 1) {
		vring_push(&f->vr, chain.head, 1);
		(void)!vring_publish(&f->vr);
		assert_true(++n <= 65536);
	}
}

/* Chains of every shape: all direct, all in a table, and direct ones followed by a table, which is legal. */
static void a_chain_of_any_shape_is_taken_as_it_is(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[SIZE];
	struct vring_chain chain;

	for (unsigned int i = 0; i < SIZE; i++)
		segs[i] = (struct virtio_seg){ i % 2 ? HIGH + 4096 * i : BUF + 4096 * i, 100 * i + 1 };
	start(f, &with_indirect);
	for (unsigned int n = 1; n <= SIZE; n++) {
		for (unsigned int n_read = 0; n_read <= n; n_read++) {
			for (unsigned int n_direct = 0; n_direct <= n; n_direct++) {
				/* A table needs no alignment. */
				int head = fake_driver_add_mixed(&f->driver, segs, n_read, n - n_read,
								 n_direct, TABLE + 3);

				assert_true(head >= 0);
				fake_driver_publish(&f->driver);
				assert_int_equal(vring_pop(&f->vr, &chain), 1);
				assert_int_equal(chain.head, head);
				assert_chain(&chain, segs, n_read, n - n_read);
				assert_int_equal(vring_pop(&f->vr, &chain), 0);
				complete(f, (uint16_t)head, n);
			}
		}
	}
}

/* Segments of length 0 are left out wherever they point; nothing but such a segment is an empty chain. */
static void segments_of_length_0_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[] = {
		{ UINT64_MAX, 0 }, { BUF, 10 }, { BUF, 0 }, { BUF + 64, 20 }, { MEMORY_LOW_MAX, 0 }
	};
	struct virtio_seg kept[] = { { BUF, 10 }, { BUF + 64, 20 } };
	struct vring_chain chain;
	int head;

	start(f, &plain);
	head = fake_driver_add(&f->driver, segs, 3, 2);
	fake_driver_publish(&f->driver);
	assert_int_equal(vring_pop(&f->vr, &chain), 1);
	assert_chain(&chain, kept, 1, 1);
	complete(f, (uint16_t)head, 0);
	for (unsigned int n_write = 0; n_write < 2; n_write++) {
		head = fake_driver_add(&f->driver, segs, 1 - n_write, n_write);
		fake_driver_publish(&f->driver);
		assert_int_equal(vring_pop(&f->vr, &chain), 1);
		assert_chain(&chain, NULL, 0, 0);
		complete(f, (uint16_t)head, 0);
	}
	/* Order counts for them too. */
	fake_driver_write_desc(&f->driver, 0, BUF, 0, W | N, 1);
	fake_driver_write_desc(&f->driver, 1, BUF, 1, 0, 0);
	offer(f, 0);
	assert_refused(f, "readable buffer follows");
}

struct bad_chain {
	const char *why;
	uint16_t n_descs;
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} descs[3];
	uint16_t n_table;
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} table[3];
};

static const struct bad_chain bad_chains[] = {
	/* Where it goes on. */
	{ "next is outside", 1, { { BUF, 1, N, SIZE } }, 0, { { 0 } } },
	{ "next is outside", 1, { { BUF, 1, N, UINT16_MAX } }, 0, { { 0 } } },
	{ "loops", 1, { { BUF, 1, N, 0 } }, 0, { { 0 } } },
	{ "loops", 2, { { BUF, 1, N, 1 }, { BUF, 1, N, 0 } }, 0, { { 0 } } },
	{ "loops", 3, { { BUF, 1, N, 1 }, { BUF, 0, N, 2 }, { BUF, 1, N, 1 } }, 0, { { 0 } } },
	/* The order. */
	{ "readable buffer follows", 2, { { BUF, 1, W | N, 1 }, { BUF, 1, 0, 0 } }, 0, { { 0 } } },
	{ "readable buffer follows",
	  2,
	  { { BUF, 1, W | N, 1 }, { TABLE, 16, I, 0 } },
	  1,
	  { { BUF, 1, 0, 0 } } },
	/* Addresses. */
	{ "buffer is not in guest", 1, { { UINT64_MAX, 2, 0, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { UINT64_MAX - 1, UINT32_MAX, W, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { HIGH + HIGH_N, 1, W, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { HIGH + HIGH_N - 1, 2, W, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { MEMORY_LOW_MAX - 1, 2, W, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { MEMORY_LOW_MAX - 1, 0x40000002, 0, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { MEMORY_LOW_MAX, 1, 0, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { HIGH - 1, 2, 0, 0 } }, 0, { { 0 } } },
	{ "buffer is not in guest", 1, { { TABLE, 16, I, 0 } }, 1, { { HIGH - 1, 1, 0, 0 } } },
	/* The sum: 3 GiB less a page, twice; reads and writes count together */
	{ "2^32 bytes", 2, { { 0, 0xbffff000, N, 1 }, { 0, 0xbffff000, 0, 0 } }, 0, { { 0 } } },
	{ "2^32 bytes", 2, { { 0, 0x80000000, N, 1 }, { 0, 0x80000000, W, 0 } }, 0, { { 0 } } },
	{ "2^32 bytes",
	  3,
	  { { 0, 1, N, 1 }, { 0, 0x80000000, N | W, 2 }, { 0, 0x7fffffff, W, 0 } },
	  0,
	  { { 0 } } },
	/* Tables. */
	{ "not the last", 1, { { TABLE, 16, I | N, 1 } }, 1, { { BUF, 1, 0, 0 } } },
	{ "within another", 1, { { TABLE, 32, I, 0 } }, 1, { { TABLE, 16, I, 0 } } },
	{ "within another", 1, { { TABLE, 32, I, 0 } }, 2, { { BUF, 1, N, 1 }, { TABLE, 32, I, 0 } } },
	{ "table's length", 1, { { TABLE, 0, I, 0 } }, 0, { { 0 } } },
	{ "table's length", 1, { { TABLE, 8, I, 0 } }, 0, { { 0 } } },
	{ "table's length", 1, { { TABLE, 17, I, 0 } }, 0, { { 0 } } },
	{ "table is longer", 1, { { TABLE, 16 * (SIZE + 1), I, 0 } }, 1, { { BUF, 1, 0, 0 } } },
	{ "table is longer", 1, { { TABLE, 0xfffffff0, I, 0 } }, 1, { { BUF, 1, 0, 0 } } },
	{ "table is not in guest", 1, { { HIGH + HIGH_N - 16, 32, I, 0 } }, 0, { { 0 } } },
	{ "table is not in guest", 1, { { UINT64_MAX - 15, 32, I, 0 } }, 0, { { 0 } } },
	{ "table is not in guest", 1, { { MEMORY_LOW_MAX, 16, I, 0 } }, 0, { { 0 } } },
	{ "next is outside", 1, { { TABLE, 32, I, 0 } }, 1, { { BUF, 1, N, 2 } } },
	{ "loops", 1, { { TABLE, 32, I, 0 } }, 2, { { BUF, 1, N, 1 }, { BUF, 1, N, 0 } } },
};

static void a_bad_chain_is_refused_and_the_one_before_it_is_not(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad_chains); i++) {
		const struct bad_chain *bad = &bad_chains[i];
		struct virtio_seg seg = { BUF, 1 };

		start(f, &with_indirect);
		for (uint16_t k = 0; k < bad->n_descs; k++)
			fake_driver_write_desc(&f->driver, k, bad->descs[k].addr, bad->descs[k].len,
					       bad->descs[k].flags, bad->descs[k].next);
		for (uint16_t k = 0; k < bad->n_table; k++)
			fake_driver_write_table(&f->driver, TABLE, k, bad->table[k].addr, bad->table[k].len,
						bad->table[k].flags, bad->table[k].next);
		/* A good one in front, which must not suffer. */
		f->driver.free_head = 4;
		assert_int_equal(fake_driver_add(&f->driver, &seg, 0, 1), 4);
		offer(f, 0);
		assert_int_equal(pop_one(f), 4);
		assert_refused(f, bad->why);
	}
}

/* A table, without the feature. */
static void a_table_without_the_feature_is_refused(void **state)
{
	struct fixture *f = *state;

	start(f, &plain);
	fake_driver_write_desc(&f->driver, 0, TABLE, 16, I, 0);
	fake_driver_write_table(&f->driver, TABLE, 0, BUF, 1, 0, 0);
	offer(f, 0);
	assert_refused(f, "without the feature");
}

/* A direct descriptor and a table that is as long as the ring. */
static void a_chain_longer_than_the_ring_is_refused_with_a_table_too(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[SIZE + 1];

	for (unsigned int i = 0; i <= SIZE; i++)
		segs[i] = (struct virtio_seg){ BUF, 1 };
	start(f, &with_indirect);
	fake_driver_add_mixed(&f->driver, segs, SIZE + 1, 0, 1, TABLE);
	fake_driver_publish(&f->driver);
	assert_refused(f, "longer than the ring");
}

/* A table may end with the last byte of guest memory. */
static void a_table_may_end_with_guest_memory(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[2] = { { HIGH + HIGH_N - 1, 1 }, { MEMORY_LOW_MAX - 5, 5 } };
	struct vring_chain chain;

	start(f, &with_indirect);
	fake_driver_add_indirect(&f->driver, segs, 1, 1, HIGH + HIGH_N - 32);
	fake_driver_publish(&f->driver);
	assert_int_equal(vring_pop(&f->vr, &chain), 1);
	assert_chain(&chain, segs, 1, 1);
}

/* As many bytes as there may be. */
static void a_chain_may_have_one_byte_less_than_4_gib(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[2] = { { 0, 0x80000000 }, { 0, 0x7fffffff } };
	struct vring_chain chain;

	start(f, &plain);
	fake_driver_add(&f->driver, segs, 1, 1);
	fake_driver_publish(&f->driver);
	assert_int_equal(vring_pop(&f->vr, &chain), 1);
	assert_chain(&chain, segs, 1, 1);
}

/* An index that jumps ahead or goes back; heads outside the ring, and those that the device has already. */
static void a_bad_available_ring_is_refused(void **state)
{
	struct fixture *f = *state;
	uint16_t head;

	start(f, &plain);
	fake_driver_set_avail_idx(&f->driver, SIZE + 1);
	assert_refused(f, "avail.idx");

	start(f, &plain);
	head = add_one(f);
	assert_int_equal(pop_one(f), head);
	fake_driver_set_avail_idx(&f->driver, 0); /* backwards */
	assert_refused(f, "avail.idx");

	start(f, &plain);
	offer(f, SIZE);
	assert_refused(f, "head is outside");
	start(f, &plain);
	offer(f, UINT16_MAX);
	assert_refused(f, "head is outside");

	start(f, &plain);
	head = add_one(f);
	assert_int_equal(pop_one(f), head);
	offer(f, head);
	assert_refused(f, "again before it was used");

	/* Twice in one batch, and more chains than the ring has heads. */
	start(f, &plain);
	head = add_one(f);
	fake_driver_offer(&f->driver, head);
	fake_driver_set_avail_idx(&f->driver, SIZE);
	assert_int_equal(pop_one(f), head);
	assert_refused(f, "again before it was used");
}

/* What the guest writes after the pop changes nothing that was popped; completion knows the head alone.
 */
static void what_a_guest_writes_after_the_pop_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[3] = { { BUF, 10 }, { BUF + 64, 20 }, { HIGH, 30 } };
	struct vring_chain chain;

	start(f, &with_indirect);
	for (unsigned int n_direct = 0; n_direct <= 3; n_direct++) {
		int head = fake_driver_add_mixed(&f->driver, segs, 1, 2, n_direct, TABLE);

		fake_driver_publish(&f->driver);
		assert_int_equal(vring_pop(&f->vr, &chain), 1);
		memset(f->driver.desc, 0xff, 16 * SIZE);
		for (unsigned int i = 0; i < 3; i++)
			fake_driver_write_table(&f->driver, TABLE, i, UINT64_MAX, UINT32_MAX, 0xffff, 0xffff);
		fake_driver_set_avail_idx(&f->driver, f->driver.avail_idx);
		assert_chain(&chain, segs, 1, 2);
		complete(f, (uint16_t)head, 50);
	}
}

static void an_interrupt_is_due_for_what_the_driver_may_not_have_seen(void **state)
{
	struct fixture *f = *state;

	start(f, &with_event_idx);
	check_interrupts_due(f);

	start(f, &plain);
	fake_driver_set_avail_flags(&f->driver, 0);
	assert_true(vring_interrupt_due(&f->vr));
	fake_driver_set_avail_flags(&f->driver, 1);
	assert_false(vring_interrupt_due(&f->vr));
}

struct scribbler {
	struct fixture *f;
	atomic_bool stop;
};

/* Turns good fields of descriptors bad and back, as fast as it can. */
static void *scribble(void *opaque)
{
	struct scribbler *s = opaque;
	volatile uint8_t *desc = s->f->driver.desc;
	volatile uint8_t *table = memory_at(&s->f->mem, TABLE, 16 * SIZE);

	for (unsigned int i = 0; !atomic_load_explicit(&s->stop, memory_order_relaxed); i++) {
		unsigned int at = 16 * (i % SIZE);

		desc[at + 7] = i & 16 ? 0xff : 0; /* addr */
		table[at + 7] = i & 32 ? 0xff : 0;
		table[at + 11] = i & 64 ? 0xff : 0;                       /* len */
		table[at + 14] = (uint8_t)(i & 128 ? 0xff : at / 16 + 1); /* next */
		table[at + 12] = (uint8_t)(i >> 8 & 7);
	}
	return NULL;
}

/* A guest that writes while we parse: whatever comes out is within bounds. */
static void a_guest_that_writes_meanwhile_gets_nothing_out_of_bounds(void **state)
{
	struct fixture *f = *state;
	struct scribbler s = { .f = f };
	unsigned int n_good = 0, n_bad = 0;
	pthread_t thread;

	start(f, &with_indirect);
	for (uint16_t i = 0; i < SIZE; i++) {
		fake_driver_write_desc(&f->driver, i, TABLE, 16 * SIZE, I, 0);
		fake_driver_write_table(&f->driver, TABLE, i, BUF, 16, N, (uint16_t)(i + 1));
	}
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	for (unsigned int i = 0; i < 200000 || n_good == 0 || n_bad == 0; i++) {
		struct vring_chain chain;
		uint64_t total = 0;

		offer(f, (uint16_t)(i % SIZE));
		if (vring_pop(&f->vr, &chain) < 0) {
			n_bad++;
			f->vr.broken = NULL;
			f->vr.last_avail++;
			continue;
		}
		n_good++;
		assert_true(chain.n_read + chain.n_write <= (int)SIZE);
		for (unsigned int k = 0; k < (unsigned int)chain.n_read + chain.n_write; k++) {
			assert_true(chain.segs[k].len > 0);
			assert_non_null(memory_at(&f->mem, chain.segs[k].addr, chain.segs[k].len));
			total += chain.segs[k].len;
		}
		assert_true(total == (uint64_t)chain.read_len + chain.write_len);
		vring_push(&f->vr, chain.head, 0);
		(void)!vring_publish(&f->vr);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_ring_must_be_aligned_and_in_guest_memory),
		T(parts_that_overlap_harm_the_driver_alone),
		T(a_chain_of_any_shape_is_taken_as_it_is),
		T(segments_of_length_0_are_left_out),
		T(a_bad_chain_is_refused_and_the_one_before_it_is_not),
		T(a_table_without_the_feature_is_refused),
		T(a_chain_longer_than_the_ring_is_refused_with_a_table_too),
		T(a_table_may_end_with_guest_memory),
		T(a_chain_may_have_one_byte_less_than_4_gib),
		T(an_interrupt_is_due_for_what_the_driver_may_not_have_seen),
		T(a_bad_available_ring_is_refused),
		T(what_a_guest_writes_after_the_pop_changes_nothing),
		T(a_guest_that_writes_meanwhile_gets_nothing_out_of_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
