/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shadow virtqueue against a device that is good, and one that is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "devices/virtio/svq.h"
#include "tests/fake/device.h"

#define SIZE        8u
#define IOVA        UINT64_C(0x123456000)
#define IOVA_TABLES UINT64_C(0x200000000)

struct fixture {
	void *mem, *tables;
	struct svq svq;
	struct fake_device device;
};

static void stop(struct fixture *f)
{
	svq_exit(&f->svq);
	fake_device_exit(&f->device);
	free(f->mem);
	free(f->tables);
	f->mem = f->tables = NULL;
}

static void start(struct fixture *f, uint16_t size, bool event_idx)
{
	stop(f);
	f->mem = aligned_alloc(PAGE_SIZE, svq_bytes(size)); /* exact, so that the sanitizer sees the end */
	memset(f->mem, 0, svq_bytes(size));
	assert_int_equal(svq_init(&f->svq, f->mem, IOVA, size, event_idx), 0);
	/* As the device finds the parts: through their IOVAs. */
	fake_device_init(&f->device, (uint8_t *)f->mem + (f->svq.desc_iova - IOVA),
			 (uint8_t *)f->mem + (f->svq.avail_iova - IOVA),
			 (uint8_t *)f->mem + (f->svq.used_iova - IOVA), size, event_idx);
}

static const uint8_t *table_at(void *opaque, uint64_t addr, uint64_t len)
{
	struct fixture *f = opaque;

	if (addr < IOVA_TABLES || addr - IOVA_TABLES + len > svq_table_bytes(f->svq.size))
		return NULL;
	return (uint8_t *)f->tables + (addr - IOVA_TABLES);
}

static void start_with_tables(struct fixture *f, uint16_t size)
{
	start(f, size, false);
	f->tables = aligned_alloc(PAGE_SIZE, svq_table_bytes(size));
	memset(f->tables, 0, svq_table_bytes(size));
	assert_int_equal(svq_use_tables(&f->svq, f->tables, IOVA_TABLES), 0);
	f->device.table_at = table_at;
	f->device.opaque = f;
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return 0;
}

static int teardown(void **state)
{
	stop(*state);
	free(*state);
	return 0;
}

static const struct virtio_seg segs8[8] = { { 0x1000, 10 }, { 0x2000, 20 }, { 0x3000, 30 }, { 0x4000, 40 },
					    { 0x5000, 50 }, { 0x6000, 60 }, { 0x7000, 70 }, { 0x8000, 80 } };

static void add(struct fixture *f, uint16_t n_read, uint16_t n_write, uint64_t token)
{
	assert_int_equal(svq_add(&f->svq, segs8, n_read, n_write, token), 0);
	(void)!svq_publish(&f->svq);
}

static uint16_t take(struct fixture *f)
{
	struct fake_element e;

	assert_int_equal(fake_device_take(&f->device, &e), 1);
	return e.head;
}

static void device_uses(struct fixture *f, uint32_t id, uint32_t len)
{
	fake_device_complete(&f->device, id, len);
	fake_device_publish(&f->device);
}

static void assert_dead(struct fixture *f, const char *why)
{
	struct svq_used used;

	assert_int_equal(svq_get_used(&f->svq, &used), -EIO);
	if (!strstr(f->svq.broken, why))
		fail_msg("dead because '%s', not because '%s'", f->svq.broken, why);
	/* Also where the device makes it good again. */
	fake_device_set_used_idx(&f->device, f->svq.last_used);
	assert_int_equal(svq_get_used(&f->svq, &used), -EIO);
	fake_device_set_used_idx(&f->device, (uint16_t)(f->svq.last_used + 1));
	assert_false(svq_enable_calls(&f->svq));
}

