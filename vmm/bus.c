/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An address space of registers: a sorted table of ranges. */
#include "vmm/bus.h"

#include <errno.h>

int bus_add(struct bus *bus, uint64_t base, uint64_t len, const struct bus_ops *ops, void *opaque)
{
	unsigned int at = 0;

	if (bus->n_ranges == BUS_MAX_RANGES)
		return -ENOSPC;
	while (at < bus->n_ranges && bus->ranges[at].base < base)
		at++;
	if (at > 0 && base - bus->ranges[at - 1].base < bus->ranges[at - 1].len)
		return -EEXIST;
	if (at < bus->n_ranges && bus->ranges[at].base - base < len)
		return -EEXIST;
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->n_ranges - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = (struct bus_range){ .base = base, .len = len, .ops = ops, .opaque = opaque };
	bus->n_ranges++;
	return 0;
}

static const struct bus_range *bus_find(const struct bus *bus, uint64_t addr, unsigned int len)
{
	for (unsigned int i = 0; i < bus->n_ranges; i++) {
		const struct bus_range *r = &bus->ranges[i];

		if (addr >= r->base && addr - r->base < r->len)
			return len <= r->len - (addr - r->base) ? r : NULL;
	}
	return NULL;
}

void bus_read(const struct bus *bus, uint64_t addr, void *data, unsigned int len)
{
	const struct bus_range *r = bus_find(bus, addr, len);

	memset(data, 0xff, len);
	if (r)
		r->ops->read(r->opaque, addr - r->base, data, len);
}

void bus_write(const struct bus *bus, uint64_t addr, const void *data, unsigned int len)
{
	const struct bus_range *r = bus_find(bus, addr, len);

	if (r)
		r->ops->write(r->opaque, addr - r->base, data, len);
}
