/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A packet's way: chains from the guest's ring into the shadow ring and back. */
#include "devices/net/forward.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "devices/net/announce.h"
#include "devices/net/scratch.h"

/* Milliseconds between looks at a ring that no call comes for. */
#define NET_FLUSH_STEP_MS 1

/* Chains that one queue may move before the others have their turn. */
#define NET_BUDGET 256u

/* Gives a chain to the device: 0, -ENOSPC when the shadow ring has no room now. */
static int net_queue_submit(struct net_queue *q, const struct vring_chain *chain)
{
	int ret;

	if (chain->n_read + chain->n_write == 0) {
		vring_push(&q->vring, chain->head, 0);
		return 0;
	}
	ret = svq_add(&q->svq, chain->segs, chain->n_read, chain->n_write,
		      net_token(NET_OWNER_GUEST, chain->head));
	if (ret == 0)
		q->counts.bytes += chain->read_len;
	return ret;
}

/* Gives held chains to the device, but for as many as scratch buffers may still need: 0, -ENOSPC, -EINVAL. */
static int net_queue_submit_held(struct net_queue *q)
{
	uint32_t next = q->scratch.n;
	int ret = 0;

	if (q->n_held <= q->scratch.n)
		return 0;
	assert(q->held);
	while (ret == 0 && next < q->n_held) {
		struct vring_chain chain;

		ret = vring_reread(&q->vring, q->held[next], &chain);
		if (ret == 1)
			ret = net_queue_submit(q, &chain);
		if (ret == 0)
			next++;
	}
	memmove(&q->held[q->scratch.n], &q->held[next], (q->n_held - next) * sizeof(q->held[0]));
	q->n_held -= next - q->scratch.n;
	return ret;
}

/* Takes a chain from the guest: 1 done, 0 there is none, -ENOSPC, -EINVAL. */
static int net_queue_take(struct net_queue *q)
{
	struct vring_chain chain;
	int ret = vring_pop(&q->vring, &chain);

	if (ret <= 0)
		return ret;
	if (q->n_held < q->scratch.n) {
		q->held[q->n_held++] = chain.head;
		return 1;
	}
	ret = net_queue_submit(q, &chain);
	if (ret < 0) {
		vring_unpop(&q->vring);
		return ret;
	}
	return 1;
}

void net_queue_fill(struct net_queue *q)
{
	/* Chains without segments take no room in the shadow ring, and a guest can add them for ever. */
	unsigned int left = q->held ? q->vring.setup.size : 0;

	if (left > 0 && net_queue_submit_held(q) == 0) {
		while (left > 0 && net_queue_take(q) == 1)
			left--;
	}
	net_queue_publish(q);
}

/*
 * A kick is asked for when there was nothing left after the last one was passed on: what the guest adds while
 * the device is told of the rest comes without one, and a kick is dear to its vCPU. Where the thread looks
 * again in any case none is.
 */
void net_queue_forward(struct net_queue *q)
{
	unsigned int n = 0, n_shown = 0;
	int ret;

	if (!q->attached || !net_path_runs(q->path))
		return;
	ret = net_queue_submit_held(q);
	while (ret == 0) {
		vring_disable_kicks(&q->vring);
		do {
			ret = net_queue_take(q);
		} while (ret == 1 && ++n < NET_BUDGET);
		if (n == NET_BUDGET) {
			/* The other queues have their turn first. */
			if (!q->path->looking)
				loop_signal(q->kick.fd);
			break;
		}
		if (ret < 0 || q->path->looking || (n == n_shown && !vring_enable_kicks(&q->vring)))
			break;
		net_queue_publish(q);
		n_shown = n;
	}
	q->full = ret == -ENOSPC;
	if (ret == -EINVAL) {
		net_path_fail(q->path, "queue %u: %s", q->guest_index, q->vring.broken);
		return;
	}
	net_queue_publish(q);
	net_queue_publish_used(q);
}

/* The device has used a chain of the guest's: NET_OWNER_GUEST. */
static inline void net_guest_used(struct net_queue *q, const struct svq_used *used)
{
	uint16_t head = (uint16_t)used->token;

	q->counts.buffers++;
	q->counts.bytes += used->len;
	for (uint16_t i = 0; q->logged && i < used->n_written; i++)
		memory_mark_logged(q->path->memory, used->written[i].addr, used->written[i].len);
	if (net_scratch_passes(q))
		vring_push(&q->vring, head, used->len);
	else
		q->held[q->n_held++] = head;
}

/* Takers of an element that completes, by its owner. */
static void (*const net_owners[])(struct net_queue *q, const struct svq_used *used) = {
	[NET_OWNER_GUEST] = net_guest_used,
	[NET_OWNER_SCRATCH] = net_scratch_used,
	[NET_OWNER_ANNOUNCE] = net_announce_used,
};

/* Takes what the device has used: how much, or -EINVAL. */
static int net_queue_take_used(struct net_queue *q)
{
	struct svq_used used;
	int ret, n = 0;

	while ((ret = svq_get_used(&q->svq, &used)) == 1) {
		if (used.fresh)
			q->logged = memory_is_logged(q->path->memory);
		/* A direct call for nearly all: the compiler has it in this loop. */
		if (used.token >> 32 == NET_OWNER_GUEST)
			net_guest_used(q, &used);
		else
			net_owners[used.token >> 32](q, &used);
		if (net_path_failed(q->path))
			return -EINVAL;
		n++;
	}
	if (ret < 0)
		net_path_fail(q->path, "queue %u: %s", q->guest_index, q->svq.broken);
	return ret < 0 ? ret : n;
}

void net_queue_take_back(struct net_queue *q)
{
	q->scratch.to_drop = q->svq.n_in_flight;
	if (q->held && net_queue_take_used(q) < 0)
		return;
	q->scratch.to_drop = 0;
}

/* As with kicks: a call is asked for when there was nothing left after the guest was told of the rest. */
void net_queue_complete(struct net_queue *q)
{
	int n;

	if (q->svq.size == 0 || net_path_failed(q->path))
		return;
	do {
		svq_disable_calls(&q->svq);
		n = net_queue_take_used(q);
		if (n < 0)
			return;
		if (q->held)
			net_queue_publish_used(q);
	} while (!q->path->looking && (n > 0 || svq_enable_calls(&q->svq)));
	net_queue_publish(q);
	if (q->full || q->n_held > q->scratch.n)
		net_queue_forward(q);
}

void net_queue_flush(struct net_queue *q, uint64_t end_ns)
{
	struct pollfd call = { .fd = q->call.fd, .events = POLLIN };

	for (;;) {
		loop_take(call.fd);
		net_queue_complete(q);
		if (net_is_rx(q) || q->svq.n_in_flight == 0 || net_path_failed(q->path) || now_ns() >= end_ns)
			return;
		/* The guest may have asked for calls that come late. */
		poll(&call, 1, NET_FLUSH_STEP_MS);
	}
}

void net_queue_forget(struct net_queue *q)
{
	net_scratch_stop(q);
	svq_exit(&q->svq);
	q->announced = 0;
}