static void the_parts_of_a_ring_are_aligned_and_within_its_bytes(void **state)
{
	(void)state;
	for (uint32_t size = 1; size <= VIRTIO_RING_MAX_SIZE; size *= 2) {
		uint64_t bytes = svq_bytes((uint16_t)size);
		uint8_t *mem = aligned_alloc(PAGE_SIZE, bytes);
		struct svq svq;

		assert_int_equal(bytes % PAGE_SIZE, 0);
		assert_int_equal(svq_init(&svq, mem, IOVA, (uint16_t)size, true), 0);
		assert_int_equal(svq.desc_iova % 16, 0);
		assert_int_equal(svq.avail_iova % 2, 0);
		/* So that no entry, 4 bytes into the ring, lies in two pages. */
		assert_int_equal((svq.used_iova + 4) % 8, 0);
		assert_true(svq.desc_iova >= IOVA);
		assert_true(svq.avail_iova >= svq.desc_iova + 16 * size);
		assert_true(svq.used_iova >= svq.avail_iova + 6 + 2 * size);
		assert_true(svq.used_iova + 6 + 8 * size <= IOVA + bytes);
		assert_true(svq.desc_ring - mem == (ptrdiff_t)(svq.desc_iova - IOVA));
		assert_true(svq.avail - mem == (ptrdiff_t)(svq.avail_iova - IOVA));
		assert_true(svq.used - mem == (ptrdiff_t)(svq.used_iova - IOVA));
		svq_exit(&svq);
		svq_exit(&svq);
		free(mem);
	}
}

/* The device sees what was added, in order, and nothing before it is published. */
static void a_device_sees_what_was_added_once_it_is_published(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;
	struct svq_used used;

	start(f, SIZE, false);
	for (uint16_t n = 1; n <= SIZE; n++) {
		for (uint16_t n_read = 0; n_read <= n; n_read++) {
			uint64_t token = 1000u * n + n_read;

			assert_int_equal(svq_add(&f->svq, segs8, n_read, (uint16_t)(n - n_read), token), 0);
			assert_int_equal(fake_device_take(&f->device, &e), 0);
			assert_true(svq_publish(&f->svq));
			assert_false(svq_publish(&f->svq));
			assert_int_equal(fake_device_take(&f->device, &e), 1);
			assert_int_equal(e.n_read, n_read);
			assert_int_equal(e.n_write, n - n_read);
			for (unsigned int i = 0; i < n; i++) {
				assert_int_equal(e.segs[i].addr, segs8[i].addr);
				assert_int_equal(e.segs[i].len, segs8[i].len);
			}
			assert_int_equal(svq_get_used(&f->svq, &used), 0);
			device_uses(f, e.head, 0);
			assert_int_equal(svq_get_used(&f->svq, &used), 1);
			assert_int_equal(used.token, token);
			assert_int_equal(used.n_written, 0);
			assert_int_equal(svq_get_used(&f->svq, &used), 0);
		}
	}
}

/* Lengths are bounded by what there was to write; what is shown covers exactly them. */
static void the_first_of_a_batch_is_told_apart(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	start(f, SIZE, false);
	for (unsigned int i = 0; i < 3; i++)
		add(f, 0, 1, i);
	device_uses(f, take(f), 1);
	device_uses(f, take(f), 1);
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	assert_true(used.fresh);
	/* One that comes meanwhile is not known of yet. */
	device_uses(f, take(f), 1);
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	assert_false(used.fresh);
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	assert_true(used.fresh);
	assert_int_equal(svq_get_used(&f->svq, &used), 0);
}

