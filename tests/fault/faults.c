/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migrations that meet a fault at a random instant: faults [RUNS [SEED]]. Whatever happens, before COMMIT the
 * guest goes on at the source and a retry works; after it exactly one host runs the guest; in doubt it is
 * paused, and goes on at the source once the operator says so.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fault/ends.h"
#include "tests/fault/link.h"

/* Most of a run is waiting. */
#define WORKERS 8u
/* Until the operator gives up a migration that stands still. */
#define PATIENCE_MS 200
/* Far more than any deadline of Ferry's: what comes this late never comes. */
#define HANG_MS 180000
/* Frames of a migration of such a guest, at most: where a fault may be. */
#define FRAMES_THERE 34u
#define FRAMES_BACK  5u

enum kind {
	KIND_NONE,
	KIND_CUT,
	KIND_HALF,
	KIND_STALL,
	KIND_DRIP,
	KIND_FLIP,
	KIND_CANCEL,
	KIND_KILL_SOURCE,
	KIND_KILL_DESTINATION,
	KIND_GUEST_ENDS,
	KIND_REFUSE_ACCEPT,
	KIND_REFUSE_WARM,
	KIND_REFUSE_LOAD,
	KIND_N,
};

static const struct {
	const char *name;
	enum link_fault fault;
} kinds[KIND_N] = {
	[KIND_NONE] = { "none", LINK_WELL },
	[KIND_CUT] = { "connection cut", LINK_CUT },
	[KIND_HALF] = { "connection half open", LINK_HALF },
	[KIND_STALL] = { "connection stalls", LINK_STALL },
	[KIND_DRIP] = { "a byte at a time", LINK_DRIP },
	[KIND_FLIP] = { "a bit changed", LINK_FLIP },
	[KIND_CANCEL] = { "operator cancels", LINK_CALL },
	[KIND_KILL_SOURCE] = { "source killed", LINK_CALL },
	[KIND_KILL_DESTINATION] = { "destination killed", LINK_CALL },
	[KIND_GUEST_ENDS] = { "guest ends", LINK_CALL },
	[KIND_REFUSE_ACCEPT] = { "device does not match", LINK_WELL },
	[KIND_REFUSE_WARM] = { "control state refused", LINK_WELL },
	[KIND_REFUSE_LOAD] = { "last state refused", LINK_WELL },
};

enum outcome {
	OUTCOME_STAYED,
	OUTCOME_MOVED,
	OUTCOME_RESUMED,
	OUTCOME_SPLIT_AVOIDED,
	OUTCOME_LOST_HOST,
	OUTCOME_N
};

static const char *const outcomes[OUTCOME_N] = {
	[OUTCOME_STAYED] = "stayed, retry moved",           [OUTCOME_MOVED] = "moved",
	[OUTCOME_RESUMED] = "paused, resumed, retry moved", [OUTCOME_SPLIT_AVOIDED] = "paused, runs there",
	[OUTCOME_LOST_HOST] = "its host was killed",
};

struct table {
	_Atomic unsigned int counts[KIND_N][OUTCOME_N];
	_Atomic unsigned int n_failed;
};

struct run {
	struct world *world;
	struct end source, destination, second;
	struct link link;
	enum kind kind;
	int cancel_fd, leave_fd, second_fd;
	const char *wrong;
};

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void act(void *opaque)
{
	struct run *r = opaque;

	switch (r->kind) {
	case KIND_CANCEL:
		eventfd_write(r->cancel_fd, 1);
		break;
	case KIND_KILL_SOURCE:
		kill(r->source.pid, SIGKILL);
		break;
	case KIND_KILL_DESTINATION:
		kill(r->destination.pid, SIGKILL);
		break;
	default:
		send(r->source.fd, &(char){ END_GUEST }, 1, MSG_NOSIGNAL);
		break;
	}
}

static void make_pair(int pair[2])
{
	int ret = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);

	assert(ret == 0);
	(void)ret;
}

