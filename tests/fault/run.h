/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One migration that meets a fault: its hosts, the line between them, and what is told to them. */
#ifndef FERRY_TESTS_FAULT_RUN_H
#define FERRY_TESTS_FAULT_RUN_H

#include "tests/fault/ends.h"
#include "tests/fault/link.h"

/* A source, and its line to the destination. */
struct party {
	struct end end;
	struct end_report *report;
	struct link link;
	int cancel_fd; /* the operator's word to it */
	int second_fd; /* the other end of its line for a retry, -1 once that is used */
};

struct run {
	const struct kind *kind;
	struct world *world;
	struct party source;
	struct end destination, second;
	struct end_plan plan;
	int leave_fd; /* calls off a destination's wait */
	const char *wrong;
};

/* Starts both hosts, the line between them, and a line for the retry, as @r->plan says. */
void run_begin(struct run *r);
/* Ends all that is left of them. */
void run_end(struct run *r);

/* Whether the attempt at @e is over: 1 it says so, 0 the process has gone, -1 neither comes. Lets the
 * operator of a kind that hangs give up. */
int run_over(struct run *r, struct end *e);
/* Tells a source what to do next, and waits for the end of that. */
bool run_order(struct run *r, struct party *p, char what);
/* Starts a destination for the retry of @p, which is told nothing yet. */
void run_begin_second(struct run *r, struct party *p);

#endif
