/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of packed and of in-order rings saved, moved, and loaded from state that is damaged. */
#include "tests/unit/devices/virtio/vring_fixture.h"

static const struct vring_setup packed = { .size = SIZE,
					   .desc = DESC,
					   .avail = AVAIL,
					   .used = USED,
					   .packed = true,
					   .indirect = true,
					   .in_order = true };

static void fresh(struct fixture *f, const struct vring_setup *s)
{
	vring_exit(&f->vr);
	assert_int_equal(vring_init(&f->vr, &f->mem, s), 0);
}

/* Out of order, so that used descriptors lie over those of the older ones; each is read again as it was. */
static void chains_in_flight_are_the_same_where_they_arrive(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[3] = { { BUF, 10 }, { BUF + 64, 20 }, { HIGH, 30 } };
	struct vring_setup s = packed;
	struct vring_chain chain;
	uint32_t len, again_len;
	void *fdt, *again;
	int ids[3];

	s.in_order = false;
	start(f, &s);
	for (unsigned int turn = 0; turn < 3 * SIZE; turn++) {
		ids[0] = fake_driver_add(&f->driver, segs, 1, 2);
		ids[1] = fake_driver_add_indirect(&f->driver, segs, 2, 1, TABLE);
		ids[2] = fake_driver_add(&f->driver, segs, 0, 3);
		fake_driver_publish(&f->driver);
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(pop_one(f), ids[i]);
		complete(f, (uint16_t)ids[2], 60); /* written over the first one's */
		fdt = save(&f->vr, &len);
		fresh(f, &s);
		assert_int_equal(load(&f->vr, fdt, len), 0);
		again = save(&f->vr, &again_len);
		assert_int_equal(len, again_len);
		assert_memory_equal(fdt, again, len);
		free(fdt);
		free(again);
		assert_in_flight(&f->vr, 2, (uint16_t[]){ (uint16_t)ids[0], (uint16_t)ids[1] });
		assert_int_equal(vring_reread(&f->vr, (uint16_t)ids[0], &chain), 1);
		assert_chain(&chain, segs, 1, 2);
		assert_int_equal(vring_reread(&f->vr, (uint16_t)ids[1], &chain), 1);
		assert_chain(&chain, segs, 2, 1);
		complete(f, (uint16_t)ids[1], 0);
		complete(f, (uint16_t)ids[0], 50);
	}
}

/* What waits for an older one is not submitted again, and comes when that one is done; both formats. */
static void what_waits_for_an_older_chain_arrives_waiting(void **state)
{
	struct fixture *f = *state;
	struct vring_setup s = packed;
	uint16_t heads[4], id;
	uint32_t len;
	void *fdt;

	for (unsigned int kind = 0; kind < 2; kind++) {
		s.packed = kind;
		start(f, &s);
		for (unsigned int i = 0; i < 4; i++) {
			add_one(f);
			heads[i] = pop_one(f);
		}
		vring_push(&f->vr, heads[3], 3);
		vring_push(&f->vr, heads[1], 1);
		assert_false(vring_publish(&f->vr));
		fdt = save(&f->vr, &len);
		fresh(f, &s);
		assert_int_equal(load(&f->vr, fdt, len), 0);
		free(fdt);
		assert_int_equal(vring_next_in_flight(&f->vr, -1), heads[0]);
		assert_int_equal(vring_next_in_flight(&f->vr, heads[0]), heads[2]);
		assert_int_equal(vring_next_in_flight(&f->vr, heads[2]), -1);
		vring_push(&f->vr, heads[2], 2);
		vring_push(&f->vr, heads[0], 0);
		assert_true(vring_publish(&f->vr));
		for (unsigned int i = 0; i < 4; i++) {
			assert_int_equal(fake_driver_get_used(&f->driver, &id, &len), 1);
			assert_int_equal(id, heads[i]);
			assert_int_equal(len, i);
		}
	}
}

