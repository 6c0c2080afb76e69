/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory map of the NIC in software: what is mapped in each address space, and which space each group of
 * queues is in. On the device's thread. */
#ifndef FERRY_DEVICES_VDPA_SOFT_SPACES_H
#define FERRY_DEVICES_VDPA_SOFT_SPACES_H

#include "devices/vdpa/vdpa.h"
#include "vmm/memory.h"

/* The device has two address spaces, so that a driver can isolate the control queue in one of its own. */
enum { SOFT_GROUP_DATA, SOFT_GROUP_CTRL, SOFT_N_GROUPS };
#define SOFT_N_SPACES 2u

struct soft_spaces {
	struct memory spaces[SOFT_N_SPACES]; /* regions alone, no memfd, no log */
	unsigned int of_group[SOFT_N_GROUPS];
};

/* Puts all groups in space 0, as after a reset. Mappings stay. */
void soft_spaces_reset(struct soft_spaces *s);

/* Puts @group in space @asid. Returns 0, or -EINVAL if there is no such group or space. @name is the
 * device's, for the message, here and below. */
int __must_check soft_spaces_set_group(struct soft_spaces *s, const char *name, unsigned int group,
				       uint64_t asid, struct error *err);
/* Returns the memory in which the rings of a group, and their buffers, lie. */
struct memory *soft_spaces_memory(struct soft_spaces *s, unsigned int group);

/* Maps all regions and returns 0, or maps none and returns -EINVAL. */
int __must_check soft_spaces_map(struct soft_spaces *s, const char *name, const struct vdpa_region *regions,
				 unsigned int n, struct error *err);
/* Unmaps regions that were mapped with the same bounds. Returns 0, or -ENOENT if one of them was not; the
 * others are unmapped all the same. */
int __must_check soft_spaces_unmap(struct soft_spaces *s, const char *name, const struct vdpa_region *regions,
				   unsigned int n, struct error *err);

#endif
