/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread of the NIC in software looks instead of sleeping: see the header. */
#include "devices/vdpa/soft/turn.h"

#include "devices/vdpa/soft/life.h"

/* Looks at the rings for one at the port, which is a system call. */
#define SOFT_TURNS 16u

/* Serves the transmit queues that have packets. Returns whether there were any. */
static bool soft_turn(struct soft *soft)
{
	bool found = false;

	for (unsigned int i = 0; i < soft->steering.n_tx; i++) {
		struct soft_queue *q = &soft->queues[virtio_net_tx(i)];

		if (!soft_serves(soft, q) || !vring_has_avail(&q->vring))
			continue;
		soft_serve(soft, q);
		found = true;
	}
	return found;
}

static void soft_turn_begin(struct soft *soft)
{
	soft->looking = true;
	for (unsigned int i = 0; i < soft->n_pairs; i++) {
		struct soft_queue *q = &soft->queues[virtio_net_tx(i)];

		if (q->live)
			vring_disable_kicks(&q->vring);
	}
}

/* A queue that is served asks for kicks again, and what came meanwhile is sent. */
static void soft_turn_end(struct soft *soft)
{
	soft->looking = false;
	for (unsigned int i = 0; i < soft->n_pairs; i++)
		soft_serve(soft, &soft->queues[virtio_net_tx(i)]);
}

static bool soft_look(struct soft *soft)
{
	uint64_t now = now_ns();

	if (soft->moved)
		look_found(&soft->look, now, now);
	soft->moved = false;
	if (!soft_runs(soft) || !look_again(&soft->look, now))
		return false;
	if (!soft->looking)
		soft_turn_begin(soft);
	for (unsigned int i = 0; i < SOFT_TURNS && !loop_is_wanted(&soft->loop) && !soft_turn(soft); i++)
		look_pause();
	return true;
}

/* Packets that the port has are events of the loop. */
static bool soft_idle(struct loop_idler *idler)
{
	struct soft *soft = container_of(idler, struct soft, idler);
	bool again = soft->look.most_ns > 0 && !loop_is_wanted(&soft->loop) && soft_look(soft);

	if (soft->looking && !again)
		soft_turn_end(soft);
	return again;
}

void soft_turn_init(struct soft *soft)
{
	soft->idler.fn = soft_idle;
	soft->loop.idler = &soft->idler;
}

void soft_turn_set(struct soft *soft, uint32_t us, unsigned int n_threads)
{
	look_init(&soft->look, us, n_threads);
}
