/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An address space of registers (port or memory mapped I/O): address range -> handler. */
#ifndef FERRY_VMM_BUS_H
#define FERRY_VMM_BUS_H

#include <stdint.h>

#include "vmm/util.h"

#define BUS_MAX_RANGES 64u

/*
 * Handlers run on the vCPU's thread that made the access, several at once; @offset counts from the range's
 * base, @data is in the guest's byte order. @len is 1, 2 or 4 for ports; for memory anything from 1 to 8, as
 * KVM splits an access where a page ends. An access never leaves the range it began in.
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
	struct bus_range ranges[BUS_MAX_RANGES]; /* sorted by base */
};

/* Adds a range, before vCPUs run. -EEXIST if it overlaps another, -ENOSPC if the table is full. */
int __must_check bus_add(struct bus *bus, uint64_t base, uint64_t len, const struct bus_ops *ops,
			 void *opaque);

/* One guest access. Where nothing answers, or the access leaves the range, reads give all ones and writes are
 * dropped. */
void bus_read(const struct bus *bus, uint64_t addr, void *data, unsigned int len);
void bus_write(const struct bus *bus, uint64_t addr, const void *data, unsigned int len);

#endif
