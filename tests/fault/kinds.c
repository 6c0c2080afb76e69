/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of faults: see the header. */
#include "tests/fault/kinds.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "tests/fault/versions.h"

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

#define SECOND_NS INT64_C(1000000000)

/* What a destination allows the clocks: more than a HELLO is on its way on a loaded host. */
#define SKEW_NS (60 * SECOND_NS)

/* @least seconds to some days, either way. */
static int64_t draw_jump(uint64_t *random, unsigned int least)
{
	int64_t ns = (int64_t)(next_random(random) % 999 + least) * SECOND_NS;

	if (next_random(random) & 1)
		ns *= 1000;
	return next_random(random) & 1 ? ns : -ns;
}

static void plan_clock_set(struct run *r, uint64_t *random)
{
	struct link *l = &r->source.link;

	r->jump_ns = draw_jump(random, 1);
	r->jump_at = next_random(random) & 1 ? WORLD_SOURCE : WORLD_DESTINATION;
	/* What has been compared does not matter any more. */
	if (l->at_type != STREAM_HELLO && (l->at_type || l->way == LINK_BACK || l->frame > 0))
		r->plan.clock_skew_ns = SKEW_NS;
}

static void act_set_clock(struct run *r)
{
	r->world->clock_ns[r->jump_at] += r->jump_ns;
}

static void plan_clocks_apart(struct run *r, uint64_t *random)
{
	r->plan.way_in = END_BY_DOOR;
	r->plan.clock_skew_ns = SKEW_NS;
	r->world->clock_ns[next_random(random) & 1 ? WORLD_SOURCE : WORLD_DESTINATION] =
		draw_jump(random, 200);
}

static void plan_version_1(struct run *r, uint64_t *random)
{
	r->source.link.edit = version_1;
}

static void plan_later_source(struct run *r, uint64_t *random)
{
	r->plan.way_in = END_BY_DOOR;
	r->source.link.edit = version_of_a_later_source;
}

static void plan_later_destination(struct run *r, uint64_t *random)
{
	r->source.link.edit = version_of_a_later_destination;
}

static void plan_rivals(struct run *r, uint64_t *random)
{
	r->plan.way_in = END_BY_DOOR;
	/* Half of them at the first words. */
	if (next_random(random) & 1)
		r->source.link.at_type = STREAM_HELLO;
}

static void plan_victim(struct run *r, uint64_t *random, enum end_way_in way_in,
			const enum way_process *victims, unsigned int n)
{
	r->plan.way_in = way_in;
	r->victim = victims[next_random(random) % n];
	r->early = next_random(random) % 8 == 0;
}

static void plan_door_killed(struct run *r, uint64_t *random)
{
	static const enum way_process victims[] = { WAY_DOOR };

	plan_victim(r, random, END_BY_DOOR, victims, ARRAY_SIZE(victims));
}

static void plan_call_killed(struct run *r, uint64_t *random)
{
	static const enum way_process victims[] = { WAY_NEAR, WAY_PART, WAY_PART };

	plan_victim(r, random, END_BY_CALL, victims, ARRAY_SIZE(victims));
}

static void plan_tls_killed(struct run *r, uint64_t *random)
{
	static const enum way_process victims[] = { WAY_NEAR, WAY_FAR, WAY_DOOR };

	plan_victim(r, random, END_BY_TLS, victims, ARRAY_SIZE(victims));
}

static void act_kill_process(struct run *r)
{
	way_kill(r->world, r->destination.pid, &r->source.transport, r->victim, r->source.link.place);
}

/* At the destination most of what a guest needs is taken at its HELLO. */
static void plan_shortage(struct run *r, uint64_t *random, enum shortage what)
{
	r->shortage = what;
	r->short_at = next_random(random) % 4 ? WORLD_DESTINATION : WORLD_SOURCE;
	if (next_random(random) & 1)
		r->source.link.at_type = STREAM_HELLO;
}

static void plan_descriptors(struct run *r, uint64_t *random)
{
	plan_shortage(r, random, SHORTAGE_DESCRIPTORS);
}

