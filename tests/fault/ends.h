/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two hosts of a migration that meets a fault, each a process that can be killed. */
#ifndef FERRY_TESTS_FAULT_ENDS_H
#define FERRY_TESTS_FAULT_ENDS_H

#include <sys/types.h>

#include "migration/source.h"
#include "tests/fake/vm_migration.h"

/* What a host says of the guest; in memory that all processes share. */
struct end_report {
	_Atomic int result; /* enum source_result, or the destination's 0 or -errno */
	_Atomic bool runs;
	uint64_t memory; /* a hash */
	uint64_t registers, warm, state;
	char reason[ERROR_TEXT_MAX];
};

enum { WORLD_SOURCE, WORLD_DESTINATION, WORLD_SECOND, WORLD_N };

struct world {
	struct end_report ends[WORLD_N];
	/* The owner of what only one host can have. */
	_Atomic(struct fake_device *) holder;
};

/* What makes one run differ from another. */
struct end_plan {
	uint64_t seed;
	unsigned int n_changes; /* of the control state, while the guest runs at the source */
	bool writes;            /* a thread of the guest's writes to its memory */
	/* One of them may be set: what the destination refuses. */
	const char *refuse_accept, *refuse_warm, *refuse_load;
};

struct end {
	pid_t pid;
	int fd;     /* the parent's side: a byte comes when an attempt is over, and an order goes back */
	int pid_fd; /* readable at the end of the process */
};

/* Orders to the source after an attempt, and while it runs. */
enum { END_RETRY = 'r', END_RESUME = 'u', END_LEAVE = 'l', END_GUEST = 'g' };

/* Start the processes; each takes over @fd, and the source @second_fd for a retry. @keep are the caller's
 * descriptors that the process must not have. */
struct end_fds {
	int fd, second_fd, cancel_fd;
	const int *keep;
	unsigned int n_keep;
};
void end_start_source(struct end *e, struct world *w, const struct end_plan *plan, const struct end_fds *fds);
void end_start_destination(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			   const struct end_fds *fds);
/* Waits for the process, and forgets it; its exit status as of waitpid(). */
int end_wait(struct end *e);
/* What the kernel does for a process that has gone: what it had is nobody's. */
void end_let_go(struct world *w, unsigned int which);

#endif
