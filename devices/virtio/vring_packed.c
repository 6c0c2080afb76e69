/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of a packed ring: it copies and keeps the descriptors of a guest's chains, and writes used
 * ones back. */
#include "devices/virtio/vring_packed.h"

#include <assert.h>
#include <stdlib.h>

/* A saved chain: id, number of descriptors; and each of these: address, length, flags. */
#define PACKED_CHAIN_BYTES 4u
#define PACKED_DESC_BYTES  14u

static int packed_init(struct vring *vr)
{
	const struct vring_setup *s = &vr->setup;

	if (s->desc % 16 != 0 || s->avail % 4 != 0 || s->used % 4 != 0)
		return -EINVAL;
	vr->desc = memory_at(vr->mem, s->desc, virtio_desc_bytes(s->size));
	vr->avail = memory_at(vr->mem, s->avail, RING_EVENT_BYTES);
	vr->used = memory_at(vr->mem, s->used, RING_EVENT_BYTES);
	if (!vr->desc || !vr->avail || !vr->used)
		return -EFAULT;
	vr->descs = calloc(s->size, sizeof(*vr->descs));
	vr->kept = calloc(s->size, sizeof(*vr->kept));
	return vr->descs && vr->kept ? 0 : -ENOMEM;
}

static void packed_start(struct vring *vr)
{
	uint16_t size = vr->setup.size;

	vr->last_avail = vr->used_idx = 0;
	vr->avail_wrap = vr->used_wrap = true;
	vr->free_desc = 0;
	vr->n_free = size;
	vr->n_batch = 0;
	/* Never a value that we write, so that the first one is always stored. */
	vr->event = UINT32_MAX;
	for (unsigned int i = 0; i < size; i++)
		vr->descs[i].next = (uint16_t)((i + 1) % size);
}

static void packed_advance(const struct vring *vr, uint16_t *place, bool *wrap, uint16_t n)
{
	unsigned int next = (unsigned int)*place + n;

	if (next >= vr->setup.size) {
		next -= vr->setup.size;
		*wrap = !*wrap;
	}
	*place = (uint16_t)next;
}

static bool packed_is_avail(uint16_t flags, bool wrap)
{
	bool avail = flags & RING_PACKED_F_AVAIL, used = flags & RING_PACKED_F_USED;

	return avail == wrap && used != wrap;
}

/* Adds the buffers in the table of @d, which follow each other: links and tables in it mean nothing. */
static const char *packed_parse_table(struct vring *vr, const struct ring_desc *d, struct vring_chain *chain)
{
	bool writable = false;
	const char *why;
	const uint8_t *table = vring_find_table(vr, d, &why);

	if (!table)
		return why;
	for (unsigned int i = 0; i < d->len / sizeof(*d); i++) {
		struct ring_desc entry = ring_load_packed_table(table, i);

		if (entry.flags & VRING_DESC_F_INDIRECT)
			return "an indirect table within another";
		if (writable && !(entry.flags & VRING_DESC_F_WRITE))
			return "a readable buffer follows a writable one";
		writable = entry.flags & VRING_DESC_F_WRITE;
		why = vring_add_seg(vr, chain, &entry);
		if (why)
			return why;
	}
	return NULL;
}

/* Makes a chain of the @n descriptors that are kept from @i on. Returns NULL, or what is wrong with them. */
static const char *packed_parse_kept(struct vring *vr, uint16_t i, unsigned int n, struct vring_chain *chain)
{
	bool writable = false;
	const char *why;

	for (unsigned int k = 0; k < n; k++, i = vr->descs[i].next) {
		const struct ring_desc *d = &vr->descs[i];

		if (d->flags & VRING_DESC_F_INDIRECT)
			return n == 1 ? packed_parse_table(vr, d, chain)
				      : "an indirect descriptor within a chain";
		if (writable && !(d->flags & VRING_DESC_F_WRITE))
			return "a readable buffer follows a writable one";
		writable = d->flags & VRING_DESC_F_WRITE;
		why = vring_add_seg(vr, chain, d);
		if (why)
			return why;
	}
	return NULL;
}

static void packed_keep(struct vring *vr, uint16_t id, const struct vring_kept *kept)
{
	vr->kept[id] = *kept;
	vr->free_desc = vr->descs[kept->last].next;
	vr->n_free = (uint16_t)(vr->n_free - kept->n);
	vring_append_in_flight(vr, id);
}