static void plan_memory(struct run *r, uint64_t *random)
{
	plan_shortage(r, random, SHORTAGE_MEMORY);
}

static void plan_locked(struct run *r, uint64_t *random)
{
	plan_shortage(r, random, SHORTAGE_LOCKED);
	r->short_at = WORLD_DESTINATION;
	r->plan.pins = true;
}

static void plan_files(struct run *r, uint64_t *random)
{
	plan_shortage(r, random, SHORTAGE_FILES);
	/* What a process may have for good only its end gives back. */
	r->short_at = WORLD_DESTINATION;
}

/* A limit that is meant for files on disk counts for those in memory, too, which a guest is made of. */
static void plan_report_lost(struct run *r, uint64_t *random)
{
	plan_shortage(r, random, SHORTAGE_DISK);
	/* A folder of the migration's own. */
	r->plan.way_in = END_BY_DOOR;
	r->plan.keeps_report = next_random(random) & 1;
	if (!r->plan.keeps_report)
		strcpy(r->plan.report, "/dev/full");
}

static void act_run_short(struct run *r)
{
	const struct end *e = r->short_at == WORLD_SOURCE ? &r->source.end : &r->destination;

	shortage_begin(r->shortage, e->pid, &r->world->left[r->short_at], r->source.link.place);
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
	{ "destination killed", LINK_CALL, KIND_DESTINATION_ENDS | KIND_UNSURE, NULL, act_kill_destination,
	  "closed" },
	{ "guest ends", LINK_CALL, KIND_GUEST_ENDS, NULL, act_end_guest, NULL },
	{ "device does not match", LINK_WELL, KIND_STAYS, plan_refuse_accept, NULL, "another NIC" },
	{ "control state refused", LINK_WELL, KIND_STAYS, plan_refuse_warm, NULL, "VLAN_ADD 17 refused" },
	{ "last state refused", LINK_WELL, KIND_STAYS, plan_refuse_load, NULL, "ring out of bounds" },
	{ "peer of version 1", LINK_WELL, KIND_MOVES | KIND_OLD, plan_version_1, NULL, NULL },
	{ "source of a later version", LINK_WELL, KIND_STAYS | KIND_REFUSED, plan_later_source, NULL,
	  "of the migration protocol, this Ferry versions 1 to 2" },
	{ "destination of a later one", LINK_WELL, KIND_STAYS, plan_later_destination, NULL,
	  "READY frame of 8 bytes for version" },
	{ "clock set", LINK_CALL, KIND_MOVES, plan_clock_set, act_set_clock, NULL },
	{ "clocks apart", LINK_WELL, KIND_STAYS | KIND_REFUSED, plan_clocks_apart, NULL,
	  "the source's clock is " },
	{ "descriptors run out", LINK_CALL, 0, plan_descriptors, act_run_short, "Too many open files" },
	{ "memory runs out", LINK_CALL, 0, plan_memory, act_run_short,
	  "out of memory|Cannot allocate memory|temporarily unavailable" },
	{ "lockable memory runs out", LINK_CALL, 0, plan_locked, act_run_short,
	  "the limit of locked memory is|cannot pin" },
	{ "files cannot grow", LINK_CALL, 0, plan_files, act_run_short, "File too large" },
	{ "the report's disk is full", LINK_CALL, KIND_MOVES, plan_report_lost, act_run_short, NULL },
	{ "two sources", LINK_CALL, KIND_RIVALS, plan_rivals, run_begin_rival,
	  "another source was faster|has its guest already|the peer has closed the connection" },
	{ "door killed", LINK_CALL, KIND_WAIT_ENDS, plan_door_killed, act_kill_process, NULL },
	{ "ferry connect killed", LINK_CALL, KIND_UNSURE, plan_call_killed, act_kill_process, NULL },
	{ "ferry-tls killed", LINK_CALL, KIND_UNSURE | KIND_TLS, plan_tls_killed, act_kill_process, NULL },
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
