/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver's queue of an entropy device: see the header. */
#define _GNU_SOURCE
#include "devices/rng/queue.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "devices/virtio/pci_ring.h"

int rng_queue_find(const struct rng_queue *q, uint64_t features, const struct virtio_pci_place *place,
		   struct vring *vring, struct error *err)
{
	return virtio_pci_find_ring(vring, q->memory, 0, place, features, err);
}

void rng_queue_set(struct rng_queue *q, const struct vring *vring)
{
	q->broken = false;
	q->has_ring = vring != NULL;
	if (vring)
		q->vring = *vring;
}

void rng_queue_set_broken(struct rng_queue *q)
{
	q->broken = true;
}

static void rng_queue_break(struct rng_queue *q)
{
	rng_queue_stop(q);
	rng_queue_set_broken(q);
	virtio_pci_needs_reset(q->virtio);
}

/* Kicks are not watched while the queue rests, so that a guest which goes on kicking wakes nobody. */
static void rng_queue_rest(struct rng_queue *q, uint64_t until_ns)
{
	if (q->watching)
		loop_del(q->loop, &q->kick);
	q->watching = false;
	loop_timer_arm(&q->refill, until_ns);
}

/* Whether another request may be served now. */
static bool rng_queue_may_serve(struct rng_queue *q)
{
	uint64_t now = now_ns();

	if (now >= q->period_end_ns) {
		q->period_end_ns = now + RNG_PERIOD_MS * UINT64_C(1000000);
		q->n_served = 0;
	}
	return q->n_served < RNG_PERIOD_REQUESTS;
}

/* Takes a request and answers it: 1 done, 0 there is none, -EINVAL for a broken ring; -EAGAIN where the host
 * has no random bytes yet, and then the request is the ring's next again. */
static int rng_queue_serve_one(struct rng_queue *q)
{
	uint8_t bytes[RNG_REQUEST_MAX];
	struct vring_chain chain;
	ssize_t n;
	int ret = vring_pop(&q->vring, &chain);

	if (ret <= 0)
		return ret;
	n = getrandom(bytes, min_u64(chain.write_len, sizeof(bytes)), GRND_NONBLOCK);
	if (n < 0) {
		vring_unpop(&q->vring);
		return -EAGAIN;
	}
	vring_push(&q->vring, chain.head, vring_chain_write(q->memory, &chain, 0, bytes, (uint32_t)n));
	/* The guest's secrets are to be made of these, so they stay in no other memory than its own. */
	explicit_bzero(bytes, sizeof(bytes));
	q->n_served++;
	return 1;
}

static void rng_queue_serve(struct rng_queue *q)
{
	int ret = 1;

	while (ret > 0) {
		if (!rng_queue_may_serve(q)) {
			rng_queue_rest(q, q->period_end_ns);
			return;
		}
		vring_disable_kicks(&q->vring);
		ret = rng_queue_serve_one(q);
		if (vring_publish(&q->vring))
			virtio_pci_notify_queue(q->virtio, 0);
		if (ret == 0)
			ret = vring_enable_kicks(&q->vring);
	}
	if (ret == -EAGAIN) {
		rng_queue_rest(q, end_of(RNG_PERIOD_MS));
	} else if (ret < 0) {
		log_limited(&q->log_limit, LOG_WARN, "%s: stopped until the guest's driver resets it: %s",
			    q->name, q->vring.broken);
		rng_queue_break(q);
	}
}

static void rng_queue_kicked(struct loop_source *src, uint32_t events)
{
	struct rng_queue *q = container_of(src, struct rng_queue, kick);

	if (loop_take(src->fd))
		rng_queue_serve(q);
}

/* Watches the driver's kicks, and looks at what came before. Where the host cannot watch them now, the timer
 * brings the queue back here. */
static void rng_queue_watch(struct rng_queue *q)
{
	q->watching = loop_add(q->loop, &q->kick, EPOLLIN) == 0;
	if (q->watching)
		rng_queue_serve(q);
	else
		loop_timer_arm(&q->refill, end_of(RNG_PERIOD_MS));
}

static void rng_queue_refilled(struct loop_timer *timer)
{
	rng_queue_watch(container_of(timer, struct rng_queue, refill));
}

void rng_queue_start(struct rng_queue *q)
{
	if (!q->has_ring || q->broken || q->running)
		return;
	q->running = true;
	rng_queue_watch(q);
}

void rng_queue_stop(struct rng_queue *q)
{
	if (q->watching)
		loop_del(q->loop, &q->kick);
	q->watching = false;
	q->running = false;
	loop_timer_stop(&q->refill);
}

void rng_queue_drop(struct rng_queue *q)
{
	rng_queue_stop(q);
	vring_exit(&q->vring);
	q->has_ring = false;
}

int rng_queue_init(struct rng_queue *q, struct virtio_pci *virtio, struct memory *memory, struct loop *loop,
		   const char *name)
{
	*q = (struct rng_queue){ .virtio = virtio, .memory = memory, .loop = loop, .name = name };
	q->kick = (struct loop_source){ .fd = virtio->queues[0].kick_fd, .fn = rng_queue_kicked };
	return loop_timer_open(&q->refill, loop, rng_queue_refilled);
}

void rng_queue_exit(struct rng_queue *q)
{
	loop_timer_close(&q->refill);
}
