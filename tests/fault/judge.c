/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has become of the guest: see the header. */
#include "tests/fault/judge.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fault/kinds.h"

const char *const outcomes[OUTCOME_N] = {
	[OUTCOME_STAYED] = "stayed, retry moved",           [OUTCOME_MOVED] = "moved",
	[OUTCOME_RESUMED] = "paused, resumed, retry moved", [OUTCOME_SPLIT_AVOIDED] = "paused, runs there",
	[OUTCOME_LOST_HOST] = "its host was killed",        [OUTCOME_OTHER_MOVED] = "the rival moved",
};

/* Whether the guest that has come is the one that has left, @whole: with what it boots from. */
static bool judge_same(const struct end_report *there, const struct end_report *source, bool whole)
{
	return there->memory == source->memory && there->registers == source->registers &&
	       there->warm == source->warm && there->state == source->state &&
	       there->boot == (whole ? source->boot : 0);
}

/* Has the destination at which the migration failed wait still, for the retry. */
static bool judge_waits_on(struct run *r, struct party *p)
{
	for (unsigned int i = 0; i < WORLD_N; i++)
		r->world->clock_ns[i] = 0;
	return run_begin_again(r, p);
}

/* A report is whole, or is not there. */
static void judge_report_file(struct run *r, unsigned int which)
{
	char path[128], last = 0;
	struct stat st;
	int fd;

	end_report_path(path, &r->plan, which);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 ||
	    (S_ISREG(st.st_mode) && (pread(fd, &last, 1, st.st_size - 1) != 1 || last != '}')))
		r->wrong = "a report is not whole";
	close(fd);
}

/* There is enough of everything again. */
static void judge_end_shortage(struct run *r)
{
	shortage_end(r->source.end.pid, &r->world->left[WORLD_SOURCE]);
	shortage_end(r->destination.pid, &r->world->left[WORLD_DESTINATION]);
}

/* A migration that works, to prove that what went before has left no trace. */
static void judge_retry(struct run *r, struct party *p)
{
	bool again = r->kind->rules & KIND_REFUSED;
	struct end *e = again ? &r->destination : &r->second;
	struct end_report *there = &r->world->ends[again ? WORLD_DESTINATION : WORLD_SECOND];

	judge_end_shortage(r);
	if (!again)
		run_begin_second(r, p);
	else if (!judge_waits_on(r, p))
		r->wrong = "the destination waits for nobody any more";
	if (!run_order(r, p, END_RETRY) || p->report->result != SOURCE_MOVED)
		r->wrong = "the retry does not move the guest";
	else if (run_over(r, e) != 1 || !there->runs)
		r->wrong = "after the retry the guest runs nowhere";
	else if (p->report->runs)
		r->wrong = "after the retry the guest runs twice";
	else if (!judge_same(there, p->report, true))
		r->wrong = "after the retry the guest is another";
}

static bool judge_runs_there(struct run *r, int state)
{
	return state == 1 && r->world->ends[WORLD_DESTINATION].runs;
}

/* Whether @text has one of @reasons, with a '|' between two. */
static bool judge_has_one(const char *text, const char *reasons)
{
	char all[256], *save = NULL;

	snprintf(all, sizeof(all), "%s", reasons);
	for (char *one = strtok_r(all, "|", &save); one; one = strtok_r(NULL, "|", &save)) {
		if (strstr(text, one))
			return true;
	}
	return false;
}

/* A failed migration has a reason, which is that of the fault. */
static void judge_reason(struct run *r, const struct party *p)
{
	if (!p->report->reason[0])
		r->wrong = "a failed migration has no reason";
	else if (r->kind->reason && !judge_has_one(p->report->reason, r->kind->reason))
		r->wrong = "a failed migration has the reason of another";
}

/* The destination has nothing of a guest that has not come, and ends on its operator's word. */
static void judge_destination_ends(struct run *r)
{
	const struct end_report *there = &r->world->ends[WORLD_DESTINATION];
	bool by_itself = r->kind->rules & KIND_WAIT_ENDS && (r->early || r->source.link.reached);
	int state;

	if (!by_itself)
		eventfd_write(r->leave_fd, 1);
	state = run_over(r, &r->destination);
	if (by_itself && !strstr(there->reason, "(signal 9)"))
		r->wrong = "the destination does not say why it waits no more";
	if (state < 0)
		r->wrong = "the destination does not end";
	else if (judge_runs_there(r, state))
		r->wrong = "the guest runs twice";
	end_let_go(r->world, WORLD_DESTINATION);
	/* Of use to the second one, too. */
	eventfd_write(r->leave_fd, 1);
	eventfd_read(r->leave_fd, &(eventfd_t){ 0 });
}

static enum outcome judge_failed(struct run *r, struct party *p)
{
	if (p->link.committed && !(r->kind->rules & KIND_LIES))
		r->wrong = "the source goes on after COMMIT";
	if (!p->report->runs && !(r->kind->rules & KIND_GUEST_ENDS))
		r->wrong = "a failed migration leaves the guest paused";
	judge_reason(r, p);
	if (!(r->kind->rules & KIND_REFUSED))
		judge_destination_ends(r);
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
	if (p->link.newer)
		r->wrong = "a version was spoken that the peer does not know";
	if (r->kind->rules & KIND_DESTINATION_ENDS && state == 0 && p->link.running)
		return OUTCOME_LOST_HOST;
	if (!judge_runs_there(r, state))
		r->wrong = "the guest has moved and runs nowhere";
	else if (!(r->kind->rules & KIND_LIES) &&
		 !judge_same(&r->world->ends[WORLD_DESTINATION], p->report, !(r->kind->rules & KIND_OLD)))
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

/* Two guests for one place: one of them is there, and the other one where it was. */
static enum outcome judge_rivals(struct run *r)
{
	struct party *winner = &r->source, *loser = &r->rival;
	int state = run_over(r, &r->source.end);

	/* The other comes too late, if it has not come yet. */
	run_begin_rival(r);
	if (state != 1 || run_over(r, &r->rival.end) != 1) {
		r->wrong = "a source does not end";
		return OUTCOME_STAYED;
	}
	if (r->rival.report->result == SOURCE_MOVED) {
		winner = &r->rival;
		loser = &r->source;
	}
	if (winner->report->result != SOURCE_MOVED || loser->report->result != SOURCE_FAILED) {
		r->wrong = "not one of two guests has moved";
		return OUTCOME_STAYED;
	}
	judge_moved(r, winner);
	if (!loser->report->runs)
		r->wrong = "a failed migration leaves the guest paused";
	/* One that has found nobody has never been a migration. */
	if (loser->link.begun)
		judge_reason(r, loser);
	if (!r->wrong)
		judge_retry(r, loser);
	return winner == &r->source ? OUTCOME_MOVED : OUTCOME_OTHER_MOVED;
}

enum outcome judge(struct run *r)
{
	bool rivals = r->kind->rules & KIND_RIVALS;
	enum outcome outcome = r->wrong ? OUTCOME_STAYED
			       : rivals ? judge_rivals(r)
					: judge_party(r, &r->source);

	if (r->plan.report[0]) {
		judge_report_file(r, WORLD_SOURCE);
		judge_report_file(r, WORLD_DESTINATION);
	}
	if (!r->wrong && r->kind->rules & KIND_MOVES && outcome != OUTCOME_MOVED)
		r->wrong = "the guest has not moved";
	if (!r->wrong && r->kind->rules & KIND_STAYS && outcome != OUTCOME_STAYED)
		r->wrong = "the guest has not stayed";
	return outcome;
}
