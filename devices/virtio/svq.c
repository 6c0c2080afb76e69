/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver side of a split ring, which faces the vDPA device and decides on private descriptors alone. */
#include "devices/virtio/svq.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Free descriptors are a list through @next; a chain is a stretch of it, cut out and put back as a whole. */
struct svq_desc {
	uint64_t addr;
	uint32_t len; /* 0: a table */
	uint16_t next;
	/* In the first descriptor of an element: what of it the others do not say. */
	uint16_t tail;
	uint16_t n_descs; /* 0: not the head of an element in flight */
	uint16_t n_read;
	uint32_t write_len;
	uint64_t token;
};

_Static_assert(sizeof(struct svq_desc) == 32, "two to a cache line");

/* The parts lie apart, so that what the device writes shares no cache line with what we write. */
#define SVQ_PART_ALIGN 64u

static uint64_t svq_avail_offset(uint16_t size)
{
	return align_up(virtio_desc_bytes(size), SVQ_PART_ALIGN);
}

/*
 * The used ring's entries begin 4 bytes into it. They are put on multiples of their own 8 bytes, so that none
 * lies in two pages: some versions of QEMU write the second part of such an entry elsewhere when their device
 * is behind a virtual IOMMU.
 */
static uint64_t svq_used_offset(uint16_t size)
{
	return align_up(svq_avail_offset(size) + virtio_avail_bytes(size), SVQ_PART_ALIGN) + RING_ENTRIES;
}

uint64_t svq_bytes(uint16_t size)
{
	return align_up(svq_used_offset(size) + virtio_used_bytes(size), PAGE_SIZE);
}

static uint16_t svq_n_tables(uint16_t size)
{
	return (uint16_t)min_u64(size, SVQ_MAX_TABLES);
}

uint64_t svq_table_bytes(uint16_t size)
{
	return align_up(sizeof(struct ring_desc) * SVQ_TABLE_LEN * svq_n_tables(size), PAGE_SIZE);
}

int svq_use_tables(struct svq *svq, void *mem, uint64_t iova)
{
	svq->table_segs = calloc((size_t)SVQ_TABLE_LEN * svq_n_tables(svq->size), sizeof(*svq->table_segs));
	if (!svq->table_segs)
		return -ENOMEM;
	/* A table alone may have more segments than the ring has descriptors. */
	if (svq->size < SVQ_TABLE_LEN) {
		struct virtio_seg *written = calloc(SVQ_TABLE_LEN, sizeof(*written));

		if (!written)
			return -ENOMEM;
		free(svq->written);
		svq->written = written;
	}
	svq->tables = mem;
	svq->tables_iova = iova;
	svq->n_tables = svq_n_tables(svq->size);
	return 0;
}

int svq_init(struct svq *svq, void *mem, uint64_t iova, uint16_t size, bool event_idx)
{
	uint8_t *base = mem;

	assert(is_power_of_2(size) && size <= VIRTIO_RING_MAX_SIZE && iova % SVQ_PART_ALIGN == 0);
	*svq = (struct svq){
		.size = size,
		.event_idx = event_idx,
		.desc_ring = base,
		.avail = base + svq_avail_offset(size),
		.used = base + svq_used_offset(size),
		.desc_iova = iova,
		.avail_iova = iova + svq_avail_offset(size),
		.used_iova = iova + svq_used_offset(size),
		.n_free = size,
	};
	svq->descs = calloc(size, sizeof(*svq->descs));
	svq->written = calloc(size, sizeof(*svq->written));
	if (!svq->descs || !svq->written) {
		svq_exit(svq);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < size; i++)
		svq->descs[i].next = (uint16_t)((i + 1) % size);
	return 0;
}

void svq_exit(struct svq *svq)
{
	free(svq->descs);
	free(svq->written);
	free(svq->table_segs);
	*svq = (struct svq){ 0 };
}

static int svq_refuse(struct svq *svq, const char *why)
{
	svq->broken = why;
	return -EIO;
}

/* Makes the descriptor @head name a table with @n segments. */
static void svq_fill_table(struct svq *svq, uint16_t head, const struct virtio_seg *segs, unsigned int n_read,
			   unsigned int n)
{
	const uint64_t offset = sizeof(struct ring_desc) * SVQ_TABLE_LEN * head;
	struct ring_desc *table = (struct ring_desc *)(void *)(svq->tables + offset);
	struct ring_desc *ring = (struct ring_desc *)(void *)svq->desc_ring;

	svq->descs[head].len = 0;
	memcpy(&svq->table_segs[SVQ_TABLE_LEN * head], segs, n * sizeof(*segs));
	for (unsigned int k = 0; k < n; k++) {
		unsigned int flags = k + 1 < n ? VRING_DESC_F_NEXT : 0;

		if (k >= n_read)
			flags |= VRING_DESC_F_WRITE;
		table[k] =
			(struct ring_desc){ segs[k].addr, segs[k].len, (uint16_t)flags, (uint16_t)(k + 1) };
	}
	ring[head] = (struct ring_desc){ svq->tables_iova + offset, (uint32_t)(n * sizeof(*table)),
					 VRING_DESC_F_INDIRECT, 0 };
}

/* Makes @n descriptors from @head on name a segment each; returns the last. */
static uint16_t svq_fill_chain(struct svq *svq, uint16_t head, const struct virtio_seg *segs,
			       unsigned int n_read, unsigned int n)
{
	struct ring_desc *ring = (struct ring_desc *)(void *)svq->desc_ring;
	uint16_t tail = head, i = head;

	for (unsigned int k = 0; k < n; k++) {
		struct svq_desc *d = &svq->descs[i];
		unsigned int flags = k + 1 < n ? VRING_DESC_F_NEXT : 0;

		d->addr = segs[k].addr;
		d->len = segs[k].len;
		if (k >= n_read)
			flags |= VRING_DESC_F_WRITE;
		ring[i] = (struct ring_desc){ d->addr, d->len, (uint16_t)flags, d->next };
		tail = i;
		i = d->next;
	}
	return tail;
}