static void a_length_is_bounded_by_what_there_was_to_write(void **state)
{
	struct fixture *f = *state;
	static const uint32_t lens[] = { 0, 1, 19, 20, 21, 49, 50, 51, 89, 90, 91, 65536, UINT32_MAX };
	struct svq_used used;

	start(f, SIZE, false);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		uint32_t want = lens[i] < 90 ? lens[i] : 90, left = want;

		add(f, 1, 3, i); /* 10 to read; 20, 30 and 40 to write */
		device_uses(f, take(f), lens[i]);
		assert_int_equal(svq_get_used(&f->svq, &used), 1);
		assert_int_equal(used.len, want);
		for (unsigned int k = 0; k < used.n_written; k++) {
			assert_int_equal(used.written[k].addr, segs8[k + 1].addr);
			assert_true(used.written[k].len > 0 && used.written[k].len <= segs8[k + 1].len);
			left -= used.written[k].len;
		}
		assert_int_equal(left, 0);
	}
	add(f, 3, 0, 0);
	device_uses(f, take(f), 5);
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	assert_int_equal(used.len, 0);
	assert_int_equal(used.n_written, 0);
}

/* An id outside the ring, also in the upper half of its 32 bits. */
static void a_used_id_outside_the_ring_is_refused(void **state)
{
	struct fixture *f = *state;
	static const uint32_t ids[] = { SIZE, SIZE + 1, 0xffff, 0x10000, 0x80000000, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		start(f, SIZE, false);
		add(f, 1, 0, 0);
		device_uses(f, ids[i], 0);
		assert_dead(f, "outside the ring");
	}
}

/* Not the head of what is in flight, not any more, or twice. */
static void a_used_id_that_is_not_in_flight_is_refused(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	start(f, SIZE, false);
	add(f, 1, 2, 0);
	device_uses(f, 5, 0); /* free */
	assert_dead(f, "not in flight");

	start(f, SIZE, false);
	add(f, 1, 2, 0);
	device_uses(f, 1, 0); /* within the chain, not its head */
	assert_dead(f, "not in flight");

	start(f, SIZE, false);
	add(f, 1, 0, 0);
	add(f, 1, 0, 1);
	device_uses(f, 0, 0);
	device_uses(f, 0, 0); /* twice in one batch */
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	assert_dead(f, "not in flight");

	start(f, SIZE, false);
	add(f, 1, 0, 0);
	add(f, 1, 0, 1);
	device_uses(f, 0, 0);
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	device_uses(f, 0, 0); /* and in two */
	assert_dead(f, "not in flight");
	assert_int_equal(f->svq.n_in_flight, 1);
	assert_int_equal(f->svq.n_free, SIZE - 1);
}

/* An index that runs ahead of what is in flight, or goes back. */
static void a_used_index_that_jumps_or_goes_back_is_refused(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	start(f, SIZE, false);
	fake_device_set_used_idx(&f->device, 1); /* nothing in flight */
	assert_dead(f, "used.idx");

	start(f, SIZE, false);
	add(f, 1, 0, 0);
	add(f, 1, 0, 0);
	fake_device_set_used_idx(&f->device, 3);
	assert_dead(f, "used.idx");

	start(f, SIZE, false);
	add(f, 1, 0, 0);
	device_uses(f, take(f), 0);
	add(f, 1, 0, 0);
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	fake_device_set_used_idx(&f->device, 0);
	assert_dead(f, "used.idx");

	/* Added but not shown to the device yet. */
	start(f, SIZE, false);
	add(f, 1, 0, 0);
	assert_int_equal(svq_add(&f->svq, segs8, 1, 0, 0), 0);
	fake_device_set_used_idx(&f->device, 2);
	assert_dead(f, "used.idx");
}

/* What the device writes to descriptors and the available ring is not looked at. */
static void what_a_device_writes_to_descriptors_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;
	uint16_t heads[2];

	start(f, SIZE, true);
	for (unsigned int i = 0; i < 100; i++) {
		add(f, 1, 3, i);
		add(f, 2, 2, i + 1000);
		heads[0] = take(f);
		heads[1] = take(f);
		memset(f->svq.desc_ring, 0xff, 16 * SIZE);
		memset(f->svq.avail + 4, 0xff, 2 * SIZE);
		device_uses(f, heads[1], 70);
		device_uses(f, heads[0], 90);
		assert_int_equal(svq_get_used(&f->svq, &used), 1);
		assert_int_equal(used.token, i + 1000);
		assert_int_equal(used.n_written, 2);
		assert_int_equal(used.written[1].addr, segs8[3].addr);
		assert_int_equal(svq_get_used(&f->svq, &used), 1);
		assert_int_equal(used.token, i);
		assert_int_equal(used.n_written, 3);
		assert_int_equal(used.written[2].len, 40);
	}
	assert_int_equal(f->svq.n_free, SIZE);
}

