/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device side of a split ring: checked private copies of a guest's chains, and used entries back to it. */
#include "devices/vring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "devices/ring.h"
#include "vmm/state.h"

static int vring_refuse(struct vring *vr, const char *why)
{
	vr->broken = why;
	return -EINVAL;
}

static void vring_forget_in_flight(struct vring *vr)
{
	uint16_t anchor = vr->setup.size;

	memset(vr->in_flight, 0, vr->setup.size * sizeof(*vr->in_flight));
	vr->next[anchor] = anchor;
	vr->prev[anchor] = anchor;
	vr->n_in_flight = 0;
}

int vring_init(struct vring *vr, struct memory *mem, const struct vring_setup *setup)
{
	uint16_t size = setup->size;

	*vr = (struct vring){ .mem = mem, .setup = *setup };
	if (!is_power_of_2(size) || size > VIRTIO_RING_MAX_SIZE)
		return -EINVAL;
	if (setup->desc % 16 != 0 || setup->avail % 2 != 0 || setup->used % 4 != 0)
		return -EINVAL;
	vr->desc = memory_at(mem, setup->desc, virtio_desc_bytes(size));
	vr->avail = memory_at(mem, setup->avail, virtio_avail_bytes(size));
	vr->used = memory_at(mem, setup->used, virtio_used_bytes(size));
	if (!vr->desc || !vr->avail || !vr->used)
		return -EFAULT;
	vr->next = calloc(size + 1u, sizeof(*vr->next));
	vr->prev = calloc(size + 1u, sizeof(*vr->prev));
	vr->in_flight = calloc(size, sizeof(*vr->in_flight));
	vr->segs = calloc(size, sizeof(*vr->segs));
	vr->heads = calloc(size, 2);
	if (!vr->next || !vr->prev || !vr->in_flight || !vr->segs || !vr->heads) {
		vring_exit(vr);
		return -ENOMEM;
	}
	vring_forget_in_flight(vr);
	return 0;
}

void vring_exit(struct vring *vr)
{
	free(vr->next);
	free(vr->prev);
	free(vr->in_flight);
	free(vr->segs);
	free(vr->heads);
	*vr = (struct vring){ 0 };
}

void vring_start_at(struct vring *vr, uint16_t base)
{
	vr->last_avail = base;
	vr->avail_idx = base;
	vr->used_idx = ring_load_u16(vr->used + RING_IDX);
	vr->published = vr->used_idx;
}

static void vring_append_in_flight(struct vring *vr, uint16_t head)
{
	uint16_t anchor = vr->setup.size;
	uint16_t last = vr->prev[anchor];

	vr->next[last] = head;
	vr->prev[head] = last;
	vr->next[head] = anchor;
	vr->prev[anchor] = head;
	vr->in_flight[head] = true;
	vr->n_in_flight++;
}

static void vring_remove_in_flight(struct vring *vr, uint16_t head)
{
	vr->next[vr->prev[head]] = vr->next[head];
	vr->prev[vr->next[head]] = vr->prev[head];
	vr->in_flight[head] = false;
	vr->n_in_flight--;
}

/* Takes a descriptor that names a buffer into @chain. NULL, or what is wrong with it. */
static const char *vring_add_seg(struct vring *vr, struct vring_chain *chain, const struct ring_desc *d)
{
	unsigned int n = (unsigned int)chain->n_read + chain->n_write;

	if (d->len == 0)
		return NULL;
	if (!memory_at(vr->mem, d->addr, d->len))
		return "a buffer is not in guest memory";
	if ((uint64_t)chain->read_len + chain->write_len + d->len > UINT32_MAX)
		return "a chain has 2^32 bytes or more";
	vr->segs[n] = (struct virtio_seg){ .addr = d->addr, .len = d->len };
	if (d->flags & VRING_DESC_F_WRITE) {
		chain->n_write++;
		chain->write_len += d->len;
	} else {
		chain->n_read++;
		chain->read_len += d->len;
	}
	return NULL;
}

/* Finds the table that @d refers to: its host address, or NULL with the reason in *@why. */
static const uint8_t *vring_find_table(struct vring *vr, const struct ring_desc *d, const char **why)
{
	const uint8_t *table;

	if (!vr->setup.indirect)
		*why = "an indirect descriptor without the feature";
	else if (d->flags & VRING_DESC_F_NEXT)
		*why = "an indirect descriptor is not the last";
	else if (d->len == 0 || d->len % sizeof(*d) != 0)
		*why = "an indirect table's length is not that of descriptors";
	else if (d->len / sizeof(*d) > vr->setup.size)
		*why = "an indirect table is longer than the ring";
	else
		*why = NULL;
	if (*why)
		return NULL;
	table = memory_at(vr->mem, d->addr, d->len);
	if (!table)
		*why = "an indirect table is not in guest memory";
	return table;
}

/*
 * Copies the chain of @head: any number of direct descriptors, the last of which may be a table. Each
 * descriptor is read once and only the copy is looked at. The number of descriptors bounds the loop, whatever
 * their links say.
 */
static int vring_parse(struct vring *vr, uint16_t head, struct vring_chain *chain)
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

int vring_pop(struct vring *vr, struct vring_chain *chain)
{
	uint16_t size = vr->setup.size;
	uint16_t head;
	int ret;

	if (vr->broken)
		return -EINVAL;
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
	ret = vring_parse(vr, head, chain);
	if (ret < 0)
		return ret;
	vring_append_in_flight(vr, head);
	vr->last_avail++;
	return 1;
}