static void plan_fault(struct run *r, struct end_plan *plan, uint64_t *random)
{
	r->link.fault = kinds[r->kind].fault;
	/* Short frames are as dangerous as long ones, and few. */
	if (next_random(random) & 1)
		r->link.at_type = (int)(next_random(random) % (STREAM_N_TYPES - 1)) + 1;
	r->link.way = next_random(random) % 3 ? LINK_THERE : LINK_BACK;
	r->link.frame = (unsigned int)(next_random(random) %
				       (r->link.way == LINK_THERE ? FRAMES_THERE : FRAMES_BACK));
	r->link.place = next_random(random) >> 1;
	r->link.ms = (unsigned int)(next_random(random) % 100);
	r->link.act = act;
	r->link.opaque = r;
	*plan = (struct end_plan){ .seed = next_random(random) >> 8,
				   .n_changes = (unsigned int)(next_random(random) % 4),
				   .writes = next_random(random) & 1 };
	if (r->kind == KIND_REFUSE_ACCEPT)
		plan->refuse_accept = "another NIC";
	else if (r->kind == KIND_REFUSE_WARM)
		plan->refuse_warm = "VLAN_ADD 17 refused";
	else if (r->kind == KIND_REFUSE_LOAD)
		plan->refuse_load = "ring out of bounds";
}

/* Both hosts, the line between them, and a line for the retry. */
static void begin(struct run *r, const struct end_plan *plan)
{
	int source[2], destination[2], second[2];

	make_pair(source);
	make_pair(destination);
	make_pair(second);
	r->cancel_fd = eventfd(0, EFD_CLOEXEC);
	r->leave_fd = eventfd(0, EFD_CLOEXEC);
	r->second_fd = second[1];
	end_start_source(&r->source, r->world, plan,
			 &(struct end_fds){ .fd = source[0],
					    .second_fd = second[0],
					    .cancel_fd = r->cancel_fd,
					    .keep = (const int[]){ source[1], destination[0], destination[1],
								   second[1] },
					    .n_keep = 4 });
	end_start_destination(&r->destination, r->world, WORLD_DESTINATION, plan,
			      &(struct end_fds){ .fd = destination[1],
						 .second_fd = -1,
						 .cancel_fd = r->leave_fd,
						 .keep = (const int[]){ source[1], destination[0], second[1],
									r->source.fd },
						 .n_keep = 4 });
	link_start(&r->link, source[1], destination[0]);
}

/* Whether the attempt at @e is over: 1 it says so, 0 the process has gone, -1 neither comes. */
static int over(struct run *r, struct end *e)
{
	uint64_t end_ns = end_of(HANG_MS), give_up_ns = 0;
	struct pollfd fds[] = { { .fd = e->fd, .events = POLLIN }, { .fd = e->pid_fd, .events = POLLIN } };
	char byte;

	while (now_ns() < end_ns) {
		poll(fds, 2, PATIENCE_MS);
		if (fds[0].revents & POLLIN && recv(e->fd, &byte, 1, 0) == 1)
			return 1;
		if (fds[1].revents)
			return 0;
		/* The source wants it back within seconds. */
		if (poll(&(struct pollfd){ .fd = r->destination.pid_fd, .events = POLLIN }, 1, 0) > 0)
			end_let_go(r->world, WORLD_DESTINATION);
		/* The end of the process is told by the other one. */
		if (fds[0].revents)
			fds[0].fd = -1;
		if (!r->link.reached || !(r->kind == KIND_HALF || r->kind == KIND_FLIP))
			continue;
		give_up_ns = give_up_ns ? give_up_ns : end_of(PATIENCE_MS);
		if (now_ns() >= give_up_ns)
			eventfd_write(r->cancel_fd, 1);
	}
	return -1;
}

static bool order(struct run *r, char what)
{
	send(r->source.fd, &what, 1, MSG_NOSIGNAL);
	return over(r, &r->source) == 1;
}

