/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's driver for one ring, legal and illegal: a split one, and what a packed one shares with it. */
#include "tests/fake/driver.h"

#include <assert.h>
#include <stdlib.h>

/* Descriptor flags, virtio 1.4 "The Virtqueue Descriptor Table". */
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static uint16_t load16(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
}

/* Bytes of the parts for driver and device. */
static uint64_t avail_bytes(const struct vring_setup *s)
{
	return s->packed ? 4 : 6 + 2ull * s->size;
}

static uint64_t used_bytes(const struct vring_setup *s)
{
	return s->packed ? 4 : 6 + 8ull * s->size;
}

static void find_parts(struct fake_driver *d)
{
	d->desc = memory_at(d->mem, d->setup.desc, 16ull * d->setup.size);
	d->avail = memory_at(d->mem, d->setup.avail, avail_bytes(&d->setup));
	d->used = memory_at(d->mem, d->setup.used, used_bytes(&d->setup));
	assert(d->desc && d->avail && d->used);
	d->next = calloc(d->setup.size, sizeof(*d->next));
	d->n_descs = calloc(d->setup.size, sizeof(*d->n_descs));
	d->order = calloc(d->setup.size, sizeof(*d->order));
	assert(d->next && d->n_descs && d->order);
}

void fake_driver_init(struct fake_driver *d, struct memory *mem, const struct vring_setup *setup)
{
	uint16_t size = setup->size;

	*d = (struct fake_driver){ .mem = mem, .setup = *setup, .n_free = size };
	d->avail_wrap = d->published_wrap = d->used_wrap = true;
	find_parts(d);
	memset(d->desc, 0, 16ull * size);
	memset(d->avail, 0, avail_bytes(setup));
	memset(d->used, 0, used_bytes(setup));
	for (unsigned int i = 0; i < size; i++)
		d->next[i] = (uint16_t)((i + 1) % size);
}

void fake_driver_copy(struct fake_driver *to, const struct fake_driver *from, struct memory *mem)
{
	size_t bytes = from->setup.size * sizeof(uint16_t);

	*to = *from;
	to->mem = mem;
	find_parts(to);
	memcpy(to->next, from->next, bytes);
	memcpy(to->n_descs, from->n_descs, bytes);
	memcpy(to->order, from->order, bytes);
}

void fake_driver_exit(struct fake_driver *d)
{
	free(d->next);
	free(d->n_descs);
	free(d->order);
	*d = (struct fake_driver){ 0 };
}

void fake_driver_start_at(struct fake_driver *d, uint16_t idx)
{
	d->avail_idx = idx;
	d->published = idx;
	d->last_used = idx;
	store16(d->avail + 2, idx);
	store16(d->used + 2, idx);
}

static void store64(uint8_t *p, uint64_t v)
{
	__atomic_store_n((uint64_t *)(void *)p, v, __ATOMIC_RELEASE);
}

/* As two words where they are aligned, as those in the ring are: the device may look at any time. */
static void write_desc(const struct fake_driver *d, uint8_t *p, uint64_t addr, uint32_t len, uint16_t flags,
		       uint16_t next)
{
	uint64_t rest = d->setup.packed ? fake_packed_rest(len, flags, next)
					: len | (uint64_t)flags << 32 | (uint64_t)next << 48;

	if ((uintptr_t)p % 8 == 0) {
		store64(p, addr);
		store64(p + 8, rest);
	} else {
		put_le64(p, addr);
		put_le64(p + 8, rest);
	}
}

void fake_driver_write_desc(struct fake_driver *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
			    uint16_t next)
{
	write_desc(d, d->desc + 16ull * i, addr, len, flags, next);
}

void fake_driver_write_avail(struct fake_driver *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
			     uint16_t id)
{
	fake_driver_write_desc(d, i, addr, len, flags | 1 << 7, id);
}

void fake_driver_write_table(struct fake_driver *d, uint64_t table, unsigned int i, uint64_t addr,
			     uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *p = memory_at(d->mem, table + 16ull * i, 16);

	assert(p);
	write_desc(d, p, addr, len, flags, next);
}

void fake_driver_offer(struct fake_driver *d, uint16_t head)
{
	put_le16(d->avail + 4 + 2 * (d->avail_idx % d->setup.size), head);
	d->avail_idx++;
}

