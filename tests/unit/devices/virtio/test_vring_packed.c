/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A packed ring, and in-order completion: what a driver does, legal or not, as the device side takes it. */
#include "tests/fake/log.h"
#include "tests/unit/devices/virtio/vring_fixture.h"

#define RING_END (DESC + 16 * SIZE)

static const struct vring_setup packed = {
	.size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED, .packed = true, .indirect = true
};
static const struct vring_setup packed_events = {
	.size = SIZE, .desc = DESC, .avail = AVAIL, .used = USED, .packed = true, .event_idx = true
};

static void a_packed_ring_must_be_aligned_and_in_guest_memory(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct vring_setup setup;
		int ret;
	} rows[] = {
		{ { .size = 0, .desc = DESC, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 32769, .desc = DESC, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 32768, .desc = DESC, .avail = AVAIL, .used = MIB(1) }, 0 },
		{ { .size = 1, .desc = DESC, .avail = AVAIL, .used = USED }, 0 },
		{ { .size = 3, .desc = DESC, .avail = AVAIL, .used = USED }, 0 },
		{ { .size = 8, .desc = DESC + 8, .avail = AVAIL, .used = USED }, -EINVAL },
		{ { .size = 8, .desc = DESC, .avail = AVAIL + 2, .used = USED }, -EINVAL },
		{ { .size = 8, .desc = DESC, .avail = AVAIL, .used = USED + 2 }, -EINVAL },
		{ { .size = 8, .desc = MEMORY_LOW_MAX - 112, .avail = AVAIL, .used = USED }, -EFAULT },
		{ { .size = 8, .desc = MEMORY_LOW_MAX - 128, .avail = AVAIL, .used = USED }, 0 },
		{ { .size = 8, .desc = DESC, .avail = MEMORY_LOW_MAX, .used = USED }, -EFAULT },
		{ { .size = 8, .desc = DESC, .avail = MEMORY_LOW_MAX - 4, .used = USED }, 0 },
		{ { .size = 8, .desc = DESC, .avail = AVAIL, .used = HIGH + HIGH_N }, -EFAULT },
		{ { .size = 8, .desc = UINT64_MAX - 15, .avail = AVAIL, .used = USED }, -EFAULT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vring_setup s = rows[i].setup;
		struct vring vr;

		s.packed = true;
		if (vring_init(&vr, &f->mem, &s) != rows[i].ret)
			fail_msg("row %zu", i);
		vring_exit(&vr);
		vring_exit(&vr);
	}
}

/* Refused for a reason that has @why in it, and for good; what was in flight can still be given back. */
static void assert_packed_refused(struct fixture *f, const char *why)
{
	uint16_t n_in_flight = f->vr.n_in_flight, n_free = f->vr.n_free;
	struct vring_chain chain;

	assert_int_equal(vring_pop(&f->vr, &chain), -EINVAL);
	assert_non_null(f->vr.broken);
	if (!strstr(f->vr.broken, why))
		fail_msg("refused because '%s', not because '%s'", f->vr.broken, why);
	assert_int_equal(vring_pop(&f->vr, &chain), -EINVAL);
	assert_false(vring_has_avail(&f->vr));
	assert_false(vring_enable_kicks(&f->vr));
	assert_int_equal(f->vr.n_in_flight, n_in_flight);
	assert_int_equal(f->vr.n_free, n_free);
	for (int id = vring_next_in_flight(&f->vr, -1); id >= 0; id = vring_next_in_flight(&f->vr, -1))
		complete(f, (uint16_t)id, 0);
	assert_int_equal(f->vr.n_free, SIZE);
}

/* Chains of every shape at every place, so that each goes over the ring's end, and both counters change
 * everywhere. */