static void packed_free(struct vring *vr, uint16_t id)
{
	const struct vring_kept *kept = &vr->kept[id];

	vr->descs[kept->last].next = vr->free_desc;
	vr->free_desc = kept->first;
	vr->n_free = (uint16_t)(vr->n_free + kept->n);
}

/* Copies descriptors from the next to be taken on into free places: what @kept says, the last one's id in
 * *@id. 1, 0 if there is nothing, -EINVAL. */
static int packed_copy(struct vring *vr, struct vring_kept *kept, uint16_t *id)
{
	uint16_t place = vr->last_avail, i = vr->free_desc;

	*kept = (struct vring_kept){ .first = i };
	for (;;) {
		/* Pairs with the driver's release of the first one's flags: the others, and the buffers, come
		 * first. */
		struct ring_desc d = ring_load_packed_desc(vr->desc, place);

		if (kept->n == 0 && !packed_is_avail(d.flags, vr->avail_wrap))
			return 0;
		if (kept->n == vr->n_free)
			return vring_refuse(vr, "more descriptors are in flight than the ring has");
		vr->descs[i].addr = d.addr;
		vr->descs[i].len = d.len;
		vr->descs[i].flags = d.flags;
		kept->n++;
		kept->last = i;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			*id = d.next;
			return 1;
		}
		i = vr->descs[i].next;
		if (++place == vr->setup.size)
			place = 0;
	}
}

static int packed_pop(struct vring *vr, struct vring_chain *chain)
{
	struct vring_kept kept;
	const char *why;
	uint16_t id;
	int ret = packed_copy(vr, &kept, &id);

	if (ret <= 0)
		return ret;
	if (id >= vr->setup.size)
		return vring_refuse(vr, "a chain's id is not below the ring's size");
	if (vr->in_flight[id])
		return vring_refuse(vr, "a chain's id is that of another in flight");
	*chain = (struct vring_chain){ .head = id, .segs = vr->segs };
	why = packed_parse_kept(vr, kept.first, kept.n, chain);
	if (why)
		return vring_refuse(vr, why);
	packed_keep(vr, id, &kept);
	packed_advance(vr, &vr->last_avail, &vr->avail_wrap, kept.n);
	return 1;
}

static void packed_unpop(struct vring *vr, uint16_t id)
{
	/* Going on by what is missing to a whole turn is going back, but for one change of the counter too
	 * many. */
	packed_advance(vr, &vr->last_avail, &vr->avail_wrap, (uint16_t)(vr->setup.size - vr->kept[id].n));
	vr->avail_wrap = !vr->avail_wrap;
	packed_free(vr, id);
}

static bool packed_has_avail(struct vring *vr)
{
	uint16_t flags = ring_load_u16(vr->desc + 16ull * vr->last_avail + RING_PACKED_FLAGS);

	return packed_is_avail(flags, vr->avail_wrap);
}

static void packed_ask_kicks(struct vring *vr, bool on)
{
	uint32_t event = ring_event(RING_EVENT_DISABLE, 0, false);

	if (on)
		event = vr->setup.event_idx ? ring_event(RING_EVENT_DESC, vr->last_avail, vr->avail_wrap)
					    : ring_event(RING_EVENT_ENABLE, 0, false);
	if (event == vr->event)
		return;
	vr->event = event;
	ring_store_u32(vr->used, event);
	memory_mark_dirty(vr->mem, vr->setup.used, RING_EVENT_BYTES);
}

static void packed_use(struct vring *vr, uint16_t id, uint32_t len)
{
	uint8_t *desc = vr->desc + 16ull * vr->used_idx;
	unsigned int flags = vr->used_wrap ? RING_PACKED_F_AVAIL | RING_PACKED_F_USED : 0;

	if (len > 0)
		flags |= VRING_DESC_F_WRITE;
	ring_store_u32(desc + RING_PACKED_LEN, len);
	ring_store_u16(desc + RING_PACKED_ID, id);
	if (vr->n_batch == 0) {
		/* The driver looks at one place after the other: until this one is used it sees none. */
		vr->batch = vr->used_idx;
		vr->batch_flags = (uint16_t)flags;
	} else {
		ring_store_u16(desc + RING_PACKED_FLAGS, (uint16_t)flags);
	}
	vr->n_batch = (uint16_t)(vr->n_batch + vr->kept[id].n);
	packed_advance(vr, &vr->used_idx, &vr->used_wrap, vr->kept[id].n);
	packed_free(vr, id);
}

