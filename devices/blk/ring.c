/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver's ring, and serving it. */
#include "devices/blk/ring.h"

#include <errno.h>

#include "devices/virtio/pci_ring.h"

int blk_ring_find(const struct blk_ring *r, uint64_t features, const struct virtio_pci_place *place,
		  struct vring *vring, struct error *err)
{
	return virtio_pci_find_ring(vring, r->io.memory, 0, place, features, err);
}

void blk_ring_set(struct blk_ring *r, uint64_t features, const struct vring *vring)
{
	r->io.features = features;
	r->broken = false;
	r->has_ring = vring != NULL;
	if (vring)
		r->vring = *vring;
}

void blk_ring_set_broken(struct blk_ring *r)
{
	r->broken = true;
	r->running = false;
}

void blk_ring_kick(struct blk_ring *r)
{
	loop_signal(r->kick.fd);
}

static void blk_ring_break(struct blk_ring *r)
{
	blk_ring_set_broken(r);
	virtio_pci_needs_reset(r->virtio);
}

void blk_ring_attach(struct blk_ring *r)
{
	if (!r->has_ring)
		return;
	r->attached = loop_add(&r->io.thread->loop, &r->kick, EPOLLIN) == 0;
	if (!r->attached) {
		log_limited(&r->log_limit, LOG_ERROR, "%s: cannot watch the driver's kicks",
			    r->io.thread->disk);
		blk_ring_break(r);
		return;
	}
	r->running = true;
	/* The ring is served on the loop's next round, because a vCPU may wait for this call. */
	blk_ring_kick(r);
}

void blk_ring_detach(struct blk_ring *r)
{
	r->running = false;
	if (r->attached)
		loop_del(&r->io.thread->loop, &r->kick);
	r->attached = false;
	vring_exit(&r->vring);
	r->has_ring = false;
	r->half_done = 0;
}

/* Takes a request and answers it: 1 done, 0 there is none, -EINVAL for a broken ring; -EINTR where the thread
 * is wanted, and then the request is the ring's next again. */
static int blk_ring_serve_one(struct blk_ring *r)
{
	struct vring_chain chain;
	uint64_t done;
	uint32_t len;
	int ret = vring_pop(&r->vring, &chain);

	if (ret <= 0)
		return ret;
	done = chain.head == r->half_head ? r->half_done : 0;
	r->half_done = 0;
	ret = blk_io_do(&r->io, &chain, &done, &len);
	if (ret < 0) {
		r->half_head = chain.head;
		r->half_done = done;
		vring_unpop(&r->vring);
		return ret;
	}
	vring_push(&r->vring, chain.head, len);
	return 1;
}

static void blk_ring_serve(struct blk_ring *r)
{
	int ret = 1;

	while (ret > 0) {
		if (blk_thread_wanted(r->io.thread)) {
			ret = -EINTR;
			break;
		}
		vring_disable_kicks(&r->vring);
		ret = blk_ring_serve_one(r);
		if (vring_publish(&r->vring))
			virtio_pci_notify_queue(r->virtio, 0);
		if (ret == 0)
			ret = vring_enable_kicks(&r->vring);
	}
	if (ret == -EINTR) {
		/* The thread comes back here after what waits for it; after a pause, when resume() kicks. */
		if (!r->io.thread->paused)
			blk_ring_kick(r);
	} else if (ret < 0) {
		log_limited(&r->log_limit, LOG_WARN, "%s: stopped until the guest's driver resets it: %s",
			    r->io.thread->disk, r->vring.broken);
		blk_ring_break(r);
	}
}

static void blk_ring_kicked(struct loop_source *src, uint32_t events)
{
	struct blk_ring *r = container_of(src, struct blk_ring, kick);

	if (loop_take(src->fd) && r->running)
		blk_ring_serve(r);
}

void blk_ring_init(struct blk_ring *r, struct virtio_pci *virtio)
{
	r->virtio = virtio;
	r->kick = (struct loop_source){ .fd = virtio->queues[0].kick_fd, .fn = blk_ring_kicked };
}