/* No room is said before anything is touched; a chain of the whole ring fits after any disorder. */
static void a_full_ring_takes_nothing_and_an_empty_one_a_chain_of_its_size(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;
	struct fake_element e;
	static const uint16_t order[SIZE] = { 7, 2, 5, 0, 1, 6, 3, 4 };

	start(f, SIZE, false);
	for (unsigned int round = 0; round < 3; round++) {
		uint16_t heads[SIZE];

		for (unsigned int i = 0; i < SIZE; i++)
			add(f, 0, 1, i);
		assert_int_equal(svq_add(&f->svq, segs8, 0, 1, 99), -ENOSPC);
		assert_false(svq_publish(&f->svq));
		for (unsigned int i = 0; i < SIZE; i++)
			heads[i] = take(f);
		for (unsigned int i = 0; i < SIZE; i++)
			device_uses(f, heads[order[i]], 1);
		for (unsigned int i = 0; i < SIZE; i++) {
			assert_int_equal(svq_get_used(&f->svq, &used), 1);
			assert_int_equal(used.token, order[i]);
		}
		add(f, 3, 5, round);
		assert_int_equal(svq_add(&f->svq, segs8, 1, 0, 99), -ENOSPC);
		assert_int_equal(fake_device_take(&f->device, &e), 1);
		assert_int_equal(e.n_read + e.n_write, SIZE);
		device_uses(f, e.head, UINT32_MAX);
		assert_int_equal(svq_get_used(&f->svq, &used), 1);
		assert_int_equal(used.n_written, 5);
		assert_int_equal(used.len, 40 + 50 + 60 + 70 + 80);
	}
	/* Longer than the ring: never, and never the chain in part. */
	start(f, 4, false);
	assert_int_equal(svq_add(&f->svq, segs8, 5, 0, 0), -ENOSPC);
	assert_int_equal(svq_add(&f->svq, segs8, 2, 3, 0), -ENOSPC);
	assert_int_equal(f->svq.n_free, 4);
	assert_int_equal(svq_add(&f->svq, segs8, 2, 2, 0), 0);
}

static void a_ring_of_one_entry_works_over_the_end_of_its_indexes(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	start(f, 1, true);
	for (unsigned int i = 0; i < 70000; i++) {
		add(f, i & 1, !(i & 1), i);
		assert_int_equal(svq_add(&f->svq, segs8, 1, 0, 0), -ENOSPC);
		device_uses(f, take(f), 5);
		assert_int_equal(svq_get_used(&f->svq, &used), 1);
		assert_int_equal(used.token, i);
		assert_int_equal(used.len, i & 1 ? 0 : 5);
	}
}

static void flags_ask_for_kicks_and_calls(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	start(f, SIZE, false);
	assert_int_equal(svq_add(&f->svq, segs8, 1, 0, 0), 0);
	assert_true(svq_publish(&f->svq));
	fake_device_disable_kicks(&f->device);
	assert_int_equal(svq_add(&f->svq, segs8, 1, 0, 1), 0);
	assert_false(svq_publish(&f->svq));
	assert_true(fake_device_enable_kicks(&f->device));

	assert_false(svq_enable_calls(&f->svq));
	fake_device_complete(&f->device, take(f), 0);
	assert_true(fake_device_publish(&f->device));
	assert_true(svq_enable_calls(&f->svq));
	svq_disable_calls(&f->svq);
	fake_device_complete(&f->device, take(f), 0);
	assert_false(fake_device_publish(&f->device));
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	/* Used while calls were off, found by the look after on. */
	assert_true(svq_enable_calls(&f->svq));
	assert_int_equal(svq_get_used(&f->svq, &used), 1);
	assert_false(svq_enable_calls(&f->svq));
}

