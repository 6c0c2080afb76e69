/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory map of the NIC in software: what is mapped in each address space, and which space each group of
 * queues is in. On the device's thread. */
#ifndef FERRY_DEVICES_VDPA_SOFT_SPACES_H
#define FERRY_DEVICES_VDPA_SOFT_SPACES_H

#include "devices/vdpa/vdpa.h"
#include "vmm/memory.h"

/* Two address spaces: whoever isolates the control queue gives it one of its own. */
enum { SOFT_GROUP_DATA, SOFT_GROUP_CTRL, SOFT_N_GROUPS };
#define SOFT_N_SPACES 2u

struct soft_spaces {
	struct memory spaces[SOFT_N_SPACES]; /* regions alone, without a memfd or a log */
	unsigned int of_group[SOFT_N_GROUPS];
};

/* All groups are in space 0 again; what is mapped stays. */
void soft_spaces_reset(struct soft_spaces *s);

/* -EINVAL: there is no such group or space; @name is the device's, for the message, as below. */
int __must_check soft_spaces_set_group(struct soft_spaces *s, const char *name, unsigned int group,
				       uint64_t asid, struct error *err);
/* The memory in which the rings of a group lie, and what they name. */
struct memory *soft_spaces_memory(struct soft_spaces *s, unsigned int group);

/* Maps all regions, or none: -EINVAL. */
int __must_check soft_spaces_map(struct soft_spaces *s, const char *name, const struct vdpa_region *regions,
				 unsigned int n, struct error *err);
/* Unmaps what was mapped with the same bounds; -ENOENT if one of the regions was not, the others are unmapped
 * all the same. */
int __must_check soft_spaces_unmap(struct soft_spaces *s, const char *name, const struct vdpa_region *regions,
				   unsigned int n, struct error *err);

#endif
