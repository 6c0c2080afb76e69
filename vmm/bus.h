/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces of registers, ports and memory-mapped I/O: an address leads to the handlers of its range. */
#ifndef FERRY_VMM_BUS_H
#define FERRY_VMM_BUS_H

#include <stdint.h>

#include "vmm/util.h"

#define BUS_MAX_RANGES 64u

/*
 * Handlers run on the thread of the vCPU that makes the access, several at once. @offset counts from the
 * range's base, @data is in the guest's byte order. @len is 1, 2 or 4 for ports; for memory it is anything
 * from 1 to 8, as KVM splits an access where a page ends. An access never leaves the range that it began in.
 */
struct bus_ops {
	void (*read)(void *opaque, uint64_t offset, void *data, unsigned int len);
	void (*write)(void *opaque, uint64_t offset, const void *data, unsigned int len);
};

struct bus_range {
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops;
	void *opaque;
};

struct bus {
	unsigned int n_ranges;
	struct bus_range ranges[BUS_MAX_RANGES]; /* Sorted by base. */
};

/* Adds a range, before vCPUs run. 0; -EEXIST if it overlaps another; -ENOSPC if the table is full. */
int __must_check bus_add(struct bus *bus, uint64_t base, uint64_t len, const struct bus_ops *ops,
			 void *opaque);

/* Make one access of the guest, on its vCPU's thread. Where nothing answers, or the access leaves the range,
 * a read gives all ones and a write is dropped. */
void bus_read(const struct bus *bus, uint64_t addr, void *data, unsigned int len);
void bus_write(const struct bus *bus, uint64_t addr, const void *data, unsigned int len);

#endif
