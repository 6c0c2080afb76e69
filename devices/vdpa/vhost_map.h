/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that a vDPA device of the host's kernel reaches: messages to its IOTLB, by address space, and
 * the pages of its doorbells. By the thread that owns the device.
 */
#ifndef FERRY_DEVICES_VDPA_VHOST_MAP_H
#define FERRY_DEVICES_VDPA_VHOST_MAP_H

#include "devices/vdpa/vdpa.h"

/* The kernel's own number, which reaches user space from the open of a node and from the mapping of a
 * doorbell. */
#define KERNEL_ENOTSUPP 524

/* An open node. The descriptor and the path belong to whoever fills this in. */
struct vhost_map {
	int fd;
	const char *path;     /* for messages */
	uint64_t first, last; /* inclusive IOVA that the device reaches */
	bool batches;         /* VHOST_BACKEND_F_IOTLB_BATCH was taken */
};

/*
 * As map() and unmap() of struct vdpa_ops. -ERANGE: a region is out of the device's reach; -EINVAL: it is not
 * made of whole pages; else what the kernel says. A failed vhost_map_add() leaves nothing of its regions
 * mapped, a failed vhost_map_remove() unmaps as many as it can.
 */
int __must_check vhost_map_add(const struct vhost_map *map, const struct vdpa_region *regions, unsigned int n,
			       struct error *err);
int __must_check vhost_map_remove(const struct vhost_map *map, const struct vdpa_region *regions,
				  unsigned int n, struct error *err);

/* As map_doorbell() of struct vdpa_ops. */
int __must_check vhost_map_doorbell(const struct vhost_map *map, unsigned int index, void **page,
				    struct error *err);

#endif
