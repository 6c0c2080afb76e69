/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's thread looks at the rings instead of sleeping. */
#include "devices/net/turn.h"

#include "devices/net/fault.h"
#include "devices/net/forward.h"

/* Turns between looks at the clock while nothing is found, which costs as much as some of them. */
#define NET_TURNS_IDLE 8u
/* And while packets move. */
#define NET_TURNS_BUSY 16u

/* Other events than packets wait for so long at most: timers, control commands, changes of the device's
 * configuration. A call of another thread does not wait. */
#define NET_TURN_EVENTS_NS 50000u

/* Data queues are the guest's and the device's to move: Ferry passes what they have. */
static bool net_turn_applies(const struct net *net)
{
	return net->phase == NET_PHASE_SHADOW && net_path_runs(&net->path);
}

static bool net_turn_queue(struct net_queue *q)
{
	bool used = svq_has_used(&q->svq);
	/* What waits for room in the shadow ring goes on when the device has used something. */
	bool avail = q->attached && !q->full && vring_has_avail(&q->vring);

	if (used)
		net_queue_complete(q);
	if (avail)
		net_queue_forward(q);
	return used || avail;
}

bool net_turn(struct net *net)
{
	bool found = false;

	for (unsigned int i = 0; i < net->path.n_data; i++)
		found |= net_turn_queue(&net->queues[i]);
	net_settle(net);
	return found;
}

void net_turn_begin(struct net *net)
{
	net->path.looking = true;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		struct net_queue *q = &net->queues[i];

		if (q->attached)
			vring_disable_kicks(&q->vring);
		if (q->svq.size > 0)
			svq_disable_calls(&q->svq);
	}
}

/* What was found meanwhile is dealt with here: either the kick or call for it comes, or the queue is seen to
 * have it. */
void net_turn_end(struct net *net)
{
	net->path.looking = false;
	for (unsigned int i = 0; i < net->path.n_data; i++) {
		net_queue_complete(&net->queues[i]);
		net_queue_forward(&net->queues[i]);
	}
	net_settle(net);
}

/* Some turns, up to the next look at the clock. */
static bool net_turns(struct net *net)
{
	unsigned int n_busy = 0;

	for (unsigned int n_idle = 0; n_idle < NET_TURNS_IDLE && n_busy < NET_TURNS_BUSY;) {
		if (loop_is_wanted(&net->loop) || !net_turn_applies(net))
			break;
		if (net_turn(net)) {
			n_busy++;
			n_idle = 0;
		} else {
			n_idle++;
			look_pause();
		}
	}
	return n_busy > 0;
}

/* Looks until other events are due (true), or there is nothing more to look for. */
static bool net_look(struct net *net)
{
	const uint64_t start = now_ns();
	uint64_t now = start;

	if (net->moved)
		look_found(&net->look, now, now);
	net->moved = false;
	while (net_turn_applies(net) && look_again(&net->look, now)) {
		const uint64_t before = now;
		bool found;

		if (!net->path.looking)
			net_turn_begin(net);
		found = net_turns(net);
		now = now_ns();
		if (found)
			look_found(&net->look, before, now);
		if (now - start >= NET_TURN_EVENTS_NS || loop_is_wanted(&net->loop))
			return true;
	}
	return false;
}

/* A call finds the NIC as it is without any of this. */
static bool net_idle(struct loop_idler *idler)
{
	struct net *net = container_of(idler, struct net, idler);
	bool again = !loop_is_wanted(&net->loop) && net_look(net);

	if (net->path.looking && (!again || loop_is_wanted(&net->loop)))
		net_turn_end(net);
	return again;
}

void net_turn_init(struct net *net, uint32_t us, unsigned int n_threads)
{
	if (us == 0)
		return;
	look_init(&net->look, us, n_threads);
	net->idler.fn = net_idle;
	net->loop.idler = &net->idler;
}
