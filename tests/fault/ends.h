/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hosts of a migration that meets a fault, each a process that can be killed. */
#ifndef FERRY_TESTS_FAULT_ENDS_H
#define FERRY_TESTS_FAULT_ENDS_H

#include <stdio.h>
#include <sys/types.h>

#include "migration/source.h"
#include "tests/fake/vm_migration.h"

/* What a host says of the guest; in memory that all processes share. */
struct end_report {
	_Atomic int result; /* enum source_result, or the destination's 0 or -errno */
	_Atomic bool runs;
	uint64_t memory; /* a hash, as is what the guest boots from: 0 if nothing is known of that */
	uint64_t boot;
	uint64_t registers, warm, state;
	char reason[ERROR_TEXT_MAX];
	char refused[ERROR_TEXT_MAX]; /* by a destination that waits on, last */
};

/* The rival is another guest's source. */
enum { WORLD_SOURCE, WORLD_DESTINATION, WORLD_SECOND, WORLD_RIVAL, WORLD_N };

/* Guests there can be: of the source, of the rival. */
#define WORLD_GUESTS 2u

struct world {
	struct end_report ends[WORLD_N];
	/* The owner of what only one host can have, of each guest. */
	_Atomic(struct fake_device *) holders[WORLD_GUESTS];
	_Atomic int64_t clock_ns[WORLD_N]; /* by which a host's time of day is wrong */
	_Atomic int left[WORLD_N];         /* see shortage_counts() */
	_Atomic pid_t door;                /* the process that takes connections for the destination */
};

/* How a source comes to the destination. */
enum end_way_in {
	END_BY_SOCKET, /* it has its end of the connection from its start */
	END_BY_DOOR,   /* a unix socket */
	END_BY_CALL,   /* "ferry connect" */
	END_BY_TLS,
};

/* What makes one run differ from another. */
struct end_plan {
	uint64_t seed;
	unsigned int n_changes; /* of the control state, while the guest runs at the source */
	bool writes;            /* a thread of the guest's writes to its memory */
	/* One of them may be set: what the destination refuses. */
	const char *refuse_accept, *refuse_warm, *refuse_load;
	uint64_t clock_skew_ns; /* that the destination allows; 0: any */
	bool pins;              /* the destination's device does, the guest's memory */
	char report[112]; /* the file that both ends write theirs to, behind a dot and "s" or "d"; "": none */
	bool keeps_report; /* in @dir */
	enum end_way_in way_in;
	char base[64];  /* has hosta and hostb, the folders of certificates */
	char dir[96];   /* for the destination's sockets */
	char place[64]; /* for TLS, HOST:PORT */
};

struct end {
	pid_t pid;
	int fd;     /* the parent's side: a byte comes when an attempt is over, and an order goes back */
	int pid_fd; /* readable at the end of the process */
};

/* Orders to the source after an attempt, and while it runs. */
enum { END_RETRY = 'r', END_RESUME = 'u', END_LEAVE = 'l', END_GUEST = 'g' };

/* What a process takes over of the caller's: its connection, a source's for a retry, an eventfd. */
struct end_fds {
	int fd, second_fd, cancel_fd;
};

/* Start the processes. @which says whose part each has. */
void end_start_source(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
		      const struct end_fds *fds);
/* A destination that is not END_BY_SOCKET says a first byte when it can be connected to. */
void end_start_destination(struct end *e, struct world *w, unsigned int which, const struct end_plan *plan,
			   const struct end_fds *fds);
/* Waits for the process, and forgets it; its exit status as of waitpid(). */
int end_wait(struct end *e);
/* What the kernel does for a process that has gone: what it had is nobody's. */
void end_let_go(struct world *w, unsigned int which);

/* Writes where the report of one end is. */
static inline void end_report_path(char path[128], const struct end_plan *plan, unsigned int which)
{
	snprintf(path, 128, "%s%s", plan->report,
		 plan->report[1] == 'd'  ? ""
		 : which == WORLD_SOURCE ? ".s"
					 : ".d");
}

/* For the processes themselves. */

/* Whose guest it is, by its size. */
#define END_MEM(guest) (MIB(16) + (guest)*MIB(1))
static inline unsigned int end_guest_of(uint64_t mem)
{
	return mem == END_MEM(1);
}
/* The guest of @which, in this process. */
struct fake_guest *end_guest(unsigned int which);
/* Starts a process. Returns true in the child, which has of the caller's descriptors those of @fds alone. */
bool end_fork(struct end *e, const struct end_fds *fds);
/* Writes what there is to say of the guest, and tells the parent. */
void end_say(struct end_report *r, struct fake_guest *g, int result, const struct error *err);
void end_tell(int fd);
/* Writes the report, as the product does, to the plan's file. */
void end_keep_report(const struct end_plan *plan, unsigned int which, const struct report *report);
_Noreturn void end_be_destination(struct end *e, struct world *w, unsigned int which,
				  const struct end_plan *plan, const struct end_fds *fds);

#endif
