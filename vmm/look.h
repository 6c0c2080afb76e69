/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a thread that has found nothing to do looks once more, or sleeps until it is woken. To sleep costs
 * system calls on both sides of a queue, and the time to be woken; to look costs a core. So a thread looks
 * only while what it waits for has lately come soon, and never for long: when nothing comes it sleeps.
 *
 * A bound can be given. Else the thread finds it out (LOOK_AUTO), from the gaps between what it has found,
 * and looks ever more rarely where it finds nothing by it: whoever is to make something may be waiting for
 * this CPU. Nor does it look where there are fewer CPUs for it than threads that may be busy, nor for a while
 * after it was made to give its CPU up. One thread owns a look.
 */
#ifndef FERRY_VMM_LOOK_H
#define FERRY_VMM_LOOK_H

#include <stdbool.h>
#include <stdint.h>

/* In the place of a bound in microseconds, which is LOOK_MAX_US at most; 0: never. */
#define LOOK_AUTO   UINT32_MAX
#define LOOK_MAX_US 10000u

struct look {
	bool automatic;
	uint64_t most_ns; /* the bound that is given, or the highest */
	uint64_t done_ns; /* when what was found last was dealt with */
	uint64_t gap_ns;  /* from then to the next find: a moving mean */

	/* Of LOOK_AUTO alone. */
	unsigned int n_threads;
	bool room;              /* a CPU for each of them, as of the last count */
	uint64_t next_count_ns; /* of CPUs */
	bool looking;           /* the last answer, and the clock at it */
	uint64_t looked_ns;
	/* Finds to come for which the thread sleeps, since it has looked in vain lately, and how many they
	 * were the last time. */
	unsigned int n_to_sleep, n_slept;
	uint64_t away_until_ns; /* does not look before */
	uint64_t away_ns;       /* how long not, the last time */
	long n_switches;        /* that this thread did not want, as last read */
};

/*
 * @us is the bound: how long a thread looks without finding anything, LOOK_AUTO, or 0. With LOOK_AUTO it does
 * not look unless it may run on @n_threads CPUs: one for each thread that is expected to be busy beside it,
 * and its own.
 */
void look_init(struct look *look, uint32_t us, unsigned int n_threads);

/* Something was found at @at_ns (now_ns()), by looking or after sleeping, and is dealt with at @done_ns. */
void look_found(struct look *look, uint64_t at_ns, uint64_t done_ns);

/* Between two looks that found nothing: leaves more of the core to its other thread. */
static inline void look_pause(void)
{
	__builtin_ia32_pause();
}

/* Whether to look again at @now_ns, since nothing was found; false: to sleep. On the thread that looks. */
bool look_again(struct look *look, uint64_t now_ns);

#endif
