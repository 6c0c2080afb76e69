/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Indexes, order, events and dirty marks of the device side of a ring. */
#include "tests/fake/log.h"
#include "tests/unit/devices/virtio/vring_fixture.h"

/* A ring full to the last descriptor, given back in an order of its own. */
static void a_full_ring_is_given_back_in_any_order(void **state)
{
	struct fixture *f = *state;
	static const uint16_t order[SIZE] = { 3, 7, 0, 1, 6, 2, 5, 4 };
	struct vring_chain chain;
	uint16_t head;
	uint32_t len;

	start(f, &plain);
	for (unsigned int i = 0; i < SIZE; i++)
		add_one(f);
	for (unsigned int i = 0; i < SIZE; i++)
		assert_int_equal(pop_one(f), i);
	assert_int_equal(vring_pop(&f->vr, &chain), 0);
	for (unsigned int i = 0; i < SIZE; i++)
		vring_push(&f->vr, order[i], i);
	assert_int_equal(fake_driver_get_used(&f->driver, &head, &len), 0);
	assert_true(vring_publish(&f->vr));
	assert_false(vring_publish(&f->vr)); /* nothing new, nothing to say */
	for (unsigned int i = 0; i < SIZE; i++) {
		assert_int_equal(fake_driver_get_used(&f->driver, &head, &len), 1);
		assert_int_equal(head, order[i]);
		assert_int_equal(len, i);
	}
	assert_int_equal(fake_driver_get_used(&f->driver, &head, &len), 0);
}

/* Every index over its end, three in flight all the time, both kinds of event suppression. */
static void indexes_go_over_their_end_with_chains_in_flight(void **state)
{
	struct fixture *f = *state;
	const struct vring_setup *setups[] = { &plain, &with_event_idx };

	for (unsigned int s = 0; s < 2; s++) {
		uint16_t waiting[3];

		start(f, setups[s]);
		for (unsigned int i = 0; i < 3; i++) {
			add_one(f);
			waiting[i] = pop_one(f);
		}
		for (unsigned int i = 0; i < 70000; i++) {
			uint16_t head = add_one(f);

			assert_int_equal(pop_one(f), head);
			complete(f, waiting[i % 3], i);
			waiting[i % 3] = head;
		}
		assert_int_equal(f->vr.last_avail, (uint16_t)70003);
		assert_int_equal(f->vr.n_in_flight, 3);
	}
}

/* Entries behind avail.idx are read when they are taken, avail.idx itself once a batch. */
static void the_available_index_is_read_once_a_batch(void **state)
{
	struct fixture *f = *state;
	struct vring_chain chain;

	start(f, &plain);
	add_one(f);
	add_one(f);
	assert_int_equal(pop_one(f), 0);
	fake_driver_set_avail_idx(&f->driver, 12345); /* not looked at: the batch has one more */
	assert_int_equal(pop_one(f), 1);
	assert_int_equal(vring_pop(&f->vr, &chain), -EINVAL);
}

static void a_chain_put_back_is_the_next_again(void **state)
{
	struct fixture *f = *state;
	struct vring_chain chain;

	start(f, &plain);
	for (unsigned int i = 0; i < 3; i++)
		add_one(f);
	pop_one(f);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(pop_one(f), 1);
		vring_unpop(&f->vr);
		assert_in_flight(&f->vr, 1, (uint16_t[]){ 0 });
		assert_int_equal(f->vr.last_avail, 1);
		assert_true(vring_has_avail(&f->vr));
		assert_true(vring_enable_kicks(&f->vr));
	}
	/* What was given back in between does not matter. */
	assert_int_equal(pop_one(f), 1);
	complete(f, 0, 0);
	vring_unpop(&f->vr);
	assert_in_flight(&f->vr, 0, NULL);
	assert_int_equal(pop_one(f), 1);
	assert_int_equal(pop_one(f), 2);
	assert_int_equal(vring_pop(&f->vr, &chain), 0);
	/* And as the only one. */
	vring_unpop(&f->vr);
	complete(f, 1, 0);
	assert_int_equal(pop_one(f), 2);
}

static void what_is_in_flight_is_listed_in_order_and_read_again(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[2] = { { BUF, 4 }, { HIGH, 8 } };
	struct vring_chain chain;
	int head;

	start(f, &with_indirect);
	for (unsigned int i = 0; i < 5; i++) {
		add_one(f);
		pop_one(f);
	}
	assert_in_flight(&f->vr, 5, (uint16_t[]){ 0, 1, 2, 3, 4 });
	complete(f, 2, 0);
	complete(f, 0, 0);
	head = fake_driver_add_indirect(&f->driver, segs, 1, 1, TABLE);
	fake_driver_publish(&f->driver);
	assert_int_equal(pop_one(f), head);
	assert_in_flight(&f->vr, 4, (uint16_t[]){ 1, 3, 4, (uint16_t)head });

	/* Parsed again for another device, without a change to the list. */
	assert_int_equal(vring_reread(&f->vr, (uint16_t)head, &chain), 1);
	assert_int_equal(chain.head, head);
	assert_chain(&chain, segs, 1, 1);
	assert_in_flight(&f->vr, 4, (uint16_t[]){ 1, 3, 4, (uint16_t)head });
	/* The guest may have changed it, and is checked again. */
	fake_driver_write_table(&f->driver, TABLE, 0, HIGH + HIGH_N, 1, 0, 0);
	assert_int_equal(vring_reread(&f->vr, (uint16_t)head, &chain), -EINVAL);
	assert_non_null(f->vr.broken);
	assert_int_equal(vring_reread(&f->vr, 1, &chain), -EINVAL);
}