/* Marks what was written from @vr->batch on, which may go over the ring's end. */
static void packed_mark_dirty(struct vring *vr)
{
	uint16_t size = vr->setup.size;
	uint16_t n = (uint16_t)min_u64(vr->n_batch, (uint64_t)size - vr->batch);

	memory_mark_dirty(vr->mem, vr->setup.desc + 16ull * vr->batch, virtio_desc_bytes(n));
	if (n < vr->n_batch)
		memory_mark_dirty(vr->mem, vr->setup.desc, virtio_desc_bytes((uint16_t)(vr->n_batch - n)));
}

/* Whether the driver wants an interrupt for the last @n places that were used ("Driver and Device Event
 * Suppression"). Flags that do not exist count as wanted. */
static bool packed_wants_interrupt(struct vring *vr, uint16_t n)
{
	uint32_t event = ring_load_u32(vr->avail);
	uint16_t place = event & 0x7fff;
	bool wrap = event >> 15 & 1;

	switch (event >> 16 & 3) {
	case RING_EVENT_DISABLE:
		return false;
	case RING_EVENT_DESC:
		if (!vr->setup.event_idx)
			return true;
		/* A place of the turn before lies a whole turn behind. */
		if (wrap != vr->used_wrap)
			place = (uint16_t)(place - vr->setup.size);
		return virtio_need_event(place, vr->used_idx, (uint16_t)(vr->used_idx - n));
	default:
		return true;
	}
}

static bool packed_publish(struct vring *vr)
{
	uint16_t n = vr->n_batch;

	if (n == 0)
		return false;
	/* Pairs with the driver's acquire of these flags: all of the batch, and what the device wrote, comes
	 * first. */
	ring_store_u16_release(vr->desc + 16ull * vr->batch + RING_PACKED_FLAGS, vr->batch_flags);
	packed_mark_dirty(vr);
	vr->n_batch = 0;
	/* Pairs with the driver's full barrier between its write of its event suppression and its look at the
	 * next descriptor's flags: either it sees what is used, or we see that it wants to be told. */
	atomic_thread_fence(memory_order_seq_cst);
	return packed_wants_interrupt(vr, n);
}

static bool packed_interrupt_due(struct vring *vr)
{
	/* No more than a ring's size of places can be waiting for the driver. */
	return packed_wants_interrupt(vr, vr->setup.size);
}

static int packed_reread(struct vring *vr, uint16_t id, struct vring_chain *chain)
{
	const char *why;

	*chain = (struct vring_chain){ .head = id, .segs = vr->segs };
	why = packed_parse_kept(vr, vr->kept[id].first, vr->kept[id].n, chain);
	return why ? vring_refuse(vr, why) : 1;
}

/* State */

static void packed_save(const struct vring *vr, struct state_writer *w)
{
	const uint16_t meant = VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT;
	uint16_t anchor = vr->setup.size;
	uint8_t *p = vr->scratch;

	assert(vr->n_batch == 0);
	for (uint16_t id = vr->next[anchor]; id != anchor; id = vr->next[id]) {
		uint16_t i = vr->kept[id].first;

		put_le16(p, id);
		put_le16(p + 2, vr->kept[id].n);
		p += PACKED_CHAIN_BYTES;
		for (uint16_t k = 0; k < vr->kept[id].n; k++, i = vr->descs[i].next) {
			put_le64(p, vr->descs[i].addr);
			put_le32(p + 8, vr->descs[i].len);
			put_le16(p + 12, vr->descs[i].flags & meant);
			p += PACKED_DESC_BYTES;
		}
	}
	state_put_u32(w, "last-avail", vr->last_avail);
	state_put_u32(w, "avail-wrap", vr->avail_wrap);
	state_put_u32(w, "used-idx", vr->used_idx);
	state_put_u32(w, "used-wrap", vr->used_wrap);
	state_put_blob(w, "in-flight", vr->scratch, (uint32_t)(p - vr->scratch));
}

/* Whether descriptors that are kept can have come from a guest. Where they name a table, only its place is
 * looked at: what is in it is read when the chain is copied again. Returns NULL, or what is wrong. */
static const char *packed_check_kept(struct vring *vr, const struct vring_kept *kept)
{
	const struct ring_desc *first = &vr->descs[kept->first];
	struct vring_chain chain = { .segs = vr->segs };
	const char *why;

	if (kept->n > 1 || !(first->flags & VRING_DESC_F_INDIRECT))
		return packed_parse_kept(vr, kept->first, kept->n, &chain);
	return vring_find_table(vr, first, &why) ? NULL : why;
}