void vring_unpop(struct vring *vr)
{
	assert(vr->n_in_flight > 0);
	vring_remove_in_flight(vr, vr->prev[vr->setup.size]);
	vr->last_avail--;
}

bool vring_has_avail(struct vring *vr)
{
	return !vr->broken && ring_load_u16(vr->avail + RING_IDX) != vr->last_avail;
}

static void vring_store_used_u16(struct vring *vr, uint64_t offset, uint16_t v)
{
	ring_store_u16(vr->used + offset, v);
	memory_mark_dirty(vr->mem, vr->setup.used + offset, sizeof(v));
}

bool vring_enable_kicks(struct vring *vr)
{
	if (vr->setup.event_idx)
		vring_store_used_u16(vr, ring_avail_event(vr->setup.size), vr->last_avail);
	else
		vring_store_used_u16(vr, RING_FLAGS, 0);
	/* Pairs with the driver's full barrier between its write of avail.idx and its look at avail_event or
	 * used.flags: either it sees that we want a kick, or we see what it added. */
	atomic_thread_fence(memory_order_seq_cst);
	return vring_has_avail(vr);
}

void vring_disable_kicks(struct vring *vr)
{
	/* With event_idx an avail_event that has been passed asks for nothing. */
	if (!vr->setup.event_idx)
		vring_store_used_u16(vr, RING_FLAGS, VRING_USED_F_NO_NOTIFY);
}

void vring_push(struct vring *vr, uint16_t head, uint32_t len)
{
	uint8_t *entry = vr->used + ring_used_entry(vr->used_idx & (vr->setup.size - 1u));

	assert(head < vr->setup.size && vr->in_flight[head]);
	ring_store_u32(entry, head);
	ring_store_u32(entry + 4, len);
	vring_remove_in_flight(vr, head);
	vr->used_idx++;
}

bool vring_publish(struct vring *vr)
{
	uint16_t old = vr->published, new = vr->used_idx;

	if (old == new)
		return false;
	/* Pairs with the driver's acquire of used.idx: the entries, and what the device wrote, come first. */
	ring_store_u16_release(vr->used + RING_IDX, new);
	vr->published = new;
	/* The whole part, a page or two: one call costs less than to find out which entries are new. */
	memory_mark_dirty(vr->mem, vr->setup.used, virtio_used_bytes(vr->setup.size));
	/* Pairs with the driver's full barrier between its write of used_event or avail.flags and its look at
	 * used.idx: either it sees the new entries, or we see that it wants to be told. */
	atomic_thread_fence(memory_order_seq_cst);
	if (vr->setup.event_idx)
		return virtio_need_event(ring_load_u16(vr->avail + ring_used_event(vr->setup.size)), new,
					 old);
	return !(ring_load_u16(vr->avail + RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
}

int vring_next_in_flight(const struct vring *vr, int prev)
{
	uint16_t next = vr->next[prev < 0 ? vr->setup.size : prev];

	return next == vr->setup.size ? -1 : next;
}

int vring_reread(struct vring *vr, uint16_t head, struct vring_chain *chain)
{
	assert(head < vr->setup.size && vr->in_flight[head]);
	return vr->broken ? -EINVAL : vring_parse(vr, head, chain);
}

void vring_save(const struct vring *vr, struct state_writer *w)
{
	uint32_t n = 0;

	assert(vr->published == vr->used_idx);
	for (int head = vring_next_in_flight(vr, -1); head >= 0; head = vring_next_in_flight(vr, head))
		put_le16(vr->heads + 2 * n++, (uint16_t)head);
	state_put_u32(w, "last-avail", vr->last_avail);
	state_put_u32(w, "used-idx", vr->published);
	state_put_blob(w, "in-flight", vr->heads, 2 * n);
}

/* Takes the list of heads over; refuses it as a whole. */
static int vring_load_in_flight(struct vring *vr, const uint8_t *heads, uint32_t n, struct error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		uint16_t head = get_le16(heads + 2 * i);

		if (head >= vr->setup.size || vr->in_flight[head]) {
			vring_forget_in_flight(vr);
			return error_add(err, -EINVAL, "in-flight head %u of a ring of %u is %s", head,
					 vr->setup.size,
					 head >= vr->setup.size ? "out of range" : "listed twice");
		}
		vring_append_in_flight(vr, head);
	}
	return 0;
}

int vring_load(struct vring *vr, struct state_node *node)
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
	if (used_idx != guest_used)
		return error_add(node->err, -EINVAL, "used index %u of a ring is %u in guest memory",
				 used_idx, guest_used);
	if (len % 2 != 0 || (uint16_t)(last_avail - used_idx) != len / 2)
		return error_add(node->err, -EINVAL,
				 "%u bytes of in-flight heads do not fit ring indexes %u and %u", len,
				 last_avail, used_idx);
	ret = vring_load_in_flight(vr, heads, len / 2, node->err);
	if (ret < 0)
		return ret;
	vr->last_avail = (uint16_t)last_avail;
	vr->avail_idx = vr->last_avail;
	vr->used_idx = (uint16_t)used_idx;
	vr->published = vr->used_idx;
	return 0;
}