/* One call for several, whenever they were there; a device without event_idx calls for each. */
static void a_call_for_several_comes_when_they_are_there(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	for (unsigned int event_idx = 0; event_idx < 2; event_idx++) {
		start(f, SIZE, event_idx);
		for (unsigned int i = 0; i < 70000; i++) {
			uint16_t n = (uint16_t)(1 + i % SIZE), early = (uint16_t)(i % 7 % n);

			for (unsigned int k = 0; k < SIZE; k++)
				assert_int_equal(svq_add(&f->svq, segs8, 1, 0, k), 0);
			(void)!svq_publish(&f->svq);
			svq_disable_calls(&f->svq);
			for (unsigned int k = 0; k < early; k++)
				fake_device_complete(&f->device, take(f), 0);
			(void)!fake_device_publish(&f->device);
			assert_false(svq_enable_calls_after(&f->svq, n));
			for (unsigned int k = early; k < SIZE; k++) {
				fake_device_complete(&f->device, take(f), 0);
				assert_int_equal(fake_device_publish(&f->device), !event_idx || k + 1 == n);
				assert_int_equal(svq_enable_calls_after(&f->svq, n), k + 1 >= n);
			}
			for (unsigned int k = 0; k < SIZE; k++)
				assert_int_equal(svq_get_used(&f->svq, &used), 1);
		}
	}
}

/* Kicks and calls exactly when asked for, over the end of every index. */
static void event_indexes_ask_for_kicks_and_calls_exactly(void **state)
{
	struct fixture *f = *state;
	struct svq_used used;

	start(f, SIZE, true);
	for (unsigned int i = 0; i < 30000; i++) {
		unsigned int batch = 1 + i % SIZE;
		bool want_kick = i % 3 == 0, want_call = i % 5 == 0;

		if (want_kick)
			assert_false(fake_device_enable_kicks(&f->device));
		else
			fake_device_disable_kicks(&f->device);
		for (unsigned int k = 0; k < batch; k++)
			assert_int_equal(svq_add(&f->svq, segs8, 1, 0, k), 0);
		assert_int_equal(svq_publish(&f->svq), want_kick);

		if (want_call)
			assert_false(svq_enable_calls(&f->svq));
		else
			svq_disable_calls(&f->svq);
		for (unsigned int k = 0; k < batch; k++)
			fake_device_complete(&f->device, take(f), 0);
		/* Where none was asked for ever, there is none; the 16 bits of the event come by again. */
		if (want_call || i < 5000)
			assert_int_equal(fake_device_publish(&f->device), want_call);
		else
			fake_device_publish(&f->device);
		for (unsigned int k = 0; k < batch; k++) {
			assert_int_equal(svq_get_used(&f->svq, &used), 1);
			assert_int_equal(used.token, k);
		}
		assert_int_equal(svq_get_used(&f->svq, &used), 0);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void assert_segs(const struct virtio_seg *a, const struct virtio_seg *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		assert_true(a[i].addr == b[i].addr);
		assert_int_equal(a[i].len, b[i].len);
	}
}

/* Elements of every length: short ones by themselves, long ones in a table, the longest by themselves again.
 */
static void long_elements_take_a_table_and_the_longest_do_not(void **state)
{
	static const uint16_t sizes[] = { 4, 64, 1024 };
	struct fixture *f = *state;
	struct virtio_seg segs[40];

	for (unsigned int i = 0; i < 40; i++)
		segs[i] = (struct virtio_seg){ 0x1000 * (i + 1), i + 1 };
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		start_with_tables(f, sizes[s]);
		for (uint16_t n = 1; n <= 40; n++) {
			uint16_t n_read = n / 3;
			bool table = n > SVQ_MAX_DIRECT && n <= SVQ_TABLE_LEN;
			unsigned int n_tables = f->device.n_tables;
			struct fake_element e;
			struct svq_used used;
			uint32_t len = 0;

			if (!table && n > sizes[s]) {
				assert_int_equal(svq_add(&f->svq, segs, n_read, n - n_read, n), -ENOSPC);
				continue;
			}
			assert_int_equal(svq_add(&f->svq, segs, n_read, n - n_read, n), 0);
			assert_int_equal(f->svq.n_free, sizes[s] - (table ? 1 : n));
			(void)!svq_publish(&f->svq);
			assert_int_equal(fake_device_take(&f->device, &e), 1);
			assert_int_equal(f->device.n_tables, n_tables + table);
			assert_int_equal(e.n_read, n_read);
			assert_int_equal(e.n_write, n - n_read);
			assert_segs(e.segs, segs, n);
			/* The device may write there, and changes nothing by it. */
			memset(f->tables, 0xff, svq_table_bytes(sizes[s]));
			device_uses(f, e.head, (uint32_t)e.write_len - 1);
			assert_int_equal(svq_get_used(&f->svq, &used), 1);
			assert_int_equal(used.token, n);
			for (uint16_t i = 0; i < used.n_written; i++) {
				assert_true(used.written[i].addr == segs[n_read + i].addr);
				len += used.written[i].len;
			}
			assert_int_equal(len, e.write_len - 1);
			assert_int_equal(f->svq.n_free, sizes[s]);
		}
	}
}

