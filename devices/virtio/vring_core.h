/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device side of a ring as its formats share it: what a ring is, what a format provides, and the list of
 * what is in flight. For vring.h, which is what a device calls, and for the formats below it.
 */
#ifndef FERRY_DEVICES_VIRTIO_VRING_CORE_H
#define FERRY_DEVICES_VIRTIO_VRING_CORE_H

#include <errno.h>

#include "devices/virtio/ring.h"
#include "devices/virtio/vring_chain.h"
#include "vmm/state.h"

/* A ring as the driver has set it up. */
struct vring_setup {
	uint16_t size; /* a power of two unless packed */
	/* Guest addresses of a split ring's parts; of a packed ring, and of the driver's and the device's
	 * event suppression. */
	uint64_t desc, avail, used;
	bool event_idx;
	bool indirect;
	bool packed;
	/* Chains are given back in the order in which they were taken. */
	bool in_order;
};

struct vring;

/* Functions that split and packed rings have in ways of their own. Chosen once, when a ring is set up. */
struct vring_format {
	/* The most that an entry of the ring takes in the saved list of what is in flight. */
	uint32_t state_bytes;
	/* Finds the parts of the ring, and allocates what this format alone has. vring_exit() frees. */
	int (*init)(struct vring *vr);
	/* Goes to the beginning, with nothing in flight. */
	void (*start)(struct vring *vr);
	/* vring_pop(), vring_unpop() and vring_has_avail() of a ring that is good. pop() puts the chain into
	 * the list of what is in flight; unpop() finds it out of the list. */
	int (*pop)(struct vring *vr, struct vring_chain *chain);
	void (*unpop)(struct vring *vr, uint16_t head);
	bool (*has_avail)(struct vring *vr);
	void (*ask_kicks)(struct vring *vr, bool on);
	/* Writes the used entry of a chain, which was in flight. */
	void (*use)(struct vring *vr, uint16_t head, uint32_t len);
	bool (*publish)(struct vring *vr);
	bool (*interrupt_due)(struct vring *vr);
	int (*reread)(struct vring *vr, uint16_t head, struct vring_chain *chain);
	/* The format's properties of the state, and the list. start() follows a load that fails. */
	void (*save)(const struct vring *vr, struct state_writer *w);
	int (*load)(struct vring *vr, struct state_node *node);
};

/* Whether a chain of an in-order ring is done while an older one is not, and with how many bytes. */
struct vring_done {
	bool done;
	uint32_t len;
};

struct vring {
	struct memory *mem;
	struct vring_setup setup;
	const struct vring_format *format;
	/* Host addresses of the three parts, bounded once at start. Accesses are atomics of exact width. */
	uint8_t *desc;
	uint8_t *avail;
	uint8_t *used;

	/* The next entry to take, and the next to write, which the guest does not see beyond @published. Both
	 * are free-running; in a packed ring they are places. */
	uint16_t last_avail, used_idx;
	uint16_t avail_idx; /* the driver's index as last read */
	uint16_t published; /* used.idx as the guest sees it */
	uint16_t n_in_flight;
	/* The rule that the driver broke, for the log; NULL while the ring is good. */
	const char *broken;
	/* In-flight heads in submission order: a list through these arrays, [size] is its anchor. */
	uint16_t *next;
	uint16_t *prev;
	bool *in_flight;
	struct vring_done *done; /* [size], in order only */
	struct virtio_seg *segs; /* of the chain popped last, [size] */
	uint8_t *scratch;        /* of vring_save() */

	/* Packed rings. The device writes what is used over descriptors of chains that are still in flight,
	 * so copies of these are kept: stretches of a list through @next of @descs. */
	bool avail_wrap, used_wrap; /* wrap counters of last_avail and used_idx */
	struct ring_desc *descs;    /* [size] */
	struct vring_kept *kept;    /* [size], by id */
	uint16_t free_desc, n_free;
	/* Elements that are used and not published: @n_batch places from @batch on, which become visible when
	 * the first of them gets @batch_flags. */
	uint16_t batch, batch_flags, n_batch;
	uint32_t event; /* our event suppression as the driver sees it */
};

/* The descriptors of a chain in flight: the first and the last of their stretch, and how many they are. */
struct vring_kept {
	uint16_t first, last;
	uint16_t n;
};

/* Notes which rule the driver broke, for good. */
static inline int vring_refuse(struct vring *vr, const char *why)
{
	vr->broken = why;
	return -EINVAL;
}

/* The list of what is in flight. */
static inline void vring_append_in_flight(struct vring *vr, uint16_t head)
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

static inline void vring_remove_in_flight(struct vring *vr, uint16_t head)
{
	vr->next[vr->prev[head]] = vr->next[head];
	vr->prev[vr->next[head]] = vr->prev[head];
	vr->in_flight[head] = false;
	vr->n_in_flight--;
}

/* Empties the list. */
void vring_forget_in_flight(struct vring *vr);

/* Adds the buffer that @d names to @chain. Returns NULL, or what is wrong with the buffer. */
static inline const char *vring_add_seg(struct vring *vr, struct vring_chain *chain,
					const struct ring_desc *d)
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
const uint8_t *vring_find_table(struct vring *vr, const struct ring_desc *d, const char **why);

#endif