/* A migration that works, to prove that what went before has left no trace. */
static void retry(struct run *r)
{
	struct end_report *source = &r->world->ends[WORLD_SOURCE], *second = &r->world->ends[WORLD_SECOND];
	const struct end_plan plan = { 0 };
	int fd = r->second_fd;

	r->second_fd = -1;
	end_start_destination(&r->second, r->world, WORLD_SECOND, &plan,
			      &(struct end_fds){ .fd = fd,
						 .second_fd = -1,
						 .cancel_fd = r->leave_fd,
						 .keep = (const int[]){ r->source.fd, r->destination.fd,
									r->link.fds[0], r->link.fds[1] },
						 .n_keep = 4 });
	if (!order(r, END_RETRY) || source->result != SOURCE_MOVED)
		r->wrong = "the retry does not move the guest";
	else if (over(r, &r->second) != 1 || !second->runs)
		r->wrong = "after the retry the guest runs nowhere";
	else if (source->runs)
		r->wrong = "after the retry the guest runs twice";
	else if (second->memory != source->memory || second->registers != source->registers ||
		 second->warm != source->warm || second->state != source->state)
		r->wrong = "after the retry the guest is another";
}

static bool destination_runs(struct run *r, int state)
{
	return state == 1 && r->world->ends[WORLD_DESTINATION].runs;
}

static enum outcome judge_failed(struct run *r)
{
	struct end_report *source = &r->world->ends[WORLD_SOURCE];
	int state;

	if (r->link.committed && r->kind != KIND_FLIP)
		r->wrong = "the source goes on after COMMIT";
	if (!source->runs && r->kind != KIND_GUEST_ENDS)
		r->wrong = "a failed migration leaves the guest paused";
	if (!source->reason[0])
		r->wrong = "a failed migration has no reason";
	eventfd_write(r->leave_fd, 1);
	state = over(r, &r->destination);
	if (state < 0)
		r->wrong = "the destination does not end";
	else if (destination_runs(r, state))
		r->wrong = "the guest runs twice";
	end_let_go(r->world, WORLD_DESTINATION);
	/* Of use to the second one, too. */
	eventfd_read(r->leave_fd, &(eventfd_t){ 0 });
	if (!r->wrong && r->kind != KIND_GUEST_ENDS)
		retry(r);
	return OUTCOME_STAYED;
}

static enum outcome judge_unknown(struct run *r)
{
	struct end_report *source = &r->world->ends[WORLD_SOURCE];
	int state = over(r, &r->destination);

	if (source->runs)
		r->wrong = "in doubt, and the guest runs at the source";
	if (state < 0)
		r->wrong = "the destination does not end";
	if (!r->link.committed && !(r->kind == KIND_FLIP || r->kind == KIND_CUT || r->kind == KIND_HALF))
		r->wrong = "in doubt without a COMMIT";
	if (r->wrong || destination_runs(r, state))
		return OUTCOME_SPLIT_AVOIDED;
	end_let_go(r->world, WORLD_DESTINATION);
	if (r->kind == KIND_GUEST_ENDS)
		return OUTCOME_RESUMED;
	if (!order(r, END_RESUME) || !source->runs)
		r->wrong = "the guest cannot go on at the source on the operator's word";
	else
		retry(r);
	return OUTCOME_RESUMED;
}

static enum outcome judge_moved(struct run *r)
{
	struct end_report *source = &r->world->ends[WORLD_SOURCE],
			  *there = &r->world->ends[WORLD_DESTINATION];
	int state = over(r, &r->destination);

	if (source->runs)
		r->wrong = "the guest has moved and runs at the source";
	if (r->kind == KIND_KILL_DESTINATION && state == 0 && r->link.running)
		return OUTCOME_LOST_HOST;
	if (!destination_runs(r, state))
		r->wrong = "the guest has moved and runs nowhere";
	else if (r->kind != KIND_FLIP &&
		 (there->memory != source->memory || there->registers != source->registers ||
		  there->warm != source->warm || there->state != source->state))
		r->wrong = "the guest that has moved is another";
	return OUTCOME_MOVED;
}

