/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TAP interface made a port of a bridge and brought up, so that nothing of the bridge changes by it, and
 * all of that taken back: the host is left as it was. At start-up and at the end, see link.h.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_JOIN_H
#define FERRY_DEVICES_VDPA_SOFT_JOIN_H

#include "devices/vdpa/soft/link.h"
#include "vmm/log.h"

/* Changes that were made to an interface and have to be undone. All zero: none. */
struct soft_join {
	unsigned int index;
	unsigned int bridge;      /* index of that which it was made a port of; 0: none */
	uint32_t mtu_before, mtu; /* @mtu 0: not changed */
	bool raised;
};

/*
 * The interface @tap is made a port of @bridge, unless it is one already or @bridge is NULL, and brought up.
 * One that was @made for this gets an address of its own; one that was there keeps its own, and a line says
 * so if that changes the bridge's. @join says what was done, also where it fails.
 */
int __must_check soft_join(struct soft_join *join, const struct soft_link *tap, bool made, const char *bridge,
			   struct error *err);

/* Undoes what @join says. Settings that the operator has changed since stay as they are. */
void soft_leave(const struct soft_join *join);

#endif
