/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of faults: see the header. */
#include "tests/fault/kinds.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* Frames of a migration of such a guest, at most: where a fault may be. */
#define FRAMES_THERE 34u
#define FRAMES_BACK  5u

uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void act_cancel(struct run *r)
{
	eventfd_write(r->source.cancel_fd, 1);
}

static void act_kill_source(struct run *r)
{
	kill(r->source.end.pid, SIGKILL);
}

static void act_kill_destination(struct run *r)
{
	kill(r->destination.pid, SIGKILL);
}

static void act_end_guest(struct run *r)
{
	send(r->source.end.fd, &(char){ END_GUEST }, 1, MSG_NOSIGNAL);
}

static void plan_refuse_accept(struct run *r, uint64_t *random)
{
	r->plan.refuse_accept = "another NIC";
}

static void plan_refuse_warm(struct run *r, uint64_t *random)
{
	r->plan.refuse_warm = "VLAN_ADD 17 refused";
}

static void plan_refuse_load(struct run *r, uint64_t *random)
{
	r->plan.refuse_load = "ring out of bounds";
}

const struct kind kinds[] = {
	{ "none", LINK_WELL, KIND_MOVES, NULL, NULL, NULL },
	{ "connection cut", LINK_CUT, KIND_UNSURE, NULL, NULL, NULL },
	{ "connection half open", LINK_HALF, KIND_HANGS | KIND_UNSURE, NULL, NULL, NULL },
	{ "connection stalls", LINK_STALL, KIND_MOVES, NULL, NULL, NULL },
	{ "a byte at a time", LINK_DRIP, KIND_MOVES, NULL, NULL, NULL },
	{ "a bit changed", LINK_FLIP, KIND_HANGS | KIND_UNSURE | KIND_LIES, NULL, NULL, NULL },
	{ "operator cancels", LINK_CALL, 0, NULL, act_cancel, "cancelled" },
	{ "source killed", LINK_CALL, KIND_SOURCE_ENDS, NULL, act_kill_source, NULL },
	{ "destination killed", LINK_CALL, KIND_DESTINATION_ENDS, NULL, act_kill_destination, "closed" },
	{ "guest ends", LINK_CALL, KIND_GUEST_ENDS, NULL, act_end_guest, NULL },
	{ "device does not match", LINK_WELL, KIND_STAYS, plan_refuse_accept, NULL, "another NIC" },
	{ "control state refused", LINK_WELL, KIND_STAYS, plan_refuse_warm, NULL, "VLAN_ADD 17 refused" },
	{ "last state refused", LINK_WELL, KIND_STAYS, plan_refuse_load, NULL, "ring out of bounds" },
};
const unsigned int n_kinds = ARRAY_SIZE(kinds);

static void act(void *opaque)
{
	struct run *r = opaque;

	r->kind->act(r);
}

void kind_plan(struct run *r, uint64_t *random)
{
	struct link *l = &r->source.link;

	l->fault = r->kind->fault;
	/* Short frames are as dangerous as long ones, and few. */
	if (next_random(random) & 1)
		l->at_type = (int)(next_random(random) % (STREAM_N_TYPES - 1)) + 1;
	l->way = next_random(random) % 3 ? LINK_THERE : LINK_BACK;
	l->frame = (unsigned int)(next_random(random) % (l->way == LINK_THERE ? FRAMES_THERE : FRAMES_BACK));
	l->place = next_random(random) >> 1;
	l->ms = (unsigned int)(next_random(random) % 100);
	l->act = act;
	l->opaque = r;
	r->plan = (struct end_plan){ .seed = next_random(random) >> 8,
				     .n_changes = (unsigned int)(next_random(random) % 4),
				     .writes = next_random(random) & 1 };
	if (r->kind->plan)
		r->kind->plan(r, random);
}