int fake_driver_add_mixed(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
			  unsigned int n_write, unsigned int n_direct, uint64_t table)
{
	unsigned int n = n_read + n_write;
	unsigned int n_descs = n_direct + (n_direct < n ? 1 : 0);
	uint16_t head = d->free_head, i = head;

	assert(n > 0 && n_direct <= n);
	if (n_descs > d->n_free)
		return -1;
	d->order[d->n_added++ % d->setup.size] = head;
	if (d->setup.packed)
		return fake_packed_add(d, segs, n_read, n_write, n_direct, table);
	for (unsigned int k = 0; k < n; k++) {
		uint16_t flags = (uint16_t)((k >= n_read ? WRITE : 0) | (k + 1 < n ? NEXT : 0));

		if (k >= n_direct) {
			fake_driver_write_table(d, table, k - n_direct, segs[k].addr, segs[k].len, flags,
						(uint16_t)(k - n_direct + 1));
			continue;
		}
		fake_driver_write_desc(d, i, segs[k].addr, segs[k].len, flags, d->next[i]);
		i = d->next[i];
	}
	if (n_direct < n) {
		fake_driver_write_desc(d, i, table, 16 * (n - n_direct), INDIRECT, 0);
		i = d->next[i];
	}
	d->free_head = i;
	d->n_free = (uint16_t)(d->n_free - n_descs);
	d->n_descs[head] = (uint16_t)n_descs;
	d->n_out++;
	fake_driver_offer(d, head);
	return head;
}

int fake_driver_add(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write)
{
	return fake_driver_add_mixed(d, segs, n_read, n_write, n_read + n_write, 0);
}

int fake_driver_add_indirect(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
			     unsigned int n_write, uint64_t table)
{
	return fake_driver_add_mixed(d, segs, n_read, n_write, 0, table);
}

bool fake_driver_publish(struct fake_driver *d)
{
	uint16_t old = d->published, event;

	if (d->setup.packed)
		return fake_packed_publish(d);
	store16(d->avail + 2, d->avail_idx);
	d->published = d->avail_idx;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!d->setup.event_idx)
		return !(load16(d->used) & 1) && old != d->avail_idx;
	event = load16(d->used + 4 + 8ull * d->setup.size);
	/* Did the index step over @event? Counted out, not by the formula that is under test. */
	for (uint16_t i = old; i != d->avail_idx; i++) {
		if (i == event)
			return true;
	}
	return false;
}

static int split_get_used(struct fake_driver *d, uint16_t *head, uint32_t *len)
{
	uint16_t idx = load16(d->used + 2), tail;
	const uint8_t *entry = d->used + 4 + 8ull * (d->last_used % d->setup.size);
	uint32_t id;

	if (idx == d->last_used)
		return 0;
	if ((uint16_t)(idx - d->last_used) > d->n_out)
		return -1;
	id = get_le32(entry);
	*len = get_le32(entry + 4);
	if (id >= d->setup.size || d->n_descs[id] == 0)
		return -1;
	*head = (uint16_t)id;
	tail = *head;
	for (unsigned int k = 1; k < d->n_descs[id]; k++)
		tail = d->next[tail];
	d->next[tail] = d->free_head;
	d->free_head = *head;
	d->n_free = (uint16_t)(d->n_free + d->n_descs[id]);
	d->n_descs[id] = 0;
	d->n_out--;
	d->last_used++;
	return 1;
}

int fake_driver_get_used(struct fake_driver *d, uint16_t *head, uint32_t *len)
{
	int ret = d->setup.packed ? fake_packed_get_used(d, head, len) : split_get_used(d, head, len);

	if (ret == 1 && d->setup.in_order && *head != d->order[d->n_taken % d->setup.size])
		return -1;
	d->n_taken += ret == 1;
	return ret;
}

bool fake_driver_enable_interrupts(struct fake_driver *d)
{
	if (d->setup.packed)
		return fake_packed_enable_interrupts(d);
	if (d->setup.event_idx)
		fake_driver_set_used_event(d, d->last_used);
	else
		fake_driver_set_avail_flags(d, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(d->used + 2) != d->last_used;
}

void fake_driver_disable_interrupts(struct fake_driver *d)
{
	if (d->setup.packed)
		fake_packed_disable_interrupts(d);
	else if (d->setup.event_idx)
		fake_driver_set_used_event(d, (uint16_t)(d->last_used - 1));
	else
		fake_driver_set_avail_flags(d, 1);
}

void fake_driver_set_avail_idx(struct fake_driver *d, uint16_t idx)
{
	if (!d->setup.packed)
		store16(d->avail + 2, idx);
}

void fake_driver_set_used_event(struct fake_driver *d, uint16_t event)
{
	store16(d->setup.packed ? d->avail : d->avail + 4 + 2ull * d->setup.size, event);
}

void fake_driver_set_avail_flags(struct fake_driver *d, uint16_t flags)
{
	store16(d->setup.packed ? d->avail + 2 : d->avail, flags);
}
