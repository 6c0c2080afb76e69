/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver's queue of an entropy device, and serving it: each buffer gets random bytes of the host's
 * kernel, which never waits for them. A guest has as many requests and bytes as it can need, and no more in
 * each stretch of time: what it asks for costs the host a known share of one CPU.
 *
 * The device's thread owns all of it from start to stop. Before and after, a vCPU with the transport's lock
 * does, or the migration's thread while vCPUs are stopped.
 */
#ifndef FERRY_DEVICES_RNG_QUEUE_H
#define FERRY_DEVICES_RNG_QUEUE_H

#include "devices/virtio/pci.h"
#include "devices/virtio/vring.h"
#include "vmm/loop_timer.h"

/* Entries of the ring: Linux's driver has one request under way. */
#define RNG_RING_SIZE 8u
/* Bytes of one request that are filled, however long the buffer: Linux asks for 64, or for a page. */
#define RNG_REQUEST_MAX 4096u
/* Requests that are served in a period: with the bytes of each, some 2.5 MiB a second at the most. */
#define RNG_PERIOD_REQUESTS 64u
#define RNG_PERIOD_MS       100

struct rng_queue {
	struct virtio_pci *virtio; /* for its kicks and notifications alone */
	struct memory *memory;
	struct loop *loop;
	const char *name; /* for messages */
	struct vring vring;
	bool has_ring; /* @vring is the driver's */
	/* The driver broke the ring's rules, and has to reset the device. */
	bool broken;
	bool running;            /* from start to stop */
	bool watching;           /* the driver's kicks are waited for; else, while running, @refill */
	struct loop_source kick; /* fd is the transport's */
	struct loop_timer refill;
	/* The period, now_ns(), and the requests that were served in it. */
	uint64_t period_end_ns;
	unsigned int n_served;
	struct log_limit log_limit;
};

/* Makes a queue without a ring. @loop must not run yet, and outlive it; @name, too. 0 or -errno. */
int __must_check rng_queue_init(struct rng_queue *q, struct virtio_pci *virtio, struct memory *memory,
				struct loop *loop, const char *name);
/* The queue is stopped, and the loop does not run. */
void rng_queue_exit(struct rng_queue *q);

/* Makes @vring of the ring that a driver with @features has put at @place, and changes nothing of @q. 0 or
 * -errno, with the reason. */
int __must_check rng_queue_find(const struct rng_queue *q, uint64_t features,
				const struct virtio_pci_place *place, struct vring *vring, struct error *err);

/* Takes over a driver's ring: @vring, or NULL for a driver that has enabled none. The queue is stopped. */
void rng_queue_set(struct rng_queue *q, const struct vring *vring);
/* The driver's ring cannot be served, and its next one is to come by rng_queue_set(). */
void rng_queue_set_broken(struct rng_queue *q);

/* Serves the ring from now on, with the requests that are in it already; a queue without a ring, or with a
 * broken one, stays stopped. On the device's thread, as the next two. */
void rng_queue_start(struct rng_queue *q);
/* Touches neither the ring nor guest memory any more. No request is in flight, as ever between two calls of
 * the thread. */
void rng_queue_stop(struct rng_queue *q);
/* Stops, and lets go of the ring. */
void rng_queue_drop(struct rng_queue *q);

#endif
