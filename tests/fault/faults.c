/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migrations that meet a fault at a random instant: faults [RUNS [SEED [KIND]]]. Whatever happens, before
 * COMMIT the guest goes on at the source and a retry works; after it exactly one host runs the guest; in
 * doubt it is paused, and goes on at the source once the operator says so.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fault/judge.h"
#include "tests/fault/kinds.h"
#include "vmm/control/connect.h"
#include "vmm/guard.h"

/* Most of a run is waiting. */
#define WORKERS 4u
/* Kinds that a table has room for. */
#define KINDS_MAX 64u

struct table {
	_Atomic unsigned int counts[KINDS_MAX][OUTCOME_N];
	_Atomic uint64_t ms[KINDS_MAX];
	_Atomic unsigned int n_failed;
	_Atomic unsigned int next; /* run */
	const char *only;          /* NULL, or the beginning of a kind's name */
	struct ways ways;
	struct world worlds[WORKERS];
};

static void show_wrong(const struct run *r, unsigned int number)
{
	static const char *const places[WORLD_N] = { "source", "destination", "second", "rival" };
	const struct link *l = &r->source.link;

	fprintf(stderr, "run %u, %s at frame %u of way %d (type %d): %s\n", number, r->kind->name, l->frame,
		l->way, l->type, r->wrong);
	for (unsigned int i = 0; i < WORLD_N; i++)
		fprintf(stderr, "  %s: %d %s\n", places[i], r->world->ends[i].result,
			r->world->ends[i].reason);
}

static void run_one(struct table *table, unsigned int worker, unsigned int number, uint64_t seed)
{
	unsigned int kind = number % n_kinds;
	uint64_t random = seed ^ (uint64_t)number << 32, start_ns = now_ns();
	struct run r = { .world = &table->worlds[worker], .kind = &kinds[kind] };
	enum outcome outcome;

	if (r.kind->rules & KIND_TLS && !table->ways.tls)
		return;
	if (table->only && strncmp(r.kind->name, table->only, strlen(table->only)) != 0)
		return;
	memset(r.world, 0, sizeof(*r.world));
	kind_plan(&r, &random);
	way_choose(&table->ways, &r.plan, worker);
	run_begin(&r);
	outcome = judge(&r);
	run_end(&r);
	way_forget(&r.plan);
	if (r.wrong) {
		table->n_failed++;
		show_wrong(&r, number);
	}
	table->counts[kind][outcome]++;
	table->ms[kind] += (now_ns() - start_ns) / 1000000;
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
	for (unsigned int k = 0; k < n_kinds; k++) {
		const char *between = "";
		unsigned int of_kind = 0;

		for (unsigned int o = 0; o < OUTCOME_N; o++)
			of_kind += table->counts[k][o];
		printf("%-26s %5u ms  ", kinds[k].name, of_kind ? (unsigned int)(table->ms[k] / of_kind) : 0);
		for (unsigned int o = 0; o < OUTCOME_N; o++) {
			if (table->counts[k][o]) {
				printf("%s%u %s", between, table->counts[k][o], outcomes[o]);
				between = "; ";
			}
		}
		printf("\n");
	}
}

static void work(struct table *table, unsigned int worker, unsigned int n, uint64_t seed)
{
	for (unsigned int i; (i = table->next++) < n;)
		run_one(table, worker, i, seed);
	_exit(0);
}

static int run_all(struct table *table, unsigned int n, uint64_t seed)
{
	int status;

	printf("seed %#llx\n", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned int w = 0; w < WORKERS; w++) {
		if (fork() == 0)
			work(table, w, n, seed);
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

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 300;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	struct table *table;
	int ret = 1;

	log_level = LOG_ERROR;
	guard_failed_calls();
	/* The far end of "exec:" is this program, too. */
	if (argc > 1 && strcmp(argv[1], "connect") == 0)
		return client_connect(argc - 1, argv + 1);
	assert(n_kinds <= KINDS_MAX);
	table = share(sizeof(*table));
	table->only = argc > 3 ? argv[3] : NULL;
	if (ways_prepare(&table->ways)) {
		ret = run_all(table, n, seed);
		ways_remove(&table->ways);
	}
	return ret;
}
