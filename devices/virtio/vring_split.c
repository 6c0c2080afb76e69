/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device side of a split ring: it copies and checks a guest's chains, and writes used entries back. */
#include "devices/virtio/vring_split.h"

#include <assert.h>

static int split_init(struct vring *vr)
{
	const struct vring_setup *s = &vr->setup;

	if (!is_power_of_2(s->size))
		return -EINVAL;
	if (s->desc % 16 != 0 || s->avail % 2 != 0 || s->used % 4 != 0)
		return -EINVAL;
	vr->desc = memory_at(vr->mem, s->desc, virtio_desc_bytes(s->size));
	vr->avail = memory_at(vr->mem, s->avail, virtio_avail_bytes(s->size));
	vr->used = memory_at(vr->mem, s->used, virtio_used_bytes(s->size));
	return vr->desc && vr->avail && vr->used ? 0 : -EFAULT;
}

static void split_start(struct vring *vr)
{
	vr->last_avail = vr->avail_idx = 0;
	vr->used_idx = vr->published = 0;
}

/*
 * Copies the chain of @head: any number of direct descriptors, the last of which may be a table. Each
 * descriptor is read once and only the copy is looked at. The number of descriptors bounds the loop, whatever
 * their links say.
 */
static int split_parse(struct vring *vr, uint16_t head, struct vring_chain *chain)
{
	const uint8_t *table = vr->desc;
	unsigned int n_entries = vr->setup.size, n = 0, i = head;
	bool in_table = false, writable = false;
	const char *why;

	*chain = (struct vring_chain){ .head = head, .segs = vr->segs };
	for (;;) {
		struct ring_desc d = ring_load_desc(table, i);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (in_table)
				return vring_refuse(vr, "an indirect table within another");
			table = vring_find_table(vr, &d, &why);
			if (!table)
				return vring_refuse(vr, why);
			n_entries = d.len / sizeof(d);
			in_table = true;
			i = 0;
			continue;
		}
		if (n++ == vr->setup.size)
			return vring_refuse(vr, "a chain is longer than the ring, or loops");
		if (writable && !(d.flags & VRING_DESC_F_WRITE))
			return vring_refuse(vr, "a readable buffer follows a writable one");
		writable = d.flags & VRING_DESC_F_WRITE;
		why = vring_add_seg(vr, chain, &d);
		if (why)
			return vring_refuse(vr, why);
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 1;
		if (d.next >= n_entries)
			return vring_refuse(vr, "a descriptor's next is outside its table");
		i = d.next;
	}
}

static int split_pop(struct vring *vr, struct vring_chain *chain)
{
	uint16_t size = vr->setup.size;
	uint16_t head;
	int ret;

	if (vr->avail_idx == vr->last_avail) {
		/* Pairs with the driver's release of avail.idx: entries and descriptors up to it can be
		 * read. */
		uint16_t idx = ring_load_u16_acquire(vr->avail + RING_IDX);

		if ((uint16_t)(idx - vr->last_avail) > size)
			return vring_refuse(vr, "avail.idx is further ahead than the ring is long");
		vr->avail_idx = idx;
		if (idx == vr->last_avail)
			return 0;
	}
	head = ring_load_u16(vr->avail + ring_avail_entry(vr->last_avail & (size - 1u)));
	if (head >= size)
		return vring_refuse(vr, "a chain's head is outside the ring");
	if (vr->in_flight[head])
		return vring_refuse(vr, "a chain was made available again before it was used");
	ret = split_parse(vr, head, chain);
	if (ret < 0)
		return ret;
	vring_append_in_flight(vr, head);
	vr->last_avail++;
	return 1;
}

static void split_unpop(struct vring *vr, uint16_t head)
{
	vr->last_avail--;
}

static bool split_has_avail(struct vring *vr)
{
	return ring_load_u16(vr->avail + RING_IDX) != vr->last_avail;
}

static void split_store_used_u16(struct vring *vr, uint64_t offset, uint16_t v)
{
	ring_store_u16(vr->used + offset, v);
	memory_mark_dirty(vr->mem, vr->setup.used + offset, sizeof(v));
}

static void split_ask_kicks(struct vring *vr, bool on)
{
	if (!vr->setup.event_idx)
		split_store_used_u16(vr, RING_FLAGS, (uint16_t)(on ? 0 : VRING_USED_F_NO_NOTIFY));
	else if (on)
		split_store_used_u16(vr, ring_avail_event(vr->setup.size), vr->last_avail);
	/* An avail_event that has been passed asks for nothing. */
}

