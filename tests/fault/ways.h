/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection between a source and a destination that is another process's to carry, or to let in: made as
 * an operator's client makes it, by programs of the product's own. */
#ifndef FERRY_TESTS_FAULT_WAYS_H
#define FERRY_TESTS_FAULT_WAYS_H

#include "tests/fault/ends.h"
#include "vmm/control/transport.h"

/* What a whole run of this program has: a folder with certificates in it, and others for each migration. */
struct ways {
	char base[64];
	bool tls; /* there are certificates, and a ferry-tls */
};

/* Makes the folder, and the certificates where this program can. False with words on stderr. */
bool ways_prepare(struct ways *ways);
void ways_remove(struct ways *ways);

/* Where the destination of @plan is to listen: makes the folder of its sockets. @worker: a number of its own
 * for each migration that runs at this time. */
void way_choose(const struct ways *ways, struct end_plan *plan, unsigned int worker);
/* Removes the folder. */
void way_forget(const struct end_plan *plan);

/* Connects. Returns 0, or -errno. The caller's thread is to outlive the connection. */
int way_open(const struct end_plan *plan, struct transport *t);

/* Processes that a connection depends on. */
enum way_process {
	WAY_NEAR, /* the client's child, with all that it has started */
	WAY_PART, /* one of those that the client's child has started */
	WAY_FAR,  /* who carries bytes for the destination */
	WAY_DOOR, /* who takes connections for it */
	WAY_N_PROCESSES,
};
/* Kills the process, if there is one; @place chooses among several. @destination is whose door it is. */
void way_kill(const struct world *w, pid_t destination, const struct transport *t, enum way_process which,
	      uint64_t place);

#endif
