/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's ring, and serving it: one request at a time, in the order they come, each answered when it is
 * done, for the next one can take long.
 *
 * The disk's thread owns all of it while the driver's ring is attached. Before and after, a vCPU with the
 * transport's lock does, or the migration's thread while vCPUs are stopped.
 */
#ifndef FERRY_DEVICES_BLK_RING_H
#define FERRY_DEVICES_BLK_RING_H

#include "devices/blk/io.h"
#include "devices/virtio/pci.h"

struct blk_ring {
	struct blk_io io;
	struct virtio_pci *virtio; /* for its kicks and notifications alone */
	struct vring vring;
	bool has_ring; /* @vring is the driver's */
	bool attached; /* the driver's kicks are watched */
	bool running;  /* requests are served */
	/* The driver broke the ring's rules, and has to reset the disk. */
	bool broken;
	struct loop_source kick; /* fd is the transport's */
	/* The request that was put back, by its head: see blk_io_do(). */
	uint16_t half_head;
	uint64_t half_done;
	struct log_limit log_limit;
};

/* @io is complete, but for features. */
void blk_ring_init(struct blk_ring *r, struct virtio_pci *virtio);

/* Makes @vring of the ring that a driver with @features has put at @place, and changes nothing of @r. 0 or
 * -errno, with the reason. */
int __must_check blk_ring_find(const struct blk_ring *r, uint64_t features,
			       const struct virtio_pci_place *place, struct vring *vring, struct error *err);

/* Takes a driver's ring over: @vring, or NULL for a driver that has enabled none, or is gone. */
void blk_ring_set(struct blk_ring *r, uint64_t features, const struct vring *vring);
/* The driver's ring cannot be served, and its next one is to come by blk_ring_set(). */
void blk_ring_set_broken(struct blk_ring *r);

/* Begins to serve the ring, with the requests that are in it already. */
void blk_ring_attach(struct blk_ring *r);
/* Stops serving it, and lets go of it. No request is in flight, as ever between two calls of the thread. */
void blk_ring_detach(struct blk_ring *r);

/* Has the thread look at the ring soon. Any thread. */
void blk_ring_kick(struct blk_ring *r);

#endif
