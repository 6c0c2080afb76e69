/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vDPA device as the NIC sees it: one of the host's kernel (vhost.h), or one in software (soft/soft.h).
 * Each operation is one step of the vhost-vdpa interface (linux/vhost.h); the NIC alone decides on their
 * order. One thread at a time owns a device and calls its operations. Each returns 0, or -errno with the
 * reason in @err, unless it says otherwise.
 */
#ifndef FERRY_DEVICES_VDPA_VDPA_H
#define FERRY_DEVICES_VDPA_VDPA_H

#include "devices/virtio/virtio.h"
#include "vmm/guard.h"
#include "vmm/log.h"

struct vdpa;

struct vdpa_vring {
	uint16_t size;
	/* The device begins at this index in the available ring. */
	uint16_t base;
	uint64_t desc, avail, used; /* IOVA */
	/* The driver's side writes this eventfd, and does not before DRIVER_OK. */
	int kick_fd;
	int call_fd; /* eventfd, signalled by the device */
};

struct vdpa_region {
	uint64_t iova;
	uint64_t len;
	/* Memory of a file that is mapped MAP_SHARED, at the same offset in its page as @iova. */
	void *hva;
	uint64_t asid; /* address space; 0 if there is one alone */
};

struct vdpa_ops {
	/* Sets *@size to the largest ring of queue @index, 0 or a power of two, as the device has it with a
	 * driver that has accepted several queue pairs if they are offered. */
	int (*vring_size)(struct vdpa *vdpa, unsigned int index, uint16_t *size, struct error *err);
	int (*set_features)(struct vdpa *vdpa, uint64_t features, struct error *err);
	/* Sets the status byte and reads it back; -EIO says that the device did not take it. 0 resets. */
	int (*set_status)(struct vdpa *vdpa, uint8_t status, struct error *err);
	int (*get_status)(struct vdpa *vdpa, uint8_t *status, struct error *err);
	/* Reads at most 256 bytes at once. The kernel takes the features for 0 if set_features() has not been
	 * called before. */
	int (*get_config)(struct vdpa *vdpa, uint32_t offset, void *buf, uint32_t len, struct error *err);
	int (*set_config_call)(struct vdpa *vdpa, int fd, struct error *err);

	/* Maps one batch of regions readable and writable: every one, or none. */
	int (*map)(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err);
	int (*unmap)(struct vdpa *vdpa, const struct vdpa_region *regions, unsigned int n, struct error *err);

	/*
	 * Sets size, base, addresses and both eventfds. Called before DRIVER_OK, or while the device is
	 * suspended: then -EINVAL says that the kernel is too old for it. The caller keeps the eventfds open
	 * until a reset.
	 */
	int (*set_vring)(struct vdpa *vdpa, unsigned int index, const struct vdpa_vring *vring,
			 struct error *err);
	/*
	 * Maps the page in which a 2-byte write of the queue's number kicks queue @index: write-only, the
	 * caller's to munmap(). -ENOTSUP, without a reason: there is none. NULL: none for any queue.
	 */
	int (*map_doorbell)(struct vdpa *vdpa, unsigned int index, void **page, struct error *err);
	/* A suspended device takes what set_vring() has set when its queue is disabled and enabled again. */
	int (*enable_vring)(struct vdpa *vdpa, unsigned int index, bool on, struct error *err);
	/* Sets another call eventfd, at any time. */
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

	/* How long a device with a thread of its own looks for packets before that sleeps, as look_init() in
	 * vmm/look.h. Any time; NULL: it has none. */
	void (*look)(struct vdpa *vdpa, uint32_t us, unsigned int n_threads);

	void (*close)(struct vdpa *vdpa);
};

/* The advice says, in words for messages, what an operator does so that the device has another value. */
struct vdpa_advice {
	const char *mac, *mtu, *pairs;
	const char *ring; /* NULL: nothing can be done */
};

/* The facts of a device, which are known when it is opened and do not change. */
struct vdpa {
	const struct vdpa_ops *ops;
	/* The name for messages: the path of the node, or "soft:" and the port's name. */
	const char *name;
	struct vdpa_advice advice;
	uint64_t features;
	uint32_t config_len;
	unsigned int n_vqs;
	uint64_t iova_first, iova_last; /* inclusive */
	bool maps_persist;              /* a reset keeps the mappings */
	/* With 0 or 1 all queues share one address space. */
	unsigned int n_groups, n_asids;
	/* The control queue alone is in its group, and there are two address spaces. */
	bool ctrl_apart;
	bool can_suspend; /* and resume */
	/* Every queue uses its elements in the order in which they were made available, also where the driver
	 * has not negotiated that; and a packet is dropped that comes before the device has had a receive
	 * buffer. */
	bool in_order;
	/*
	 * Undoes changes that were made to the host, for guard_add(), if the process ends without
	 * ops->close(); NULL: there are none. ops->close() undoes them itself, and calls guard_del().
	 */
	struct guard_undo *undo;
	/* For what is said of the device each time that a NIC is put in front of it: a destination does so
	 * for each source that asks. */
	struct log_limit log_limit;
};

#endif
