/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts that both formats of a ring have: the list of what is in flight, and the way to a descriptor
 * table. */
#include "devices/virtio/vring_core.h"

void vring_forget_in_flight(struct vring *vr)
{
	uint16_t anchor = vr->setup.size;

	memset(vr->in_flight, 0, vr->setup.size * sizeof(*vr->in_flight));
	if (vr->done)
		memset(vr->done, 0, vr->setup.size * sizeof(*vr->done));
	vr->next[anchor] = anchor;
	vr->prev[anchor] = anchor;
	vr->n_in_flight = 0;
}

const uint8_t *vring_find_table(struct vring *vr, const struct ring_desc *d, const char **why)
{
	const uint8_t *table;

	if (!vr->setup.indirect)
		*why = "an indirect descriptor without the feature";
	else if (d->flags & VRING_DESC_F_NEXT)
		*why = "an indirect descriptor is not the last";
	else if (d->len == 0 || d->len % sizeof(*d) != 0)
		*why = "an indirect table's length is not that of descriptors";
	else if (d->len / sizeof(*d) > vr->setup.size)
		*why = "an indirect table is longer than the ring";
	else
		*why = NULL;
	if (*why)
		return NULL;
	table = memory_at(vr->mem, d->addr, d->len);
	if (!table)
		*why = "an indirect table is not in guest memory";
	return table;
}
