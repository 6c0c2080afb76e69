/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vDPA device behind the NIC, one step of its life after the other: memory mapped, started, rings given,
 * reset. Takes ready rings, whosever they are, and decides nothing. The NIC's thread owns it. Functions that
 * return int return 0, or -errno with the reason.
 */
#ifndef FERRY_DEVICES_NET_BACKEND_H
#define FERRY_DEVICES_NET_BACKEND_H

#include "devices/net/path.h"
#include "devices/vdpa/vdpa.h"

/* The memory that the device has mapped. */
enum net_mapping {
	NET_MAP_NOTHING,
	/* Guest memory, and the control queue's part of the window where that has an address space of its
	   own. */
	NET_MAP_MEMORY,
	/* The whole window as well, for shadow rings. The guest's own rings must not reach it. */
	NET_MAP_WINDOW,
	/* As the two above, but a reset may have taken the mappings from the device and not from vhost: only
	 * to map anew is the same for all. It waits for the next start, for it takes long and a guest may
	 * have just left. */
	NET_MAP_STALE_MEMORY,
	NET_MAP_STALE_WINDOW,
};

struct net_backend {
	struct vdpa *vdpa;
	/* The backend reads its memory and window, and writes its live. */
	struct net_path *path;
	uint64_t features; /* negotiated with the device */
	/* The control queue's address space; 0: all queues share one. */
	uint64_t ctrl_asid;
	enum net_mapping mapping;
	/* The device is at DRIVER_OK, or on its way there, or reset with its rings still in memory. */
	bool started;
};

/* Whether the device reaches all of this guest's memory, and the window above. */
int __must_check net_backend_check_reach(const struct net_backend *b, struct error *err);
/* Maps or unmaps, so that the mapping is @want: NET_MAP_MEMORY or NET_MAP_WINDOW. */
int __must_check net_backend_map(struct net_backend *b, enum net_mapping want, struct error *err);

/*
 * From reset to FEATURES_OK with what @mapping says in reach. Rings follow, and then net_backend_go_live().
 */
int __must_check net_backend_begin(struct net_backend *b, uint64_t features, enum net_mapping mapping,
				   struct error *err);
/* Puts the control queue, @ctrl at the device, into its own address space, where there is one: a reset has
 * put it back. */
int __must_check net_backend_part(struct net_backend *b, unsigned int ctrl, struct error *err);
/* Gives the device the ring of queue @index and enables it. The queue's kick eventfd is emptied: the kernel
 * passes on at once what was signalled before. */
int __must_check net_backend_set_ring(struct net_backend *b, unsigned int index,
				      const struct vdpa_vring *vring, struct error *err);
/* DRIVER_OK: from here on the device may be kicked ("Driver Requirements: Device Initialization"). */
int __must_check net_backend_go_live(struct net_backend *b, struct error *err);

/* Whether the device is at DRIVER_OK and well. */
int __must_check net_backend_check_alive(struct net_backend *b, struct error *err);

/* Suspends the device: it leaves memory alone then. Goes on after that; @ctrl, the control queue at the
 * device or -1, is enabled again, which mlx5 needs. */
int __must_check net_backend_suspend(struct net_backend *b, struct error *err);
int __must_check net_backend_resume(struct net_backend *b, int ctrl, struct error *err);

/* Status 0: the device lets go of its rings, and is not kicked. net_backend_end() says that they are gone. */
int __must_check net_backend_reset(struct net_backend *b, struct error *err);
void net_backend_end(struct net_backend *b);

#endif