static void a_chain_of_any_shape_is_taken_at_any_place(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[SIZE];
	struct vring_chain chain;

	for (unsigned int i = 0; i < SIZE; i++)
		segs[i] = (struct virtio_seg){ i % 2 ? HIGH + 4096 * i : BUF + 4096 * i, 100 * i + 1 };
	start(f, &packed);
	for (unsigned int place = 0; place < 2 * SIZE; place++) {
		for (unsigned int n = 1; n <= SIZE; n++) {
			for (unsigned int n_read = 0; n_read <= n; n_read++) {
				for (unsigned int direct = 0; direct < 2; direct++) {
					int id = fake_driver_add_mixed(&f->driver, segs, n_read, n - n_read,
								       direct ? n : 0, TABLE + 3);

					assert_true(id >= 0);
					fake_driver_publish(&f->driver);
					assert_int_equal(vring_pop(&f->vr, &chain), 1);
					assert_int_equal(chain.head, id);
					assert_chain(&chain, segs, n_read, n - n_read);
					assert_int_equal(vring_pop(&f->vr, &chain), 0);
					/* From what is kept, whatever the guest has made of the ring. */
					memset(f->driver.desc, 0xff, 16 * SIZE);
					assert_int_equal(vring_reread(&f->vr, (uint16_t)id, &chain), 1);
					assert_chain(&chain, segs, n_read, n - n_read);
					memset(f->driver.desc, f->vr.used_wrap ? 0 : 0xff, 16 * SIZE);
					complete(f, (uint16_t)id, n);
				}
			}
		}
		add_one(f);
		complete(f, pop_one(f), 1);
	}
}

static void segments_of_length_0_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[] = {
		{ UINT64_MAX, 0 }, { BUF, 10 }, { BUF, 0 }, { BUF + 64, 20 }, { MEMORY_LOW_MAX, 0 }
	};
	struct virtio_seg kept[] = { { BUF, 10 }, { BUF + 64, 20 } };
	struct vring_chain chain;

	start(f, &packed);
	for (unsigned int direct = 0; direct < 2; direct++) {
		fake_driver_add_mixed(&f->driver, segs, 3, 2, direct ? 5 : 0, TABLE);
		fake_driver_publish(&f->driver);
		assert_int_equal(vring_pop(&f->vr, &chain), 1);
		assert_chain(&chain, kept, 1, 1);
		complete(f, chain.head, 0);
		fake_driver_add_mixed(&f->driver, segs, 0, 1, direct, TABLE);
		fake_driver_publish(&f->driver);
		assert_int_equal(vring_pop(&f->vr, &chain), 1);
		assert_chain(&chain, NULL, 0, 0);
		complete(f, chain.head, 0);
	}
}

struct bad_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, id;
};

static const struct {
	const char *why;
	struct bad_desc descs[3]; /* of them those with an address */
	struct bad_desc table[2];
} bad_chains[] = {
	{ "id is not below", { { BUF, 1, 0, SIZE } }, { { 0 } } },
	{ "id is not below", { { BUF, 1, 0, UINT16_MAX } }, { { 0 } } },
	{ "id is not below", { { BUF, 1, N, 0 }, { BUF, 1, 0, SIZE } }, { { 0 } } },
	{ "id is that of another", { { BUF, 1, 0, 7 } }, { { 0 } } },
	{ "id is that of another", { { BUF, 1, N, 0 }, { BUF, 1, 0, 7 } }, { { 0 } } },
	{ "readable buffer follows", { { BUF, 1, W | N, 0 }, { BUF, 1, 0, 0 } }, { { 0 } } },
	{ "readable buffer follows", { { BUF, 0, W | N, 0 }, { BUF, 1, 0, 0 } }, { { 0 } } },
	{ "readable buffer follows", { { TABLE, 32, I, 0 } }, { { BUF, 1, W, 0 }, { BUF, 1, 0, 0 } } },
	{ "buffer is not in guest", { { UINT64_MAX, 2, 0, 0 } }, { { 0 } } },
	{ "buffer is not in guest", { { HIGH + HIGH_N - 1, 2, W, 0 } }, { { 0 } } },
	{ "buffer is not in guest", { { MEMORY_LOW_MAX - 1, 2, W, 0 } }, { { 0 } } },
	{ "buffer is not in guest", { { TABLE, 16, I, 0 } }, { { HIGH - 1, 1, 0, 0 } } },
	{ "2^32 bytes", { { 4096, 0x80000000, N, 0 }, { 4096, 0x80000000, W, 0 } }, { { 0 } } },
	/* Neither before, nor after, nor among others; nor a table in a table. */
	{ "within a chain", { { TABLE, 16, I | N, 0 } }, { { BUF, 1, 0, 0 } } },
	{ "within a chain", { { TABLE, 16, I | N, 0 }, { BUF, 1, 0, 0 } }, { { BUF, 1, 0, 0 } } },
	{ "within a chain", { { BUF, 1, N, 0 }, { TABLE, 16, I, 0 } }, { { BUF, 1, 0, 0 } } },
	{ "within another", { { TABLE, 16, I, 0 } }, { { TABLE, 16, I, 0 } } },
	{ "within another", { { TABLE, 32, I, 0 } }, { { BUF, 1, 0, 0 }, { TABLE, 32, I, 0 } } },
	{ "table's length", { { TABLE, 0, I, 0 } }, { { 0 } } },
	{ "table's length", { { TABLE, 17, I, 0 } }, { { 0 } } },
	{ "table is longer", { { TABLE, 16 * (SIZE + 1), I, 0 } }, { { BUF, 1, 0, 0 } } },
	{ "table is longer", { { TABLE, 0xfffffff0, I, 0 } }, { { BUF, 1, 0, 0 } } },
	{ "table is not in guest", { { HIGH + HIGH_N - 16, 32, I, 0 } }, { { 0 } } },
	{ "table is not in guest", { { UINT64_MAX - 15, 32, I, 0 } }, { { 0 } } },
};