/* Takes one chain over from the @len bytes at @p. Returns how many of them it has, or -EINVAL. */
static int packed_load_chain(struct vring *vr, const uint8_t *p, uint32_t len, struct error *err)
{
	struct vring_kept kept = { .first = vr->free_desc };
	uint16_t i = vr->free_desc, id;
	const char *why;

	if (len < PACKED_CHAIN_BYTES) {
		error_add(err, "%u bytes where a chain in flight should be", len);
		return -EINVAL;
	}
	id = get_le16(p);
	kept.n = get_le16(p + 2);
	if (id >= vr->setup.size || vr->in_flight[id]) {
		error_add(err, "in-flight id %u of a ring of %u is %s", id, vr->setup.size,
			  id >= vr->setup.size ? "out of range" : "listed twice");
		return -EINVAL;
	}
	if (kept.n == 0 || kept.n > vr->n_free || kept.n > (len - PACKED_CHAIN_BYTES) / PACKED_DESC_BYTES) {
		error_add(err, "a chain in flight has %u descriptors, the ring has %u left", kept.n,
			  vr->n_free);
		return -EINVAL;
	}
	p += PACKED_CHAIN_BYTES;
	for (uint16_t k = 0; k < kept.n; k++, p += PACKED_DESC_BYTES, i = vr->descs[i].next) {
		vr->descs[i].addr = get_le64(p);
		vr->descs[i].len = get_le32(p + 8);
		vr->descs[i].flags = get_le16(p + 12);
		kept.last = i;
		if (vr->descs[i].flags & ~(VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)) {
			error_add(err, "a descriptor in flight has flags 0x%x", vr->descs[i].flags);
			return -EINVAL;
		}
	}
	why = packed_check_kept(vr, &kept);
	if (why) {
		error_add(err, "a chain in flight is not valid: %s", why);
		return -EINVAL;
	}
	packed_keep(vr, id, &kept);
	return (int)(PACKED_CHAIN_BYTES + kept.n * PACKED_DESC_BYTES);
}

/* Returns how many places there are from one to the other, with the turns that they are in: more than the
 * ring has if that is not possible. */
static uint32_t packed_distance(const struct vring *vr, uint32_t from, bool from_wrap, uint32_t to,
				bool to_wrap)
{
	return (to_wrap == from_wrap ? to : to + vr->setup.size) - from;
}

static int packed_load(struct vring *vr, struct state_node *node)
{
	uint32_t place_max = vr->setup.size - 1u, avail, avail_wrap, used, used_wrap, len;
	const uint8_t *p;
	int ret;

	ret = state_get_u32(node, "last-avail", 0, place_max, &avail);
	if (ret < 0)
		return ret;
	ret = state_get_u32(node, "avail-wrap", 0, 1, &avail_wrap);
	if (ret < 0)
		return ret;
	ret = state_get_u32(node, "used-idx", 0, place_max, &used);
	if (ret < 0)
		return ret;
	ret = state_get_u32(node, "used-wrap", 0, 1, &used_wrap);
	if (ret < 0)
		return ret;
	ret = state_get_blob(node, "in-flight", 0, (PACKED_CHAIN_BYTES + PACKED_DESC_BYTES) * vr->setup.size,
			     &p, &len);
	if (ret < 0)
		return ret;
	while (len > 0) {
		ret = packed_load_chain(vr, p, len, node->err);
		if (ret < 0)
			return ret;
		p += ret;
		len -= (uint32_t)ret;
	}
	if (packed_distance(vr, used, used_wrap, avail, avail_wrap) !=
	    (uint32_t)(vr->setup.size - vr->n_free)) {
		error_add(node->err,
			  "%u descriptors in flight do not fit places %u (%u) and %u (%u) of a ring",
			  vr->setup.size - vr->n_free, avail, avail_wrap, used, used_wrap);
		return -EINVAL;
	}
	vr->last_avail = (uint16_t)avail;
	vr->avail_wrap = avail_wrap;
	vr->used_idx = (uint16_t)used;
	vr->used_wrap = used_wrap;
	return 0;
}

const struct vring_format vring_packed = {
	.state_bytes = PACKED_CHAIN_BYTES + PACKED_DESC_BYTES,
	.init = packed_init,
	.start = packed_start,
	.pop = packed_pop,
	.unpop = packed_unpop,
	.has_avail = packed_has_avail,
	.ask_kicks = packed_ask_kicks,
	.use = packed_use,
	.publish = packed_publish,
	.interrupt_due = packed_interrupt_due,
	.reread = packed_reread,
	.save = packed_save,
	.load = packed_load,
};
