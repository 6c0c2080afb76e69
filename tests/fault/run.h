/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One migration that meets a fault: its hosts, the line between them, and what is told to them. */
#ifndef FERRY_TESTS_FAULT_RUN_H
#define FERRY_TESTS_FAULT_RUN_H

#include "tests/fault/ends.h"
#include "tests/fault/link.h"
#include "tests/fault/shortage.h"
#include "tests/fault/ways.h"

/* A source, and its line to the destination. */
struct party {
	struct end end;
	struct end_report *report;
	struct link link;
	struct transport transport; /* behind the line, where it is not END_BY_SOCKET */
	int line_fd;                /* the other end of the source's connection, -1 once the line begins */
	int cancel_fd;              /* the operator's word to it */
	int second_fd;              /* the same as line_fd for a retry */
	/* For a retry at the same destination. */
	struct link again;
	struct transport again_transport;
};

struct run {
	const struct kind *kind;
	struct world *world;
	struct party source;
	/* Another one, to the same destination, if its line has begun or is about to. */
	struct party rival;
	_Atomic bool rival_begins, rival_began;
	struct end destination, second;
	struct end_plan plan;
	int leave_fd; /* calls off a destination's wait */
	/* The time of day of which host is set, and by how much. */
	unsigned int jump_at;
	int64_t jump_ns;
	/* Which process is killed; before anything is said. */
	enum way_process victim;
	bool early;
	/* What runs short, at which host. */
	enum shortage shortage;
	unsigned int short_at;
	const char *wrong;
};

/* Starts the hosts, the line between them, and a line for the retry, as @r->plan says. */
void run_begin(struct run *r);
/* Ends all that is left of them; sets @r->wrong where one had failed. */
void run_end(struct run *r);

/* Begins the rival's line, unless it has. Any thread. */
void run_begin_rival(struct run *r);

/* Whether the attempt at @e is over: 1 it says so, 0 the process has gone, -1 neither comes. Lets the
 * operator of a kind that hangs give up. */
int run_over(struct run *r, struct end *e);
/* Tells a source what to do next, and waits for the end of that. */
bool run_order(struct run *r, struct party *p, char what);
/* Starts a destination for the retry of @p, which is told nothing yet; or a line to the first one, which
 * waits still. */
void run_begin_second(struct run *r, struct party *p);
bool run_begin_again(struct run *r, struct party *p);

#endif