static void a_bad_chain_is_refused_and_the_one_before_it_is_not(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad_chains); i++) {
		const struct bad_desc *d = bad_chains[i].descs;
		struct virtio_seg seg = { BUF, 1 };

		start(f, &packed);
		/* A good one in front, which must not suffer. */
		f->driver.free_head = 7;
		assert_int_equal(fake_driver_add(&f->driver, &seg, 0, 1), 7);
		fake_driver_publish(&f->driver);
		for (uint16_t k = 0; k < 3 && d[k].addr; k++)
			fake_driver_write_avail(&f->driver, k + 1, d[k].addr, d[k].len, d[k].flags, d[k].id);
		for (uint16_t k = 0; k < 2; k++)
			fake_driver_write_table(&f->driver, TABLE, k, bad_chains[i].table[k].addr,
						bad_chains[i].table[k].len, bad_chains[i].table[k].flags, 0);
		assert_int_equal(pop_one(f), 7);
		assert_packed_refused(f, bad_chains[i].why);
	}
}

/* A ring whose every descriptor says that another one follows, alone and with one in flight. */
static void a_chain_without_an_end_is_refused(void **state)
{
	struct fixture *f = *state;

	for (unsigned int n = 0; n < 2; n++) {
		start(f, &packed);
		if (n > 0) {
			add_one(f);
			pop_one(f);
		}
		for (uint16_t i = 0; i < SIZE; i++)
			fake_driver_write_avail(&f->driver, i, BUF, 1, N, 7);
		assert_packed_refused(f, "more descriptors");
	}
	/* As many as the ring has, and then one of the next turn that the driver had no place for. */
	start(f, &packed);
	for (unsigned int i = 0; i < SIZE; i++)
		add_one(f);
	for (unsigned int i = 0; i < SIZE; i++)
		pop_one(f);
	fake_driver_write_desc(&f->driver, 0, BUF, 1, 1 << 15, 0);
	assert_packed_refused(f, "more descriptors");
}

static void a_table_without_the_feature_is_refused(void **state)
{
	struct fixture *f = *state;

	start(f, &packed_events);
	fake_driver_write_avail(&f->driver, 0, TABLE, 16, I, 0);
	fake_driver_write_table(&f->driver, TABLE, 0, BUF, 1, 0, 0);
	assert_packed_refused(f, "without the feature");
}

