/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has become of the guest: see the header. */
#include "tests/fault/judge.h"

#include <string.h>
#include <sys/eventfd.h>

#include "tests/fault/kinds.h"

const char *const outcomes[OUTCOME_N] = {
	[OUTCOME_STAYED] = "stayed, retry moved",           [OUTCOME_MOVED] = "moved",
	[OUTCOME_RESUMED] = "paused, resumed, retry moved", [OUTCOME_SPLIT_AVOIDED] = "paused, runs there",
	[OUTCOME_LOST_HOST] = "its host was killed",
};

static bool judge_same(const struct end_report *a, const struct end_report *b)
{
	return a->memory == b->memory && a->registers == b->registers && a->warm == b->warm &&
	       a->state == b->state;
}

/* A migration that works, to prove that what went before has left no trace. */
static void judge_retry(struct run *r, struct party *p)
{
	struct end_report *second = &r->world->ends[WORLD_SECOND];

	run_begin_second(r, p);
	if (!run_order(r, p, END_RETRY) || p->report->result != SOURCE_MOVED)
		r->wrong = "the retry does not move the guest";
	else if (run_over(r, &r->second) != 1 || !second->runs)
		r->wrong = "after the retry the guest runs nowhere";
	else if (p->report->runs)
		r->wrong = "after the retry the guest runs twice";
	else if (!judge_same(second, p->report))
		r->wrong = "after the retry the guest is another";
}

static bool judge_runs_there(struct run *r, int state)
{
	return state == 1 && r->world->ends[WORLD_DESTINATION].runs;
}

/* A failed migration has a reason, which is that of the fault. */
static void judge_reason(struct run *r, const struct party *p)
{
	if (!p->report->reason[0])
		r->wrong = "a failed migration has no reason";
	else if (r->kind->reason && !strstr(p->report->reason, r->kind->reason))
		r->wrong = "a failed migration has the reason of another";
}

static enum outcome judge_failed(struct run *r, struct party *p)
{
	int state;

	if (p->link.committed && !(r->kind->rules & KIND_LIES))
		r->wrong = "the source goes on after COMMIT";
	if (!p->report->runs && !(r->kind->rules & KIND_GUEST_ENDS))
		r->wrong = "a failed migration leaves the guest paused";
	judge_reason(r, p);
	eventfd_write(r->leave_fd, 1);
	state = run_over(r, &r->destination);
	if (state < 0)
		r->wrong = "the destination does not end";
	else if (judge_runs_there(r, state))
		r->wrong = "the guest runs twice";
	end_let_go(r->world, WORLD_DESTINATION);
	/* Of use to the second one, too. */
	eventfd_read(r->leave_fd, &(eventfd_t){ 0 });
	if (!r->wrong && !(r->kind->rules & KIND_GUEST_ENDS))
		judge_retry(r, p);
	return OUTCOME_STAYED;
}

static enum outcome judge_unknown(struct run *r, struct party *p)
{
	int state = run_over(r, &r->destination);

	if (p->report->runs)
		r->wrong = "in doubt, and the guest runs at the source";
	if (state < 0)
		r->wrong = "the destination does not end";
	if (!p->link.committed && !(r->kind->rules & KIND_UNSURE))
		r->wrong = "in doubt without a COMMIT";
	if (r->wrong || judge_runs_there(r, state))
		return OUTCOME_SPLIT_AVOIDED;
	end_let_go(r->world, WORLD_DESTINATION);
	if (r->kind->rules & KIND_GUEST_ENDS)
		return OUTCOME_RESUMED;
	if (!run_order(r, p, END_RESUME) || !p->report->runs)
		r->wrong = "the guest cannot go on at the source on the operator's word";
	else
		judge_retry(r, p);
	return OUTCOME_RESUMED;
}

static enum outcome judge_moved(struct run *r, struct party *p)
{
	int state = run_over(r, &r->destination);

	if (p->report->runs)
		r->wrong = "the guest has moved and runs at the source";
	if (r->kind->rules & KIND_DESTINATION_ENDS && state == 0 && p->link.running)
		return OUTCOME_LOST_HOST;
	if (!judge_runs_there(r, state))
		r->wrong = "the guest has moved and runs nowhere";
	else if (!(r->kind->rules & KIND_LIES) && !judge_same(&r->world->ends[WORLD_DESTINATION], p->report))
		r->wrong = "the guest that has moved is another";
	return OUTCOME_MOVED;
}

static enum outcome judge_killed(struct run *r, struct party *p)
{
	int state;

	if (!p->link.committed)
		eventfd_write(r->leave_fd, 1);
	state = run_over(r, &r->destination);
	if (!(r->kind->rules & KIND_SOURCE_ENDS))
		r->wrong = "the source's process ended by itself";
	else if (state < 0)
		r->wrong = "the destination does not end";
	else if (judge_runs_there(r, state) && !p->link.committed)
		r->wrong = "the guest runs at the destination without a COMMIT";
	return judge_runs_there(r, state) ? OUTCOME_MOVED : OUTCOME_LOST_HOST;
}

static enum outcome judge_party(struct run *r, struct party *p)
{
	int state = run_over(r, &p->end);

	if (state < 0) {
		r->wrong = "the source does not end";
		return OUTCOME_STAYED;
	}
	if (state == 0)
		return judge_killed(r, p);
	switch (p->report->result) {
	case SOURCE_FAILED:
		return judge_failed(r, p);
	case SOURCE_UNKNOWN:
		return judge_unknown(r, p);
	default:
		return judge_moved(r, p);
	}
}

enum outcome judge(struct run *r)
{
	enum outcome outcome = judge_party(r, &r->source);

	if (!r->wrong && r->kind->rules & KIND_MOVES && outcome != OUTCOME_MOVED)
		r->wrong = "the guest has not moved";
	if (!r->wrong && r->kind->rules & KIND_STAYS && outcome != OUTCOME_STAYED)
		r->wrong = "the guest has not stayed";
	return outcome;
}
