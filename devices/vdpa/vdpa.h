/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vDPA device as the NIC sees it. Each operation is one step of the vhost-vdpa interface
 * (linux/vhost.h); the NIC alone decides on their order. One owner thread at a time. All return 0 or -errno
 * with the reason in @err, unless they say otherwise.
 */
#ifndef FERRY_DEVICES_VDPA_VDPA_H
#define FERRY_DEVICES_VDPA_VDPA_H

#include "devices/virtio/virtio.h"
#include "vmm/guard.h"
#include "vmm/log.h"

struct vdpa;

struct vdpa_vring {
	uint16_t size;
	uint16_t base;              /* index in the available ring to begin at */
	uint64_t desc, avail, used; /* IOVA */
	int kick_fd;                /* eventfd, written by the driver side; not signalled before DRIVER_OK */
	int call_fd;                /* eventfd, signalled by the device */
};

struct vdpa_region {
	uint64_t iova;
	uint64_t len;
	void *hva;     /* memory of a file mapped MAP_SHARED, same offset in its page as @iova */
	uint64_t asid; /* address space; 0 where the device has one alone */
};

struct vdpa_ops {
	/* The largest ring of queue @index, as it is where the driver has accepted several queue pairs if
	 * they are offered: 0 or a power of two. */
	int (*vring_size)(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err);
	int (*set_features)(struct vdpa *vdpa, uint64_t features, struct error *err);
	/* Sets the status byte and reads it back: -EIO if the device did not take it. 0 resets. */
	int (*set_status)(struct vdpa *vdpa, uint8_t status, struct error *err);
	int (*get_status)(struct vdpa *vdpa, uint8_t *status, struct error *err);
	/* At most 256 bytes at once. Before set_features() the kernel makes the features 0 for it. */
	int (*get_config)(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len, struct error *err);
	int (*set_config_call)(struct vdpa *vdpa, int fd, struct error *err);

	/* One batch: every region is mapped readable and writable, or none is and the reason is given. */
	int (*map)(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err);
	int (*unmap)(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err);

	/* Size, base, addresses, call, kick. Before DRIVER_OK, or while suspended: then with -EINVAL where
	 * the kernel is too old for it. The eventfds stay open until a reset. */
	int (*set_vring)(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			 struct error *err);
	/*
	 * Maps the page in which a 2-byte write of the queue's number kicks queue @index: write-only, the
	 * caller's to munmap(). -ENOTSUP, without a reason: there is none. NULL: none for any queue.
	 */
	int (*map_doorbell)(struct vdpa *vdpa, unsigned int index, void **page, struct error *err);
	/* Once it is disabled and enabled again a device that is suspended takes what set_vring() has set
	 * since. */
	int (*enable_vring)(struct vdpa *vdpa, unsigned int index, bool on, struct error *err);
	/* Another call eventfd, at any time. */
	int (*set_vring_call)(struct vdpa *vdpa, unsigned int index, int fd, struct error *err);

	/* Only where @n_groups is above 1, between set_features() and DRIVER_OK. Every group is in address
	 * space 0 after a reset. */
	int (*vring_group)(struct vdpa *vdpa, unsigned int index, unsigned int *group, struct error *err);
	int (*set_group_asid)(struct vdpa *vdpa, unsigned int group, uint64_t asid, struct error *err);
	/*
	 * Only where @can_suspend. A suspended device has nothing in flight: what it took is used, what it
	 * did not take is in its rings from the base on; and it leaves memory alone until it is resumed.
	 */
	int (*suspend)(struct vdpa *vdpa, struct error *err);
	int (*resume)(struct vdpa *vdpa, struct error *err);
	int (*get_vring_base)(struct vdpa *vdpa, unsigned int index, uint16_t *base, struct error *err);

	void (*close)(struct vdpa *vdpa);
};

/* For messages: what an operator does so that the device has another value. */
struct vdpa_advice {
	const char *mac, *mtu, *pairs;
	const char *ring; /* NULL: nothing can be done */
};

/* Facts of a device, read when it is opened. */
struct vdpa {
	const struct vdpa_ops *ops;
	const char *name; /* for messages: the path of the node */
	struct vdpa_advice advice;
	uint64_t features;
	uint32_t config_len;
	unsigned int n_vqs;
	uint64_t iova_first, iova_last; /* inclusive */
	bool maps_persist;              /* a reset keeps the mappings */
	unsigned int n_groups, n_asids; /* 0 or 1: all queues share one address space */
	bool ctrl_apart;  /* the control queue alone is in its group, and there are two spaces */
	bool can_suspend; /* and resume */
	/* Every queue uses its elements in the order in which they were made available, negotiated or not;
	 * and what comes before it has ever had a receive buffer is dropped. */
	bool in_order;
	/*
	 * Gives back what was changed on the host where the process ends without ops->close(): for
	 * guard_add(), NULL if nothing was changed. ops->close() gives it back itself, and calls guard_del().
	 */
	struct guard_undo *undo;
};

/*
 * Opens /dev/vhost-vdpa-N, resets it, and takes ownership of it. A device that is not a NIC, in use, not
 * accessible, or whose driver lacks what Ferry needs is refused with what to do about it. Closed with
 * ops->close().
 */
int __must_check vhost_vdpa_open(struct vdpa **vdpa, const char *path, struct error *err);

#endif