/* One good state, and what one change makes of it. */
struct row {
	uint32_t avail, avail_wrap, used, used_wrap;
	uint16_t id[2], n[2], flags;
	uint64_t addr;
	uint32_t len;
	int cut; /* bytes off, or on, the list */
	uint16_t done;
	uint32_t n_done;
	int ret;
};

static void *save_row(const struct row *r, uint32_t *len)
{
	uint8_t list[4 + 14 * 2 + 4 + 14 + 16] = { 0 }, done[12] = { 0 }, *p = list;
	struct state_writer w;
	void *fdt;

	put_le16(p, r->id[0]);
	put_le16(p + 2, r->n[0]);
	for (unsigned int k = 0; k < 2; k++) {
		put_le64(p + 4 + 14 * k, BUF);
		put_le32(p + 12 + 14 * k, 100);
	}
	p += 32;
	put_le16(p, r->id[1]);
	put_le16(p + 2, r->n[1]);
	put_le64(p + 4, r->addr);
	put_le32(p + 12, r->len);
	put_le16(p + 16, r->flags);
	put_le16(done, r->done);
	put_le16(done + 6, r->done);
	assert_int_equal(state_open_writer(&w), 0);
	state_put_u32(&w, "last-avail", r->avail);
	state_put_u32(&w, "avail-wrap", r->avail_wrap);
	state_put_u32(&w, "used-idx", r->used);
	state_put_u32(&w, "used-wrap", r->used_wrap);
	state_put_blob(&w, "in-flight", list, (uint32_t)(50 + r->cut));
	state_put_blob(&w, "done", done, r->n_done);
	assert_int_equal(state_close(&w, &fdt, len), 0);
	return fdt;
}

#define GOOD .id = { 4, 2 }, .n = { 2, 1 }, .addr = BUF, .len = 9, .flags = W
#define AT   .avail = 1, .avail_wrap = 0, .used = 6, .used_wrap = 1

