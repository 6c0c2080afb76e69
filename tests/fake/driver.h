/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's driver for one ring, split or packed, in guest memory: does what the specification wants, and
 * through the functions below "illegal" whatever a test needs. Written against the specification alone;
 * shares no layout with devices/. One thread; the device side may run on another.
 */
#ifndef FERRY_TESTS_FAKE_DRIVER_H
#define FERRY_TESTS_FAKE_DRIVER_H

#include "devices/virtio/vring.h"

/* How long a test waits for what must come: longer than a machine with other things to do stands still. */
#define FAKE_PATIENCE_MS 60000

struct fake_driver {
	struct memory *mem;
	struct vring_setup setup;
	uint8_t *desc, *avail, *used;
	/* Free descriptors are a list through @next; chains keep their links there. */
	uint16_t *next;
	uint16_t *n_descs; /* by head; 0: not with the device */
	uint16_t free_head, n_free;
	uint16_t avail_idx, published, last_used; /* packed: places in the ring */
	unsigned int n_out;                       /* chains with the device */
	/* Packed: free heads are ids. Each place's turn is odd or even. */
	bool avail_wrap, published_wrap, used_wrap;
	uint64_t first_rest; /* of the first descriptor not yet published: all but its address */
	/* Heads in the order in which they were added, [size] round and round; looked at in order. */
	uint16_t *order;
	unsigned int n_added, n_taken;
};

/* Zeroes the ring's memory. The setup's addresses must be good; asserts. */
void fake_driver_init(struct fake_driver *d, struct memory *mem, const struct vring_setup *setup);
void fake_driver_exit(struct fake_driver *d);

/* A copy, whose ring is at the same place in @mem. */
void fake_driver_copy(struct fake_driver *to, const struct fake_driver *from, struct memory *mem);

/* Split: both indexes start at @idx instead of 0: for a ring whose device side is loaded from state. */
void fake_driver_start_at(struct fake_driver *d, uint16_t idx);

/*
 * Adds a chain: @n_direct of the segments in direct descriptors, the rest in an indirect table at @table
 * (gpa). @n_direct equal to their number makes a direct chain; packed, anything else but 0 is illegal.
 * Returns its head, or -1 if descriptors lack.
 */
int fake_driver_add_mixed(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
			  unsigned int n_write, unsigned int n_direct, uint64_t table);
int fake_driver_add(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write);
int fake_driver_add_indirect(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
			     unsigned int n_write, uint64_t table);

/* Makes what was added visible. Returns whether the device wants a kick. */
bool fake_driver_publish(struct fake_driver *d);

/* Takes one used chain: 1; 0 if there is none; -1 if the device broke the rules, the order's among them. */
int fake_driver_get_used(struct fake_driver *d, uint16_t *head, uint32_t *len);

/* Asks for interrupts, or for none. Returns whether there are used chains already. */
bool fake_driver_enable_interrupts(struct fake_driver *d);
void fake_driver_disable_interrupts(struct fake_driver *d);

/*
 * Illegal: any descriptor, in the ring or in a table; any entry in the available ring; any index; any event.
 * Packed: @next is the id, fake_driver_write_avail() makes the descriptor available as one of the first turn,
 * @event is offset and wrap counter, and there is neither a ring of entries nor an index.
 */
void fake_driver_write_desc(struct fake_driver *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
			    uint16_t next);
void fake_driver_write_table(struct fake_driver *d, uint64_t table, unsigned int i, uint64_t addr,
			     uint32_t len, uint16_t flags, uint16_t next);
void fake_driver_write_avail(struct fake_driver *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
			     uint16_t id);
void fake_driver_offer(struct fake_driver *d, uint16_t head); /* without a look at it; then publish */
void fake_driver_set_avail_idx(struct fake_driver *d, uint16_t idx);
void fake_driver_set_used_event(struct fake_driver *d, uint16_t event);
void fake_driver_set_avail_flags(struct fake_driver *d, uint16_t flags);

/* Between driver.c and driver_packed.c. A descriptor's second word, which ends with its flags: written at
 * once, as the device may read it. */
static inline uint64_t fake_packed_rest(uint32_t len, uint16_t flags, uint16_t id)
{
	return len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

int fake_packed_add(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write, unsigned int n_direct, uint64_t table);
bool fake_packed_publish(struct fake_driver *d);
int fake_packed_get_used(struct fake_driver *d, uint16_t *head, uint32_t *len);
bool fake_packed_enable_interrupts(struct fake_driver *d);
void fake_packed_disable_interrupts(struct fake_driver *d);

#endif
