/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a TAP interface a port of a bridge and brings it up, so that nothing else of the bridge changes, and
 * takes that back: the host is left as it was. The functions are for start-up and the end, see link.h.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_JOIN_H
#define FERRY_DEVICES_VDPA_SOFT_JOIN_H

#include "devices/vdpa/soft/link.h"
#include "vmm/log.h"

/* Changes that were made to an interface and have to be undone. All zero: none. */
struct soft_join {
	unsigned int index;
	unsigned int bridge;      /* of the bridge; 0: it was made no port */
	uint32_t mtu_before, mtu; /* @mtu 0: not changed */
	bool raised;
};

/*
 * Makes the interface @tap a port of @bridge, unless it is one already or @bridge is NULL, and brings it up.
 * An interface that was @made for this gets an address of its own that leaves the bridge's as it is, if there
 * is one; an interface that was there keeps its address. A message says so if the bridge's address changes.
 * Returns 0, or -errno with what can be done about it in @err. @join says what was changed, also on error.
 */
int __must_check soft_join(struct soft_join *join, const struct soft_link *tap, bool made, const char *bridge,
			   struct error *err);

/* Undoes the changes in @join. Settings that the operator has changed since stay as they are. */
void soft_leave(const struct soft_join *join);

#endif
