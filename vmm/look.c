/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a thread looks again, or sleeps. */
#define _GNU_SOURCE
#include "vmm/look.h"

#include <sched.h>
#include <sys/resource.h>

#include "vmm/util.h"

/* The highest bound that a thread gives itself: what it costs to sleep and be woken, tens of microseconds on
 * a host whose CPUs go to sleep as well, some times over. */
#define LOOK_AUTO_NS 100000u
/* The lowest, for a queue that is never empty for long. */
#define LOOK_LEAST_NS 5000u

/* A gap counts for this many times the highest bound at most, so that one pause ends the looking and a few
 * gaps that are short begin it again, however long the pause was. */
#define LOOK_GAP_FACTOR 4u

/* So many finds after sleeping are without a look behind them at most, where looking has been in vain. */
#define LOOK_MAX_SLEPT 255u

/* Between counts of the CPUs that the thread may have, which an operator can change at any time. */
#define LOOK_COUNT_NS UINT64_C(1000000000)

/* A thread that looks reads the clock every few microseconds. A step of this length is one in which it may
 * have been off its CPU, for somebody who is not done at once. */
#define LOOK_STEP_NS UINT64_C(200000)

/* How long a thread that had to give up its CPU does not look; each time again twice as long, unless it has
 * had its CPU for LOOK_CALM_NS since. */
#define LOOK_AWAY_FIRST_NS UINT64_C(20000000)
#define LOOK_AWAY_MAX_NS   UINT64_C(1280000000)
#define LOOK_CALM_NS       UINT64_C(1000000000)

void look_init(struct look *look, uint32_t us, unsigned int n_threads)
{
	*look = (struct look){ .automatic = us == LOOK_AUTO,
			       .most_ns = us == LOOK_AUTO ? LOOK_AUTO_NS : us * UINT64_C(1000),
			       .n_threads = n_threads };
	look->gap_ns = LOOK_GAP_FACTOR * look->most_ns;
}

void look_found(struct look *look, uint64_t at_ns, uint64_t done_ns)
{
	uint64_t gap = min_u64(at_ns - look->done_ns, LOOK_GAP_FACTOR * look->most_ns);

	look->gap_ns = (3 * look->gap_ns + gap) / 4;
	look->done_ns = done_ns;
	if (look->looking)
		look->n_slept /= 2;
	else if (look->n_to_sleep > 0)
		look->n_to_sleep--;
}

/* Nothing was found by looking. */
static void look_in_vain(struct look *look)
{
	look->n_slept = (unsigned int)min_u64(2ull * look->n_slept + 1, LOOK_MAX_SLEPT);
	look->n_to_sleep = look->n_slept;
}

/* How long to look for what comes. Where gaps are longer than half of the highest bound most of the looking
 * would be in vain. */
static uint64_t look_bound(const struct look *look)
{
	if (look->n_to_sleep > 0 || look->gap_ns > look->most_ns / 2)
		return 0;
	return min_u64(look->most_ns, LOOK_LEAST_NS + 4 * look->gap_ns);
}

static bool look_has_room(struct look *look, uint64_t now_ns)
{
	cpu_set_t set;

	if (now_ns >= look->next_count_ns) {
		look->next_count_ns = now_ns + LOOK_COUNT_NS;
		look->room = sched_getaffinity(0, sizeof(set), &set) == 0 &&
			     (unsigned int)CPU_COUNT(&set) >= look->n_threads;
	}
	return look->room;
}

/* Whether the kernel has taken the CPU from this thread since it was asked last. */
static bool look_was_switched(struct look *look)
{
	long before = look->n_switches;
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage) == 0)
		look->n_switches = usage.ru_nivcsw;
	return look->n_switches != before;
}

/* Stays away from looking for a while, if somebody else had the CPU during the last step. */
static bool look_is_away(struct look *look, uint64_t now_ns)
{
	if (look->looking && now_ns - look->looked_ns >= LOOK_STEP_NS && look_was_switched(look)) {
		if (now_ns - look->away_until_ns > LOOK_CALM_NS)
			look->away_ns = LOOK_AWAY_FIRST_NS;
		else
			look->away_ns = min_u64(2 * look->away_ns, LOOK_AWAY_MAX_NS);
		look->away_until_ns = now_ns + look->away_ns;
	}
	return now_ns < look->away_until_ns;
}

bool look_again(struct look *look, uint64_t now_ns)
{
	uint64_t waited = now_ns - look->done_ns;
	bool away;

	if (!look->automatic)
		return waited < look->most_ns;
	/* First, for a time off the CPU makes a long gap, too. */
	away = look_is_away(look, now_ns);
	if (look->looking && waited >= look_bound(look))
		look_in_vain(look);
	look->looking = !away && waited < look_bound(look) && look_has_room(look, now_ns);
	look->looked_ns = now_ns;
	return look->looking;
}