static enum outcome judge_killed(struct run *r)
{
	int state;

	if (!r->link.committed)
		eventfd_write(r->leave_fd, 1);
	state = over(r, &r->destination);
	if (r->kind != KIND_KILL_SOURCE)
		r->wrong = "the source's process ended by itself";
	else if (state < 0)
		r->wrong = "the destination does not end";
	else if (destination_runs(r, state) && !r->link.committed)
		r->wrong = "the guest runs at the destination without a COMMIT";
	return destination_runs(r, state) ? OUTCOME_MOVED : OUTCOME_LOST_HOST;
}

static enum outcome judge(struct run *r)
{
	int state = over(r, &r->source);

	if (state < 0) {
		r->wrong = "the source does not end";
		return OUTCOME_STAYED;
	}
	if (state == 0)
		return judge_killed(r);
	switch (r->world->ends[WORLD_SOURCE].result) {
	case SOURCE_FAILED:
		return judge_failed(r);
	case SOURCE_UNKNOWN:
		return judge_unknown(r);
	default:
		return judge_moved(r);
	}
}

static void end(struct run *r)
{
	kill(r->source.pid, SIGKILL);
	kill(r->destination.pid, SIGKILL);
	end_wait(&r->source);
	end_wait(&r->destination);
	if (r->second.pid > 0) {
		kill(r->second.pid, SIGKILL);
		end_wait(&r->second);
	}
	link_join(&r->link);
	close(r->cancel_fd);
	close(r->leave_fd);
	if (r->second_fd >= 0)
		close(r->second_fd);
}

static void run_one(struct table *table, struct world *world, unsigned int number, uint64_t seed)
{
	uint64_t random = seed ^ (uint64_t)number << 32;
	struct run r = { .world = world, .kind = number % KIND_N };
	struct end_plan plan;
	enum outcome outcome;

	memset(world, 0, sizeof(*world));
	plan_fault(&r, &plan, &random);
	begin(&r, &plan);
	outcome = judge(&r);
	if (r.wrong) {
		table->n_failed++;
		fprintf(stderr,
			"run %u, %s at frame %u of way %d (type %d): %s\n  source: %d %s\n  destination: %d "
			"%s\n",
			number, kinds[r.kind].name, r.link.frame, r.link.way, r.link.type, r.wrong,
			world->ends[WORLD_SOURCE].result, world->ends[WORLD_SOURCE].reason,
			world->ends[WORLD_DESTINATION].result, world->ends[WORLD_DESTINATION].reason);
	}
	table->counts[r.kind][outcome]++;
	end(&r);
}

static void *share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert(p != MAP_FAILED);
	return p;
}

static void show(const struct table *table, unsigned int n)
{
	printf("%u faults\n", n);
	for (unsigned int k = 0; k < KIND_N; k++) {
		const char *between = "";

		printf("%-24s", kinds[k].name);
		for (unsigned int o = 0; o < OUTCOME_N; o++) {
			if (table->counts[k][o]) {
				printf("%s%u %s", between, table->counts[k][o], outcomes[o]);
				between = "; ";
			}
		}
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 300;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	struct table *table = share(sizeof(*table));
	int status;

	log_level = LOG_ERROR;
	printf("seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned int w = 0; w < WORKERS; w++) {
		if (fork() == 0) {
			struct world *world = share(sizeof(*world));

			for (unsigned int i = w; i < n; i += WORKERS)
				run_one(table, world, i, seed);
			_exit(0);
		}
	}
	for (unsigned int w = 0; w < WORKERS; w++) {
		if (wait(&status) < 0 || status != 0) {
			fprintf(stderr, "a worker ended with %#x\n", status);
			table->n_failed++;
		}
	}
	show(table, n);
	if (table->n_failed)
		printf("%u went wrong\n", table->n_failed);
	return table->n_failed ? 1 : 0;
}