static void split_use(struct vring *vr, uint16_t head, uint32_t len)
{
	uint8_t *entry = vr->used + ring_used_entry(vr->used_idx & (vr->setup.size - 1u));

	ring_store_u32(entry, head);
	ring_store_u32(entry + 4, len);
	vr->used_idx++;
}

/* Whether the driver wants an interrupt for any of the last @n entries. */
static bool split_wants_interrupt(const struct vring *vr, uint16_t n)
{
	if (vr->setup.event_idx)
		return virtio_need_event(ring_load_u16(vr->avail + ring_used_event(vr->setup.size)),
					 vr->published, (uint16_t)(vr->published - n));
	return !(ring_load_u16(vr->avail + RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
}

static bool split_publish(struct vring *vr)
{
	uint16_t n = (uint16_t)(vr->used_idx - vr->published);

	if (n == 0)
		return false;
	/* Pairs with the driver's acquire of used.idx: the entries, and what the device wrote, come first. */
	ring_store_u16_release(vr->used + RING_IDX, vr->used_idx);
	vr->published = vr->used_idx;
	/* The whole part is a page or two: one call costs less than to find out which entries are new. */
	memory_mark_dirty(vr->mem, vr->setup.used, virtio_used_bytes(vr->setup.size));
	/* Pairs with the driver's full barrier between its write of used_event or avail.flags and its look at
	 * used.idx: either it sees the new entries, or we see that it wants to be told. */
	atomic_thread_fence(memory_order_seq_cst);
	return split_wants_interrupt(vr, n);
}

static bool split_interrupt_due(struct vring *vr)
{
	/* No more than a ring's size of entries can be waiting for the driver. */
	return split_wants_interrupt(vr, vr->setup.size);
}

static void split_save(const struct vring *vr, struct state_writer *w)
{
	uint16_t anchor = vr->setup.size;
	uint32_t n = 0;

	assert(vr->published == vr->used_idx);
	for (uint16_t head = vr->next[anchor]; head != anchor; head = vr->next[head])
		put_le16(vr->scratch + 2 * n++, head);
	state_put_u32(w, "last-avail", vr->last_avail);
	state_put_u32(w, "used-idx", vr->published);
	state_put_blob(w, "in-flight", vr->scratch, 2 * n);
}

static int split_load_in_flight(struct vring *vr, const uint8_t *heads, uint32_t n, struct error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		uint16_t head = get_le16(heads + 2 * i);

		if (head >= vr->setup.size || vr->in_flight[head]) {
			error_add(err, "in-flight head %u of a ring of %u is %s", head, vr->setup.size,
				  head >= vr->setup.size ? "out of range" : "listed twice");
			return -EINVAL;
		}
		vring_append_in_flight(vr, head);
	}
	return 0;
}

static int split_load(struct vring *vr, struct state_node *node)
{
	uint16_t guest_used = ring_load_u16(vr->used + RING_IDX);
	uint32_t last_avail, used_idx, len;
	const uint8_t *heads;
	int ret;

	ret = state_get_u32(node, "last-avail", 0, UINT16_MAX, &last_avail);
	if (ret < 0)
		return ret;
	ret = state_get_u32(node, "used-idx", 0, UINT16_MAX, &used_idx);
	if (ret < 0)
		return ret;
	ret = state_get_blob(node, "in-flight", 0, 2u * vr->setup.size, &heads, &len);
	if (ret < 0)
		return ret;
	if (used_idx != guest_used) {
		error_add(node->err, "used index %u of a ring is %u in guest memory", used_idx, guest_used);
		return -EINVAL;
	}
	if (len % 2 != 0 || (uint16_t)(last_avail - used_idx) != len / 2) {
		error_add(node->err, "%u bytes of in-flight heads do not fit ring indexes %u and %u", len,
			  last_avail, used_idx);
		return -EINVAL;
	}
	ret = split_load_in_flight(vr, heads, len / 2, node->err);
	if (ret < 0)
		return ret;
	vr->last_avail = (uint16_t)last_avail;
	vr->avail_idx = vr->last_avail;
	vr->used_idx = (uint16_t)used_idx;
	vr->published = vr->used_idx;
	return 0;
}

const struct vring_format vring_split = {
	.state_bytes = 2,
	.init = split_init,
	.start = split_start,
	.pop = split_pop,
	.unpop = split_unpop,
	.has_avail = split_has_avail,
	.ask_kicks = split_ask_kicks,
	.use = split_use,
	.publish = split_publish,
	.interrupt_due = split_interrupt_due,
	.reread = split_parse,
	.save = split_save,
	.load = split_load,
};
