/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device side of a virtqueue, split or packed (virtio 1.4, "Split Virtqueues", "Packed Virtqueues"): takes
 * chains from a driver in the guest, gives them back used. The ring's memory is the guest's and hostile: each
 * field is read once, every address is bounded against guest RAM, and the caller only ever sees private
 * copies.
 *
 * One owner thread, apart from what says otherwise. Nothing is allocated after vring_init().
 */
#ifndef FERRY_DEVICES_VIRTIO_VRING_H
#define FERRY_DEVICES_VIRTIO_VRING_H

#include "devices/virtio/virtio.h"
#include "vmm/memory.h"

/*
 * A chain of buffers as copied from the guest: @n_read segments for the device to read, then @n_write to
 * write. Every segment lies in one region of guest RAM and has at least one byte: descriptors of length 0 are
 * legal and are left out. So a chain may have no segments at all; it is to be given back with length 0.
 */
struct vring_chain {
	uint16_t head; /* packed: the buffer id */
	uint16_t n_read;
	uint16_t n_write;
	uint32_t read_len;  /* bytes in the readable segments */
	uint32_t write_len; /* bytes in the writable ones */
	struct virtio_seg *segs;
};

struct vring_setup {
	uint16_t size;              /* at most VIRTIO_RING_MAX_SIZE; a power of two unless packed */
	uint64_t desc, avail, used; /* gpa; packed: ring, driver's and device's event suppression */
	bool event_idx;
	bool indirect;
	bool packed;
	bool in_order; /* chains are given back in the order in which they were taken */
};

struct vring_format;
struct ring_desc;

/* A chain of an in-order ring that is done while an older one is not. */
struct vring_done {
	bool done;
	uint32_t len;
};

struct vring {
	struct memory *mem;
	struct vring_setup setup;
	const struct vring_format *format;
	/* Host addresses of the three parts, bounded once at start; accessed with exact-width atomics only.
	 */
	uint8_t *desc;
	uint8_t *avail;
	uint8_t *used;

	uint16_t last_avail; /* next entry to take: free-running; packed: a place in the ring */
	uint16_t avail_idx;  /* the driver's index as last read */
	uint16_t used_idx;   /* next entry to write, as last_avail; not yet visible beyond @published */
	uint16_t published;  /* used.idx as the guest sees it */
	uint16_t n_in_flight;
	const char *broken; /* what the driver did, for the log; NULL while the ring is good */
	/* In-flight heads in submission order: a list through these arrays, [size] is its anchor. */
	uint16_t *next;
	uint16_t *prev;
	bool *in_flight;
	struct vring_done *done; /* [size], in order only */
	struct virtio_seg *segs; /* of the chain popped last, [size] */
	uint8_t *scratch;        /* of vring_save() */

	/* Packed. What is used is written over descriptors of chains that are still in flight, so these are
	 * kept: stretches of a list through @next of @descs. */
	bool avail_wrap, used_wrap; /* wrap counters of last_avail and used_idx */
	struct ring_desc *descs;    /* [size] */
	struct vring_kept *kept;    /* [size], by id */
	uint16_t free_desc, n_free;
	uint16_t batch; /* where the first descriptor is that is used and not published, if there is one */
	uint16_t batch_flags; /* which make it visible, and all others after it */
	uint16_t n_batch;     /* places used and not published */
	uint32_t event;       /* our event suppression as the driver sees it */
};

/* Descriptors of a chain in flight. */
struct vring_kept {
	uint16_t first, last;
	uint16_t n;
};

/*
 * Checks @setup (from the guest, or from a migration stream), finds the ring in guest memory, and starts at
 * index 0 with nothing in flight. -EINVAL, -EFAULT, -ENOMEM; on error nothing is left behind. vring_exit()
 * frees; a zeroed vring may be passed to it.
 */
int __must_check vring_init(struct vring *vr, struct memory *mem, const struct vring_setup *setup);
void vring_exit(struct vring *vr);

/*
 * For split rings that change hands between this vring and a device that serves the guest's ring itself.
 *
 * vring_start_at() goes on at @base, the index in the available ring of the next chain, where another device
 * has left it with nothing in flight; how many were used is in the ring. vring_base() is where a device has
 * to begin, nothing being in flight here. vring_rewind() makes that so: what is in flight counts as not
 * taken; false, and nothing is changed, where it does not lie in the available ring in its order, right
 * behind what was used.
 */
void vring_start_at(struct vring *vr, uint16_t base);
uint16_t vring_base(const struct vring *vr);
bool vring_can_rewind(const struct vring *vr);
void vring_rewind(struct vring *vr);

/*
 * Of a ring that a device serves, nothing being in flight here: the used index that it shows, and whether it
 * has used chains in the order in which they were made available, as far as the ring still shows.
 */
uint16_t vring_guest_used(const struct vring *vr);
bool vring_used_in_order(struct vring *vr);

/*
 * Takes the next chain. Returns 1 with @chain filled (its segments are valid until the next vring_pop() or
 * vring_reread()), 0 if there is none, -EINVAL if the driver broke the specification's rules:
 * then @vr->broken says which, and nothing more can be taken until the driver resets the ring. What is in
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
struct state_writer;
struct state_node;
void vring_save(const struct vring *vr, struct state_writer *w);
int __must_check vring_load(struct vring *vr, struct state_node *node);
/* Most bytes that a ring's lists take in it. */
uint32_t vring_state_bytes(const struct vring_setup *setup);

/*
 * The in-flight heads in submission order, but for those that are given back already and wait for an older
 * one: start with @prev -1, ends with -1. vring_reread() parses the chain
 * of an in-flight head again, to be submitted to another device; same returns as vring_pop() but never 0.
 */
int vring_next_in_flight(const struct vring *vr, int prev);
int __must_check vring_reread(struct vring *vr, uint16_t head, struct vring_chain *chain);

#endif
