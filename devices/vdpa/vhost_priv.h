/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vhost.c (opening, ioctls) and vhost_map.c (what the device reaches of memory). */
#ifndef FERRY_DEVICES_VDPA_VHOST_PRIV_H
#define FERRY_DEVICES_VDPA_VHOST_PRIV_H

#include "devices/vdpa/vdpa.h"

/* Behind virtio.h: both define the flags of rings. */
#include <linux/vhost.h>

/* The kernel's own, reaches user space from the open of a node and from a doorbell's mapping. */
#define KERNEL_ENOTSUPP 524

struct vhost_vdpa {
	struct vdpa vdpa;
	int fd;
	uint64_t backend_features;
	uint16_t *sizes; /* of the largest rings, by queue */
	char path[];
};

static inline struct vhost_vdpa *vhost_vdpa_of(struct vdpa *vdpa)
{
	return container_of(vdpa, struct vhost_vdpa, vdpa);
}

/* As in struct vdpa_ops. */
int __must_check vhost_vdpa_map(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n,
				struct error *err);
int __must_check vhost_vdpa_unmap(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n,
				  struct error *err);
int __must_check vhost_vdpa_map_doorbell(struct vdpa *vdpa, unsigned int index, void **page,
					 struct error *err);

#endif