/* Interrupts by avail.flags, kicks by used.flags; other bits mean nothing. */
static void flags_ask_for_interrupts_and_kicks(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg seg = { BUF, 1 };

	start(f, &plain);
	assert_false(vring_enable_kicks(&f->vr));
	fake_driver_add(&f->driver, &seg, 0, 1);
	assert_true(fake_driver_publish(&f->driver));
	assert_true(vring_enable_kicks(&f->vr));
	vring_disable_kicks(&f->vr);
	fake_driver_add(&f->driver, &seg, 0, 1);
	assert_false(fake_driver_publish(&f->driver));
	assert_true(vring_has_avail(&f->vr)); /* Added while off, found by the look after on */
	assert_true(vring_enable_kicks(&f->vr));

	vring_push(&f->vr, pop_one(f), 0);
	fake_driver_disable_interrupts(&f->driver);
	assert_false(vring_publish(&f->vr));
	vring_push(&f->vr, pop_one(f), 0);
	fake_driver_set_avail_flags(&f->driver, 0xfffe);
	assert_true(vring_publish(&f->vr));
	assert_false(vring_enable_kicks(&f->vr));
}

/* The interrupt is wanted exactly when used.idx steps over used_event, at any place of the index. */
static void an_interrupt_is_wanted_where_the_index_passes_the_event(void **state)
{
	struct fixture *f = *state;
	static const uint16_t starts[] = { 0, 1, 100, 32766, 32767, 32768, 65530, 65534, 65535 };

	start(f, &with_event_idx);
	for (size_t s = 0; s < ARRAY_SIZE(starts); s++) {
		for (unsigned int batch = 1; batch <= SIZE; batch++) {
			for (int event = -3; event <= (int)SIZE + 3; event++) {
				fake_driver_set_used_event(&f->driver, (uint16_t)(starts[s] + event));
				f->vr.published = starts[s];
				f->vr.used_idx = (uint16_t)(starts[s] + batch);
				assert_int_equal(vring_publish(&f->vr), event >= 0 && event < (int)batch);
			}
			fake_driver_set_used_event(&f->driver, (uint16_t)(starts[s] + 32768));
			f->vr.published = starts[s];
			f->vr.used_idx = (uint16_t)(starts[s] + batch);
			assert_false(vring_publish(&f->vr));
		}
	}
	/* Flags are not looked at. */
	fake_driver_set_avail_flags(&f->driver, 1);
	fake_driver_set_used_event(&f->driver, f->vr.used_idx);
	f->vr.used_idx++;
	assert_true(vring_publish(&f->vr));
}

static void a_kick_comes_where_it_was_asked_for(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg seg = { BUF, 1 };

	start(f, &with_event_idx);
	for (unsigned int i = 0; i < 70000; i++) {
		bool asked = i % 3 == 0;
		int head;

		if (asked)
			assert_false(vring_enable_kicks(&f->vr));
		else
			vring_disable_kicks(&f->vr);
		head = fake_driver_add(&f->driver, &seg, 0, 1);
		assert_int_equal(fake_driver_publish(&f->driver), asked);
		assert_true(vring_has_avail(&f->vr));
		assert_int_equal(pop_one(f), head);
		complete(f, (uint16_t)head, 0);
	}
	add_one(f);
	assert_true(vring_enable_kicks(&f->vr));
}

static bool page_dirty(struct fixture *f, uint64_t gpa)
{
	uint64_t *bitmap = calloc(fake_log_words(&f->mem), sizeof(*bitmap));
	uint64_t page = gpa >> PAGE_SHIFT;
	bool dirty;

	fake_log_take(&f->mem, bitmap);
	dirty = bitmap[page / 64] >> (page % 64) & 1;
	free(bitmap);
	return dirty;
}

/* Whatever is written to the used ring is in the log. */
static void what_is_written_to_the_used_ring_is_logged(void **state)
{
	struct fixture *f = *state;
	struct vring_setup s = with_event_idx;

	/* The index in one page, the entries in the next, the event in the one after. */
	s.size = 1024;
	s.used = USED + PAGE_SIZE - 4;
	start(f, &s);
	assert_int_equal(memory_log_start(&f->mem), 0);
	add_one(f);
	vring_push(&f->vr, pop_one(f), 0);
	(void)!vring_publish(&f->vr);
	assert_true(page_dirty(f, USED));
	add_one(f);
	vring_push(&f->vr, pop_one(f), 0);
	(void)!vring_publish(&f->vr);
	assert_true(page_dirty(f, USED + PAGE_SIZE));
	vring_enable_kicks(&f->vr);
	assert_true(page_dirty(f, USED + 3 * PAGE_SIZE));
	s.event_idx = false;
	start(f, &s);
	vring_disable_kicks(&f->vr);
	assert_true(page_dirty(f, USED));
	vring_enable_kicks(&f->vr);
	assert_true(page_dirty(f, USED));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_full_ring_is_given_back_in_any_order),
		T(indexes_go_over_their_end_with_chains_in_flight),
		T(the_available_index_is_read_once_a_batch),
		T(a_chain_put_back_is_the_next_again),
		T(what_is_in_flight_is_listed_in_order_and_read_again),
		T(flags_ask_for_interrupts_and_kicks),
		T(an_interrupt_is_wanted_where_the_index_passes_the_event),
		T(a_kick_comes_where_it_was_asked_for),
		T(what_is_written_to_the_used_ring_is_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
