/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vring.c, which has what both formats of a ring share, and vring_split.c and vring_packed.c. */
#ifndef FERRY_DEVICES_VIRTIO_VRING_PRIV_H
#define FERRY_DEVICES_VIRTIO_VRING_PRIV_H

#include <errno.h>

#include "devices/virtio/ring.h"
#include "devices/virtio/vring.h"
#include "vmm/state.h"

/* What differs. Chosen once, when a ring is set up. */
struct vring_format {
	uint32_t state_bytes; /* in the list of what is in flight, for each entry of the ring, at most */
	/* Finds the parts of the ring, and allocates what it alone has. vring_exit() frees. */
	int (*init)(struct vring *vr);
	/* To the beginning, with nothing in flight. */
	void (*start)(struct vring *vr);
	/* As vring_pop(), vring_unpop(), vring_has_avail(); the list of what is in flight is theirs to keep.
	 */
	int (*pop)(struct vring *vr, struct vring_chain *chain);
	void (*unpop)(struct vring *vr, uint16_t head);
	bool (*has_avail)(struct vring *vr);
	void (*ask_kicks)(struct vring *vr, bool on);
	/* Writes the used entry of a chain, which was in flight. */
	void (*use)(struct vring *vr, uint16_t head, uint32_t len);
	bool (*publish)(struct vring *vr);
	bool (*interrupt_due)(struct vring *vr);
	int (*reread)(struct vring *vr, uint16_t head, struct vring_chain *chain);
	/* Their own properties, and the list. After a load that fails start() is
	 * called. */
	void (*save)(const struct vring *vr, struct state_writer *w);
	int (*load)(struct vring *vr, struct state_node *node);
};

extern const struct vring_format vring_split;
extern const struct vring_format vring_packed;

static inline int vring_refuse(struct vring *vr, const char *why)
{
	vr->broken = why;
	return -EINVAL;
}

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

/* Nothing is in flight any more. */
void vring_forget_in_flight(struct vring *vr);

/* Takes the buffer that @d names into @chain. NULL, or what is wrong with it. */
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