int svq_add(struct svq *svq, const struct virtio_seg *segs, uint16_t n_read, uint16_t n_write, uint64_t token)
{
	unsigned int n = (unsigned int)n_read + n_write;
	uint16_t head = svq->free_head, tail = head;
	struct svq_desc *first = &svq->descs[head];
	bool table = n > SVQ_MAX_DIRECT && n <= SVQ_TABLE_LEN && head < svq->n_tables;
	unsigned int n_descs = table ? 1 : n;

	assert(n > 0);
	if (n_descs > svq->n_free)
		return -ENOSPC;
	if (table)
		svq_fill_table(svq, head, segs, n_read, n);
	else
		tail = svq_fill_chain(svq, head, segs, n_read, n);
	svq->free_head = svq->descs[tail].next;
	svq->n_free = (uint16_t)(svq->n_free - n_descs);
	first->tail = tail;
	first->n_descs = (uint16_t)n_descs;
	first->n_read = n_read;
	first->write_len = 0;
	for (unsigned int k = n_read; k < n; k++)
		first->write_len += segs[k].len;
	first->token = token;
	ring_store_u16(svq->avail + ring_avail_entry(svq->avail_idx & (svq->size - 1u)), head);
	svq->avail_idx++;
	svq->n_in_flight++;
	return 0;
}

bool svq_publish(struct svq *svq)
{
	uint16_t old = svq->published, new = svq->avail_idx;

	if (old == new)
		return false;
	/* Pairs with the device's load of avail.idx: descriptors and entries come first. */
	ring_store_u16_release(svq->avail + RING_IDX, new);
	svq->published = new;
	/* Pairs with the device's full barrier between its write of avail_event or used.flags and its look at
	 * avail.idx: either it sees the new entries, or we see that it wants to be told. */
	atomic_thread_fence(memory_order_seq_cst);
	if (svq->event_idx)
		return virtio_need_event(ring_load_u16(svq->used + ring_avail_event(svq->size)), new, old);
	return !(ring_load_u16(svq->used + RING_FLAGS) & VRING_USED_F_NO_NOTIFY);
}

/* Shows the first @used->len bytes of the writable part of an element. */
static void svq_show_written(struct svq *svq, const struct svq_desc *first, uint16_t head,
			     struct svq_used *used)
{
	uint32_t left = used->len;
	uint16_t i = head;

	used->n_written = 0;
	used->written = svq->written;
	for (unsigned int k = 0; left > 0; k++) {
		const struct svq_desc *d = &svq->descs[i];
		struct virtio_seg seg = { d->addr, d->len };

		if (first->len == 0)
			seg = svq->table_segs[SVQ_TABLE_LEN * head + k];
		else
			i = d->next;
		if (k < first->n_read)
			continue;
		seg.len = (uint32_t)min_u64(seg.len, left);
		svq->written[used->n_written++] = seg;
		left -= seg.len;
	}
}

int svq_get_used(struct svq *svq, struct svq_used *used)
{
	struct svq_desc *first;
	const uint8_t *entry;
	uint32_t id, len;

	if (svq->broken)
		return -EIO;
	used->fresh = svq->used_idx == svq->last_used;
	if (used->fresh) {
		/* Pairs with the device's release of used.idx: entries up to it, and what it wrote, can be
		 * read. */
		uint16_t idx = ring_load_u16_acquire(svq->used + RING_IDX);
		uint16_t n_visible = svq_n_visible(svq);

		if ((uint16_t)(idx - svq->last_used) > n_visible)
			return svq_refuse(svq, "used.idx moved by more than was in flight");
		svq->used_idx = idx;
		if (idx == svq->last_used)
			return 0;
	}
	entry = svq->used + ring_used_entry(svq->last_used & (svq->size - 1u));
	id = ring_load_u32(entry);
	len = ring_load_u32(entry + 4);
	if (id >= svq->size)
		return svq_refuse(svq, "a used id is outside the ring");
	first = &svq->descs[id];
	if (first->n_descs == 0)
		return svq_refuse(svq, "a used id is not in flight");
	used->token = first->token;
	used->len = len < first->write_len ? len : first->write_len;
	svq_show_written(svq, first, (uint16_t)id, used);
	svq->descs[first->tail].next = svq->free_head;
	svq->free_head = (uint16_t)id;
	svq->n_free = (uint16_t)(svq->n_free + first->n_descs);
	first->n_descs = 0;
	svq->n_in_flight--;
	svq->last_used++;
	return 1;
}

bool svq_enable_calls_after(struct svq *svq, uint16_t n)
{
	if (svq->event_idx)
		ring_store_u16(svq->avail + ring_used_event(svq->size), (uint16_t)(svq->last_used + n - 1));
	else
		ring_store_u16(svq->avail + RING_FLAGS, 0);
	/* Pairs with the device's full barrier between its write of used.idx and its look at used_event or
	 * avail.flags: either it sees that we want a call, or we see what it used. */
	atomic_thread_fence(memory_order_seq_cst);
	return !svq->broken && (uint16_t)(ring_load_u16(svq->used + RING_IDX) - svq->last_used) >= n;
}

bool svq_enable_calls(struct svq *svq)
{
	return svq_enable_calls_after(svq, 1);
}

void svq_disable_calls(struct svq *svq)
{
	/* With event_idx a used_event that has been passed asks for nothing. */
	if (!svq->event_idx)
		ring_store_u16(svq->avail + RING_FLAGS, VRING_AVAIL_F_NO_INTERRUPT);
}