/* Flags that make nothing available, in both turns. */
static void flags_of_the_wrong_turn_make_nothing_available(void **state)
{
	struct fixture *f = *state;
	static const uint16_t first[] = { 0, 1 << 15, 1 << 15 | 1 << 7 },
			      second[] = { 0, 1 << 7, 1 << 15 | 1 << 7 };
	struct vring_chain chain;

	start(f, &packed);
	for (unsigned int turn = 0; turn < 2; turn++) {
		for (unsigned int i = 0; i < 3; i++) {
			fake_driver_write_desc(&f->driver, 0, BUF, 1, turn ? second[i] : first[i], 0);
			assert_int_equal(vring_pop(&f->vr, &chain), 0);
			assert_false(vring_has_avail(&f->vr));
		}
		for (unsigned int i = 0; i < SIZE; i++) {
			add_one(f);
			assert_true(vring_has_avail(&f->vr));
			complete(f, pop_one(f), 0);
		}
	}
}

static void a_chain_put_back_is_the_next_again_in_any_turn(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[3] = { { BUF, 1 }, { BUF + 8, 2 }, { HIGH, 3 } };
	struct vring_chain chain;

	start(f, &packed);
	for (unsigned int i = 0; i < 5 * SIZE; i++) {
		uint16_t older, place;
		bool wrap;

		add_one(f);
		older = pop_one(f);
		place = f->vr.last_avail;
		wrap = f->vr.avail_wrap;
		fake_driver_add(&f->driver, segs, 1, 2);
		fake_driver_publish(&f->driver);
		for (unsigned int k = 0; k < 3; k++) {
			assert_int_equal(vring_pop(&f->vr, &chain), 1);
			vring_unpop(&f->vr);
			assert_int_equal(f->vr.last_avail, place);
			assert_int_equal(f->vr.avail_wrap, wrap);
			assert_in_flight(&f->vr, k < 1, &older);
			if (k == 0)
				complete(f, older, 1); /* its place is not that of the other */
		}
		assert_int_equal(vring_pop(&f->vr, &chain), 1);
		assert_chain(&chain, segs, 1, 2);
		complete(f, chain.head, 1);
	}
}

/* A batch is visible at once, and not before; each interrupt exactly where the event is, in every turn. */
static void a_batch_is_visible_at_once_and_interrupts_at_its_event(void **state)
{
	struct fixture *f = *state;

	start(f, &packed_events);
	for (unsigned int round = 0; round < 3 * SIZE; round++) {
		for (unsigned int batch = 1; batch <= SIZE; batch++) {
			for (unsigned int event = 0; event < 2 * SIZE; event++) {
				uint16_t place = (uint16_t)((f->vr.used_idx + event) % SIZE), id;
				bool wrap = f->vr.used_wrap != ((f->vr.used_idx + event) / SIZE % 2 == 1);
				uint32_t len;

				for (unsigned int i = 0; i < batch; i++)
					add_one(f);
				for (unsigned int i = 0; i < batch; i++)
					vring_push(&f->vr, pop_one(f), 1);
				assert_int_equal(fake_driver_get_used(&f->driver, &id, &len), 0);
				fake_driver_set_used_event(&f->driver, (uint16_t)(place | wrap << 15));
				fake_driver_set_avail_flags(&f->driver, 2);
				assert_int_equal(vring_publish(&f->vr), event < batch);
				assert_false(vring_publish(&f->vr));
				for (unsigned int i = 0; i < batch; i++)
					assert_int_equal(fake_driver_get_used(&f->driver, &id, &len), 1);
				assert_int_equal(fake_driver_get_used(&f->driver, &id, &len), 0);
			}
		}
		add_one(f);
		complete(f, pop_one(f), 1);
	}
}

static void an_interrupt_is_due_for_what_the_driver_may_not_have_seen(void **state)
{
	struct fixture *f = *state;

	start(f, &packed_events);
	check_interrupts_due(f);
	fake_driver_disable_interrupts(&f->driver);
	assert_false(vring_interrupt_due(&f->vr));
}

static void flags_that_do_not_exist_lose_no_interrupt(void **state)
{
	struct fixture *f = *state;
	/* 2 without the feature and 3 do not exist: no interrupt may be lost by them. */
	static const struct {
		uint16_t flags;
		bool wanted;
	} rows[] = { { 0, true }, { 1, false }, { 2, true }, { 3, true }, { 4, true }, { 0xfffd, false } };

	start(f, &packed);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fake_driver_set_avail_flags(&f->driver, rows[i].flags);
		add_one(f);
		vring_push(&f->vr, pop_one(f), 0);
		assert_int_equal(vring_publish(&f->vr), rows[i].wanted);
	}
}

