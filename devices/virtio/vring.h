/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device side of a virtqueue, split or packed (virtio 1.4, "Split Virtqueues", "Packed Virtqueues"): takes
 * chains from a driver in the guest, gives them back used. The ring's memory is the guest's and hostile: each
 * field is read once, every address is bounded against guest RAM, and the caller only ever sees private
 * copies.
 *
 * One thread owns a vring. Nothing is allocated after vring_init().
 */
#ifndef FERRY_DEVICES_VIRTIO_VRING_H
#define FERRY_DEVICES_VIRTIO_VRING_H

#include "devices/virtio/vring_core.h"

/* Returns what a driver's @features say about its rings. Size and addresses are the caller's to fill in. */
static inline struct vring_setup vring_setup_of(uint64_t features)
{
	return (struct vring_setup){
		.event_idx = virtio_has(features, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(features, VIRTIO_RING_F_INDIRECT_DESC),
		.packed = virtio_has(features, VIRTIO_F_RING_PACKED),
		.in_order = virtio_has(features, VIRTIO_F_IN_ORDER),
	};
}

/*
 * Checks @setup (from the guest, or from a migration stream), finds the ring in guest memory, and starts at
 * index 0 with nothing in flight. -EINVAL, -EFAULT, -ENOMEM; on error nothing is left behind. vring_exit()
 * frees; a zeroed vring may be passed to it.
 */
int __must_check vring_init(struct vring *vr, struct memory *mem, const struct vring_setup *setup);
void vring_exit(struct vring *vr);

/*
 * Takes the next chain. Returns 1 with @chain filled (its segments are valid until the next vring_pop() or
 * vring_reread()), 0 if there is none, -EINVAL if the driver broke the specification's rules: then
 * @vr->broken says which, and nothing more can be taken until the driver resets the ring. What is in
 * flight can still be given back.
 */
int __must_check vring_pop(struct vring *vr, struct vring_chain *chain);

/* Puts the chain that vring_pop() gave last back as the next one. It must still be in flight. */
void vring_unpop(struct vring *vr);

/* Whether vring_pop() has something to say, without taking it. Looks at the guest's index anew; false for a
 * broken ring. */
bool vring_has_avail(struct vring *vr);

/*
 * Asks for kicks, returns true if there are chains already (look again before sleeping: a kick for them may
 * not come). And asks for none, which the driver takes as a hint.
 */
bool vring_enable_kicks(struct vring *vr);
void vring_disable_kicks(struct vring *vr);

/*
 * Gives back an in-flight chain with @len bytes written; in an in-order ring once all older ones are given
 * back. Not visible before vring_publish(), which returns whether the driver wants an interrupt for what it
 * made visible.
 */
void vring_push(struct vring *vr, uint16_t head, uint32_t len);
bool __must_check vring_publish(struct vring *vr);

/*
 * Whether the driver has asked for an interrupt about anything that is published: it may be one that it had
 * and has not seen to yet. False: it has taken everything, or looks by itself.
 */
bool vring_interrupt_due(struct vring *vr);

/*
 * Saved state is {last_avail, used index, in-flight heads in submission order}: the memory part is in guest
 * RAM. Packed: also both wrap counters, and the descriptors of what is in flight, for they may no longer be
 * in the ring. In order: also what is done and waits for an older one. vring_save() writes properties into
 * the current node and changes nothing; all that was pushed must have been published. vring_load() on a fresh
 * vring validates them against each other, @vr's size and, if split, the used index in guest memory; on an
 * error @vr is as fresh as it was and the node's error says why.
 */
void vring_save(const struct vring *vr, struct state_writer *w);
int __must_check vring_load(struct vring *vr, struct state_node *node);

/* Returns the most bytes that the lists in a ring's state take. */
uint32_t vring_state_bytes(const struct vring_setup *setup);

/*
 * The in-flight heads in submission order, but for those that are given back already and wait for an older
 * one: starts with @prev -1, ends with -1. vring_reread() copies the chain of an in-flight head again, to be
 * submitted to another device; it returns what vring_pop() does, but never 0.
 */
int vring_next_in_flight(const struct vring *vr, int prev);
int __must_check vring_reread(struct vring *vr, uint16_t head, struct vring_chain *chain);

#endif
