/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's driver for one packed ring, from the specification's section on packed virtqueues alone. */
#include <assert.h>

#include "tests/fake/driver.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 1 << 7, USED = 1 << 15 };
enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

static uint16_t load16(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
}

static void store64(uint8_t *p, uint64_t v)
{
	__atomic_store_n((uint64_t *)(void *)p, v, __ATOMIC_RELEASE);
}

/* To the next place. */
static void step(const struct fake_driver *d, uint16_t *place, bool *wrap)
{
	if (++*place == d->setup.size) {
		*place = 0;
		*wrap = !*wrap;
	}
}

/* Writes the descriptor at the next place; the first one that is not published is not yet available. */
static void put(struct fake_driver *d, const struct virtio_seg *seg, uint16_t flags, uint16_t id)
{
	uint8_t *p = d->desc + 16ull * d->avail_idx;

	flags |= d->avail_wrap ? AVAIL : USED;
	if (d->avail_idx == d->published && d->avail_wrap == d->published_wrap) {
		store64(p, seg->addr);
		d->first_rest = fake_packed_rest(seg->len, flags, id);
	} else {
		fake_driver_write_desc(d, d->avail_idx, seg->addr, seg->len, flags, id);
	}
	step(d, &d->avail_idx, &d->avail_wrap);
}

int fake_packed_add(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write, unsigned int n_direct, uint64_t table)
{
	unsigned int n = n_read + n_write, n_descs = n_direct + (n_direct < n ? 1 : 0);
	uint16_t id = d->free_head;

	for (unsigned int k = 0; k < n; k++) {
		uint16_t flags = k >= n_read ? WRITE : 0;

		if (k >= n_direct)
			fake_driver_write_table(d, table, k - n_direct, segs[k].addr, segs[k].len, flags, 0);
		else
			put(d, &segs[k], (uint16_t)(flags | (k + 1 < n_descs ? NEXT : 0)), id);
	}
	if (n_direct < n) {
		const struct virtio_seg seg = { table, 16 * (n - n_direct) };

		put(d, &seg, INDIRECT, id);
	}
	d->free_head = d->next[id];
	d->n_free = (uint16_t)(d->n_free - n_descs);
	d->n_descs[id] = (uint16_t)n_descs;
	d->n_out++;
	return id;
}

bool fake_packed_publish(struct fake_driver *d)
{
	uint16_t place = d->published, event, flags;
	bool wrap = d->published_wrap;

	if (place == d->avail_idx && wrap == d->avail_wrap)
		return false;
	store64(d->desc + 16ull * place + 8, d->first_rest);
	d->published = d->avail_idx;
	d->published_wrap = d->avail_wrap;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = load16(d->used + 2);
	event = load16(d->used);
	if (flags != EVENT_DESC)
		return flags == EVENT_ENABLE;
	assert(d->setup.event_idx);
	/* Is the event one of the places that are new? */
	for (; place != d->avail_idx || wrap != d->avail_wrap; step(d, &place, &wrap)) {
		if (event == (place | wrap << 15))
			return true;
	}
	return false;
}

int fake_packed_get_used(struct fake_driver *d, uint16_t *head, uint32_t *len)
{
	const uint8_t *p = d->desc + 16ull * d->last_used;
	uint16_t flags = load16(p + 14), id;
	bool avail = flags & AVAIL, used = flags & USED;

	/* Nothing is with the device: what was used a turn ago has the other counter. */
	if (avail != used || used != d->used_wrap)
		return 0;
	/* Not before the flags say that the device has written it. */
	id = get_le16(p + 12);
	if (id >= d->setup.size || d->n_descs[id] == 0)
		return -1;
	*head = id;
	*len = get_le32(p + 8);
	if (!(flags & WRITE) != (*len == 0) || (flags & (NEXT | INDIRECT)))
		return -1;
	d->next[id] = d->free_head;
	d->free_head = id;
	d->n_free = (uint16_t)(d->n_free + d->n_descs[id]);
	for (unsigned int k = 0; k < d->n_descs[id]; k++)
		step(d, &d->last_used, &d->used_wrap);
	d->n_descs[id] = 0;
	d->n_out--;
	return 1;
}

bool fake_packed_enable_interrupts(struct fake_driver *d)
{
	const uint8_t *p = d->desc + 16ull * d->last_used;
	uint16_t flags;

	if (d->setup.event_idx) {
		store16(d->avail, (uint16_t)(d->last_used | d->used_wrap << 15));
		store16(d->avail + 2, EVENT_DESC);
	} else {
		store16(d->avail + 2, EVENT_ENABLE);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = load16(p + 14);
	return !(flags & AVAIL) == !(flags & USED) && !(flags & USED) == !d->used_wrap;
}

void fake_packed_disable_interrupts(struct fake_driver *d)
{
	store16(d->avail + 2, EVENT_DISABLE);
}
