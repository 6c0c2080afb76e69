/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's driver for one split ring, in guest memory: does what the specification wants, and through the
 * functions below "illegal" whatever a test needs. Written against the specification alone; shares no layout
 * with devices/. One thread; the device side may run on another.
 */
#ifndef FERRY_TESTS_FAKE_DRIVER_H
#define FERRY_TESTS_FAKE_DRIVER_H

#include "devices/vring.h"

struct fake_driver {
	struct memory *mem;
	struct vring_setup setup;
	uint8_t *desc, *avail, *used;
	/* Free descriptors are a list through @next; chains keep their links there. */
	uint16_t *next;
	uint16_t *n_descs; /* by head; 0: not with the device */
	uint16_t free_head, n_free;
	uint16_t avail_idx, published, last_used;
	unsigned int n_out; /* chains with the device */
};

/* Zeroes the ring's memory. The setup's addresses must be good; asserts. */
void fake_driver_init(struct fake_driver *d, struct memory *mem, const struct vring_setup *setup);
void fake_driver_exit(struct fake_driver *d);

/* Both indexes start at @idx instead of 0: for a ring whose device side is loaded from state. */
void fake_driver_start_at(struct fake_driver *d, uint16_t idx);

/*
 * Adds a chain: @n_direct of the segments in direct descriptors, the rest in an indirect table at @table
 * (gpa). @n_direct equal to their number makes a direct chain. Returns its head, or -1 if descriptors lack.
 */
int fake_driver_add_mixed(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
			  unsigned int n_write, unsigned int n_direct, uint64_t table);
int fake_driver_add(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
		    unsigned int n_write);
int fake_driver_add_indirect(struct fake_driver *d, const struct virtio_seg *segs, unsigned int n_read,
			     unsigned int n_write, uint64_t table);

/* Makes what was added visible. Returns whether the device wants a kick. */
bool fake_driver_publish(struct fake_driver *d);

/* Takes one used chain: 1; 0 if there is none; -1 if the device broke the rules. */
int fake_driver_get_used(struct fake_driver *d, uint16_t *head, uint32_t *len);

/* Asks for interrupts, or for none. Returns whether there are used chains already. */
bool fake_driver_enable_interrupts(struct fake_driver *d);
void fake_driver_disable_interrupts(struct fake_driver *d);

/* Illegal: any descriptor, in the ring or in a table; any entry in the available ring; any index; any event.
 */
void fake_driver_write_desc(struct fake_driver *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
			    uint16_t next);
void fake_driver_write_table(struct fake_driver *d, uint64_t table, unsigned int i, uint64_t addr,
			     uint32_t len, uint16_t flags, uint16_t next);
void fake_driver_offer(struct fake_driver *d, uint16_t head); /* without a look at it; then publish */
void fake_driver_set_avail_idx(struct fake_driver *d, uint16_t idx);
void fake_driver_set_used_event(struct fake_driver *d, uint16_t event);
void fake_driver_set_avail_flags(struct fake_driver *d, uint16_t flags);

#endif