/* As many long elements as the ring has descriptors; beyond the last table they are by themselves. */
static void elements_beyond_the_last_table_take_descriptors(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[3] = { { 0x1000, 1 }, { 0x2000, 2 }, { 0x3000, 3 } };
	struct fake_element e;
	struct svq_used used;
	unsigned int n = 0;

	start_with_tables(f, 1024);
	while (svq_add(&f->svq, segs, 1, 2, n) == 0)
		n++;
	assert_int_equal(n, SVQ_MAX_TABLES + (1024 - SVQ_MAX_TABLES) / 3);
	(void)!svq_publish(&f->svq);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(fake_device_take(&f->device, &e), 1);
		assert_segs(e.segs, segs, 3);
		fake_device_complete(&f->device, e.head, 4);
	}
	assert_int_equal(f->device.n_tables, SVQ_MAX_TABLES);
	fake_device_publish(&f->device);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(svq_get_used(&f->svq, &used), 1);
		assert_int_equal(used.token, i);
		assert_int_equal(used.n_written, 2);
		assert_int_equal(used.written[1].len, 2);
	}
	assert_int_equal(f->svq.n_free, 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(long_elements_take_a_table_and_the_longest_do_not),
		T(elements_beyond_the_last_table_take_descriptors),
		T(the_parts_of_a_ring_are_aligned_and_within_its_bytes),
		T(a_device_sees_what_was_added_once_it_is_published),
		T(the_first_of_a_batch_is_told_apart),
		T(a_length_is_bounded_by_what_there_was_to_write),
		T(a_used_id_outside_the_ring_is_refused),
		T(a_used_id_that_is_not_in_flight_is_refused),
		T(a_used_index_that_jumps_or_goes_back_is_refused),
		T(what_a_device_writes_to_descriptors_changes_nothing),
		T(a_full_ring_takes_nothing_and_an_empty_one_a_chain_of_its_size),
		T(a_ring_of_one_entry_works_over_the_end_of_its_indexes),
		T(flags_ask_for_kicks_and_calls),
		T(a_call_for_several_comes_when_they_are_there),
		T(event_indexes_ask_for_kicks_and_calls_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
