/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of a ring saved, moved, and loaded from state that is damaged. */
#include "tests/unit/devices/virtio/vring_fixture.h"

static void *save_raw(uint32_t last_avail, uint32_t used_idx, const void *heads, uint32_t heads_len,
		      uint32_t *len)
{
	struct state_writer w;
	void *fdt;

	assert_int_equal(state_open_writer(&w), 0);
	state_put_u32(&w, "last-avail", last_avail);
	state_put_u32(&w, "used-idx", used_idx);
	state_put_blob(&w, "in-flight", heads, heads_len);
	assert_int_equal(state_close(&w, &fdt, len), 0);
	return fdt;
}

/* Moves the ring's device side to a fresh vring, as a migration does. */
static void move(struct fixture *f)
{
	uint32_t len, again_len;
	void *fdt = save(&f->vr, &len), *again;
	struct vring other;

	assert_int_equal(vring_init(&other, &f->mem, &f->vr.setup), 0);
	assert_int_equal(load(&other, fdt, len), 0);
	again = save(&other, &again_len);
	assert_int_equal(len, again_len);
	assert_memory_equal(fdt, again, len);
	free(fdt);
	free(again);
	vring_exit(&f->vr);
	f->vr = other;
}

/* Moved again and again, over the end of the indexes, each chain is used exactly once. */
static void a_ring_moved_again_and_again_uses_each_chain_once(void **state)
{
	struct fixture *f = *state;
	uint16_t in_flight[SIZE], first;
	unsigned int n = 0;

	start(f, &with_event_idx);
	fake_driver_start_at(&f->driver, 0xfff0);
	f->vr.last_avail = f->vr.avail_idx = f->vr.used_idx = f->vr.published = 0xfff0;
	for (unsigned int i = 0; i < 64; i++) {
		while (n < SIZE - 1) {
			in_flight[n] = add_one(f);
			assert_int_equal(pop_one(f), in_flight[n]);
			n++;
		}
		first = add_one(f); /* not yet taken */
		assert_int_equal(vring_next_in_flight(&f->vr, -1), in_flight[0]);
		move(f);
		assert_in_flight(&f->vr, n, in_flight);
		assert_true(vring_has_avail(&f->vr));
		assert_int_equal(pop_one(f), first);
		assert_int_equal(vring_pop(&f->vr, &(struct vring_chain){ 0 }), 0);
		/* Out of order: every other one of the old. */
		for (unsigned int k = i % 2; k < n; k++) {
			complete(f, in_flight[k], k);
			memmove(&in_flight[k], &in_flight[k + 1], (n - k - 1) * sizeof(*in_flight));
			n--;
		}
		in_flight[n++] = first;
	}
}

static void state_that_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t last_avail, used_idx;
		uint8_t heads[2 * SIZE + 2];
		uint32_t len;
		int ret;
	} rows[] = {
		{ 7, 5, { 1, 0, 2, 0 }, 4, 0 }, /* good: guest memory says 5 */
		{ 13, 5, { 7, 0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0 }, 16, 0 },
		{ 5, 5, { 0 }, 0, 0 },
		{ 0x10007, 5, { 1, 0, 2, 0 }, 4, -EINVAL },
		{ 7, 0x10005, { 1, 0, 2, 0 }, 4, -EINVAL },
		{ UINT32_MAX, 5, { 1, 0, 2, 0 }, 4, -EINVAL },
		{ 8, 6, { 1, 0, 2, 0 }, 4, -EINVAL }, /* not what guest memory says */
		{ 6, 5, { 1, 0, 2, 0 }, 4, -EINVAL },
		{ 8, 5, { 1, 0, 2, 0 }, 4, -EINVAL },
		{ 4, 5, { 0 }, 0, -EINVAL },
		{ 7, 5, { 1, 0, 2 }, 3, -EINVAL },
		{ 7, 5, { 1, 0, 2, 0, 3 }, 5, -EINVAL },
		{ 7, 5, { 1, 0, 1, 0 }, 4, -EINVAL },
		{ 7, 5, { 1, 0, SIZE, 0 }, 4, -EINVAL },
		{ 7, 5, { 0xff, 0xff, 1, 0 }, 4, -EINVAL },
		{ 7, 5, { 1, 0, 2, 1 }, 4, -EINVAL },
		{ 14, 5, { 7, 0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0 }, 18, -EINVAL },
	};

	start(f, &plain);
	fake_driver_start_at(&f->driver, 5);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t len;
		void *fdt = save_raw(rows[i].last_avail, rows[i].used_idx, rows[i].heads, rows[i].len, &len);

		vring_exit(&f->vr);
		assert_int_equal(vring_init(&f->vr, &f->mem, &plain), 0);
		if (load(&f->vr, fdt, len) != rows[i].ret)
			fail_msg("row %zu", i);
		/* Refused as a whole: nothing of it is there. */
		if (rows[i].ret < 0) {
			assert_in_flight(&f->vr, 0, NULL);
			assert_int_equal(f->vr.last_avail, 0);
			for (unsigned int head = 0; head < SIZE; head++)
				assert_false(f->vr.in_flight[head]);
		}
		free(fdt);
	}
}

/* Cut at every byte, and with every byte changed: refused, or a state that holds together. */
static void damaged_state_is_refused_or_holds_together(void **state)
{
	struct fixture *f = *state;
	uint32_t len;
	uint8_t *fdt, *cut;

	start(f, &plain);
	for (unsigned int i = 0; i < 4; i++) {
		add_one(f);
		pop_one(f);
	}
	complete(f, 1, 0);
	fdt = save(&f->vr, &len);
	for (uint32_t n = 0; n < len; n++) {
		cut = malloc(n > 0 ? n : 1); /* exact, so that the sanitizer sees a read beyond */
		memcpy(cut, fdt, n);
		vring_exit(&f->vr);
		assert_int_equal(vring_init(&f->vr, &f->mem, &plain), 0);
		assert_true(load(&f->vr, cut, n) < 0);
		assert_in_flight(&f->vr, 0, NULL);
		free(cut);
	}
	for (uint32_t n = 0; n < len; n++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			fdt[n] ^= (uint8_t)(1u << bit);
			vring_exit(&f->vr);
			assert_int_equal(vring_init(&f->vr, &f->mem, &plain), 0);
			(void)!load(&f->vr, fdt, len);
			assert_int_equal((uint16_t)(f->vr.last_avail - f->vr.used_idx), f->vr.n_in_flight);
			for (int head = vring_next_in_flight(&f->vr, -1); head >= 0;
			     head = vring_next_in_flight(&f->vr, head))
				assert_true(head < (int)SIZE && f->vr.in_flight[head]);
			fdt[n] ^= (uint8_t)(1u << bit);
		}
	}
	free(fdt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_ring_moved_again_and_again_uses_each_chain_once),
		T(state_that_cannot_be_is_refused),
		T(damaged_state_is_refused_or_holds_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
