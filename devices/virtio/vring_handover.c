/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A split ring that changes hands: indexes that come from another device, or go to it. */
#include "devices/virtio/vring_handover.h"

#include <assert.h>

/* The driver and the device may move the ring: so many looks are enough to find it still for one, and few
 * enough not to keep the caller. */
#define HANDOVER_LOOKS 64u

void vring_start_at(struct vring *vr, uint16_t base)
{
	assert(!vr->setup.packed);
	vring_forget_in_flight(vr);
	vr->last_avail = base;
	vr->avail_idx = base;
	vr->used_idx = vring_guest_used(vr);
	vr->published = vr->used_idx;
}

uint16_t vring_base(const struct vring *vr)
{
	assert(!vr->setup.packed && vr->n_in_flight == 0);
	return vr->last_avail;
}

static uint16_t handover_avail_head(const struct vring *vr, uint16_t index)
{
	return ring_load_u16(vr->avail + ring_avail_entry(index & (vr->setup.size - 1u)));
}

bool vring_can_rewind(const struct vring *vr)
{
	uint16_t anchor = vr->setup.size, index = vr->published;

	if (vr->setup.packed || vr->published != vr->used_idx)
		return false;
	for (uint16_t head = vr->next[anchor]; head != anchor; head = vr->next[head]) {
		if (handover_avail_head(vr, index++) != head)
			return false;
	}
	return true;
}

void vring_rewind(struct vring *vr)
{
	assert(!vr->setup.packed && vr->published == vr->used_idx);
	vring_forget_in_flight(vr);
	vr->last_avail = vr->avail_idx = vr->published;
	/* The device that takes the ring over may never ask for kicks itself. */
	vr->format->ask_kicks(vr, true);
}

uint16_t vring_guest_used(const struct vring *vr)
{
	/* Pairs with the release of used.idx by the device whose ring it was. */
	return ring_load_u16_acquire(vr->used + RING_IDX);
}

/* Whether the rings show it at one look: each position's heads are compared where both rings still have them,
 * and no head may be outstanding twice. */
static bool handover_shows_order(struct vring *vr, uint16_t used, uint16_t avail)
{
	uint16_t size = vr->setup.size, n_used = (uint16_t)min_u64(size, used);
	bool ordered = (uint16_t)(avail - used) <= size;

	for (uint16_t i = 1; ordered && i <= n_used; i++) {
		uint16_t index = (uint16_t)(used - i);

		if ((uint16_t)(avail - index) > size)
			break;
		ordered = ring_load_u32(vr->used + ring_used_entry(index & (size - 1u))) ==
			  handover_avail_head(vr, index);
	}
	for (uint16_t index = used; ordered && index != avail; index++) {
		uint16_t head = handover_avail_head(vr, index);

		ordered = head < size && !vr->in_flight[head];
		if (ordered)
			vr->in_flight[head] = true;
	}
	vring_forget_in_flight(vr);
	return ordered;
}

bool vring_used_in_order(struct vring *vr)
{
	assert(!vr->setup.packed && vr->n_in_flight == 0);
	/* Both sides may be at work. What was looked at while they moved proves nothing against them. */
	for (unsigned int i = 0; i < HANDOVER_LOOKS; i++) {
		uint16_t used = vring_guest_used(vr), avail = ring_load_u16_acquire(vr->avail + RING_IDX);

		if (handover_shows_order(vr, used, avail))
			return true;
		if (vring_guest_used(vr) == used && ring_load_u16_acquire(vr->avail + RING_IDX) == avail)
			return false;
	}
	return false;
}