/* Whether both pages were written since the last time. */
static bool dirty(struct fixture *f, uint64_t gpa, uint64_t other)
{
	uint64_t *bitmap = calloc(fake_log_words(&f->mem), sizeof(*bitmap));
	uint64_t page = gpa >> PAGE_SHIFT, other_page = other >> PAGE_SHIFT;
	bool is;

	fake_log_take(&f->mem, bitmap);
	is = bitmap[page / 64] >> (page % 64) & bitmap[other_page / 64] >> (other_page % 64) & 1;
	free(bitmap);
	return is;
}

/* Both ends of a batch that goes over the ring's end, and the device's events. */
static void what_is_written_over_the_end_of_the_ring_is_logged(void **state)
{
	struct fixture *f = *state;
	struct vring_setup s = packed_events;

	s.size = 512; /* two pages */
	start(f, &s);
	for (unsigned int i = 0; i < 511; i++) {
		add_one(f);
		complete(f, pop_one(f), 0);
	}
	assert_int_equal(memory_log_start(&f->mem), 0);
	for (unsigned int i = 0; i < 4; i++)
		add_one(f);
	for (unsigned int i = 0; i < 4; i++)
		vring_push(&f->vr, pop_one(f), 0);
	(void)!vring_publish(&f->vr);
	assert_true(dirty(f, DESC, DESC + PAGE_SIZE));
	vring_disable_kicks(&f->vr);
	assert_true(dirty(f, USED, USED));
	vring_disable_kicks(&f->vr); /* is so already */
	assert_false(dirty(f, USED, USED));
	vring_enable_kicks(&f->vr);
	assert_true(dirty(f, USED, USED));
}

/* Every order of four completions, seen by the driver in its own; both formats. */
static void an_in_order_ring_gives_back_in_order(void **state)
{
	struct fixture *f = *state;
	const struct vring_setup *setups[] = { &plain, &packed, &packed_events };

	for (unsigned int kind = 0; kind < 3; kind++) {
		struct vring_setup s = *setups[kind];

		s.in_order = true;
		start(f, &s);
		for (unsigned int order = 0; order < 256; order++) {
			uint16_t heads[4], id;
			uint32_t len;
			unsigned int seen = 0, pushed = 0;

			for (unsigned int i = 0; i < 4; i++)
				add_one(f);
			for (unsigned int i = 0; i < 4; i++)
				heads[i] = pop_one(f);
			for (unsigned int i = 0; i < 8; i++) {
				unsigned int k = i < 4 ? order >> 2 * i & 3 : i - 4, n = 0;

				if (pushed >> k & 1)
					continue;
				vring_push(&f->vr, heads[k], k + 1);
				pushed |= 1u << k;
				(void)!vring_publish(&f->vr);
				while (pushed >> n & 1)
					n++;
				for (; seen < n; seen++) {
					assert_int_equal(fake_driver_get_used(&f->driver, &id, &len), 1);
					assert_int_equal(id, heads[seen]);
					assert_int_equal(len, seen + 1);
				}
				assert_int_equal(fake_driver_get_used(&f->driver, &id, &len), 0);
			}
			assert_int_equal(seen, 4);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_packed_ring_must_be_aligned_and_in_guest_memory),
		T(a_chain_of_any_shape_is_taken_at_any_place),
		T(segments_of_length_0_are_left_out),
		T(a_bad_chain_is_refused_and_the_one_before_it_is_not),
		T(a_chain_without_an_end_is_refused),
		T(a_table_without_the_feature_is_refused),
		T(flags_of_the_wrong_turn_make_nothing_available),
		T(a_chain_put_back_is_the_next_again_in_any_turn),
		T(a_batch_is_visible_at_once_and_interrupts_at_its_event),
		T(an_interrupt_is_due_for_what_the_driver_may_not_have_seen),
		T(flags_that_do_not_exist_lose_no_interrupt),
		T(what_is_written_over_the_end_of_the_ring_is_logged),
		T(an_in_order_ring_gives_back_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
