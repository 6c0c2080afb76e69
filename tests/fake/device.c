/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device's end of one split ring, legal and illegal. */
#include "tests/fake/device.h"

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

void fake_device_init(struct fake_device *d, const void *desc, const void *avail, void *used, uint16_t size,
		      bool event_idx)
{
	*d = (struct fake_device){
		.size = size, .event_idx = event_idx, .desc = desc, .avail = avail, .used = used
	};
	d->segs = calloc(size + FAKE_DEVICE_MAX_TABLE, sizeof(*d->segs));
	assert(d->segs);
}

void fake_device_exit(struct fake_device *d)
{
	free(d->segs);
	*d = (struct fake_device){ 0 };
}

int fake_device_take(struct fake_device *d, struct fake_element *e)
{
	uint16_t idx = load16(d->avail + 2), i;
	unsigned int n = 0, n_entries = d->size;
	const uint8_t *ring = d->desc;

	if (idx == d->last_avail)
		return 0;
	if ((uint16_t)(idx - d->last_avail) > d->size)
		return -1;
	i = get_le16(d->avail + 4 + 2 * (d->last_avail % d->size));
	*e = (struct fake_element){ .head = i, .segs = d->segs };
	for (;;) {
		const uint8_t *p = ring + 16ull * i;
		uint16_t flags;
		uint32_t len;

		if (i >= n_entries || n == d->size + FAKE_DEVICE_MAX_TABLE)
			return -1;
		flags = get_le16(p + 12);
		len = get_le32(p + 8);
		if (flags & INDIRECT) {
			if (!d->table_at || ring != d->desc || flags != INDIRECT || len == 0 ||
			    len % 16 != 0 || len / 16 > FAKE_DEVICE_MAX_TABLE)
				return -1;
			ring = d->table_at(d->opaque, get_le64(p), len);
			if (!ring)
				return -1;
			n_entries = len / 16;
			i = 0;
			d->n_tables++;
			continue;
		}
		if (len == 0 || (!(flags & WRITE) && e->n_write > 0))
			return -1;
		d->segs[n++] = (struct virtio_seg){ .addr = get_le64(p), .len = len };
		if (flags & WRITE) {
			e->n_write++;
			e->write_len += len;
		} else {
			e->n_read++;
			e->read_len += len;
		}
		if (!(flags & NEXT))
			break;
		i = get_le16(p + 14);
	}
	d->last_avail++;
	return 1;
}

void fake_device_complete(struct fake_device *d, uint32_t id, uint32_t len)
{
	uint8_t *entry = d->used + 4 + 8ull * (d->used_idx % d->size);

	put_le32(entry, id);
	put_le32(entry + 4, len);
	d->used_idx++;
}

bool fake_device_publish(struct fake_device *d)
{
	uint16_t old = d->published, event;

	fake_device_set_used_idx(d, d->used_idx);
	d->published = d->used_idx;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!d->event_idx)
		return !(load16(d->avail) & 1) && old != d->used_idx;
	event = load16(d->avail + 4 + 2ull * d->size);
	/* Did the index step over @event? Counted out, not by the formula that is under test. */
	for (uint16_t i = old; i != d->used_idx; i++) {
		if (i == event)
			return true;
	}
	return false;
}

bool fake_device_enable_kicks(struct fake_device *d)
{
	if (d->event_idx)
		store16(d->used + 4 + 8ull * d->size, d->last_avail);
	else
		store16(d->used, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(d->avail + 2) != d->last_avail;
}

void fake_device_disable_kicks(struct fake_device *d)
{
	if (d->event_idx)
		store16(d->used + 4 + 8ull * d->size, (uint16_t)(d->last_avail - 1));
	else
		store16(d->used, 1);
}

void fake_device_set_used_idx(struct fake_device *d, uint16_t idx)
{
	store16(d->used + 2, idx);
}