static void state_that_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;
	static const struct row rows[] = {
		{ AT, GOOD, .ret = 0 },
		{ GOOD, .avail = 7, .avail_wrap = 1, .used = 4, .used_wrap = 1, .ret = 0 },
		{ GOOD, .avail = 2, .avail_wrap = 1, .used = 7, .used_wrap = 0, .ret = 0 },
		{ AT, GOOD, .done = 2, .n_done = 6, .ret = 0 },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = TABLE, .len = 32, .flags = I, .ret = 0 },
		/* Places and turns. */
		{ GOOD, .avail = 8, .avail_wrap = 1, .used = 5, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = 2, .avail_wrap = 1, .used = 7, .used_wrap = 2, .ret = -EINVAL },
		{ GOOD, .avail = 2, .avail_wrap = 2, .used = 7, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = 0, .avail_wrap = 0, .used = 8, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = 1, .avail_wrap = 1, .used = 6, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = 2, .avail_wrap = 0, .used = 6, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = 0, .avail_wrap = 0, .used = 6, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = 7, .avail_wrap = 0, .used = 4, .used_wrap = 1, .ret = -EINVAL },
		{ GOOD, .avail = UINT32_MAX, .avail_wrap = 0, .used = 6, .used_wrap = 1, .ret = -EINVAL },
		/* Chains. */
		{ AT, .id = { 4, 4 }, .n = { 2, 1 }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, .id = { 4, SIZE }, .n = { 2, 1 }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, .id = { UINT16_MAX, 2 }, .n = { 2, 1 }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 0 }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 2 }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, UINT16_MAX }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 3, 1 }, .addr = BUF, .len = 9, .ret = -EINVAL },
		{ AT, GOOD, .cut = -1, .ret = -EINVAL },
		{ AT, GOOD, .cut = -14, .ret = -EINVAL },
		{ AT, GOOD, .cut = -17, .ret = -EINVAL },
		{ AT, GOOD, .cut = -18, .ret = -EINVAL },
		{ AT, GOOD, .cut = -50, .ret = -EINVAL },
		{ AT, GOOD, .cut = 1, .ret = -EINVAL },
		{ AT, GOOD, .cut = 4, .ret = -EINVAL },
		/* Descriptors. */
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = HIGH + HIGH_N, .len = 9, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = BUF, .len = UINT32_MAX, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = BUF, .len = 9, .flags = N, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = BUF, .len = 9, .flags = 128, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = TABLE, .len = 33, .flags = I, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = TABLE, .len = 144, .flags = I, .ret = -EINVAL },
		{ AT, .id = { 4, 2 }, .n = { 2, 1 }, .addr = HIGH - 1, .len = 16, .flags = I,
		  .ret = -EINVAL },
		/* Completions. */
		{ AT, GOOD, .done = 4, .n_done = 6, .ret = -EINVAL }, /* the oldest */
		{ AT, GOOD, .done = 3, .n_done = 6, .ret = -EINVAL },
		{ AT, GOOD, .done = SIZE, .n_done = 6, .ret = -EINVAL },
		{ AT, GOOD, .done = 2, .n_done = 5, .ret = -EINVAL },
		{ AT, GOOD, .done = 2, .n_done = 12, .ret = -EINVAL },
	};

	start(f, &packed);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t len;
		void *fdt = save_row(&rows[i], &len);

		fresh(f, &packed);
		if (load(&f->vr, fdt, len) != rows[i].ret)
			fail_msg("row %zu", i);
		/* Refused as a whole: the ring can be used from its beginning. */
		if (rows[i].ret < 0) {
			assert_in_flight(&f->vr, 0, NULL);
			assert_int_equal(f->vr.n_free, SIZE);
			fake_driver_exit(&f->driver);
			fake_driver_init(&f->driver, &f->mem, &packed);
			for (unsigned int k = 0; k < SIZE; k++)
				add_one(f);
			for (unsigned int k = 0; k < SIZE; k++)
				complete(f, pop_one(f), 0);
		}
		free(fdt);
	}
}

/* Cut at every byte, and with every bit changed: refused, or a state that holds together. */
static void damaged_state_is_refused_or_holds_together(void **state)
{
	struct fixture *f = *state;
	uint32_t len;
	uint8_t *fdt, *cut;

	start(f, &packed);
	for (unsigned int i = 0; i < 5; i++) {
		add_one(f);
		pop_one(f);
	}
	complete(f, 0, 0);
	vring_push(&f->vr, 2, 7);
	fdt = save(&f->vr, &len);
	for (uint32_t n = 0; n < len; n++) {
		cut = malloc(n > 0 ? n : 1); /* exact, so that the sanitizer sees a read beyond */
		memcpy(cut, fdt, n);
		fresh(f, &packed);
		assert_true(load(&f->vr, cut, n) < 0);
		assert_in_flight(&f->vr, 0, NULL);
		free(cut);
	}
	for (uint32_t n = 0; n < len; n++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			struct vring_chain chain;

			fdt[n] ^= (uint8_t)(1u << bit);
			fresh(f, &packed);
			(void)!load(&f->vr, fdt, len);
			assert_true(f->vr.last_avail < SIZE && f->vr.used_idx < SIZE);
			for (int id = vring_next_in_flight(&f->vr, -1); id >= 0;
			     id = vring_next_in_flight(&f->vr, id)) {
				assert_true(id < (int)SIZE && f->vr.in_flight[id]);
				assert_true(f->vr.broken || vring_reread(&f->vr, (uint16_t)id, &chain));
			}
			fdt[n] ^= (uint8_t)(1u << bit);
		}
	}
	free(fdt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(chains_in_flight_are_the_same_where_they_arrive),
		T(what_waits_for_an_older_chain_arrives_waiting),
		T(state_that_cannot_be_is_refused),
		T(damaged_state_is_refused_or_holds_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
