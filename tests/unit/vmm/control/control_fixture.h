/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control socket, methods to be called, and clients that are not ours. */
#ifndef FERRY_TESTS_UNIT_VMM_CONTROL_CONTROL_FIXTURE_H
#define FERRY_TESTS_UNIT_VMM_CONTROL_CONTROL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "vmm/control/client.h"
#include "vmm/control/server.h"

/* Intermediate replies of "alt.ferry.Progress", before the last. */
#define N_PROGRESS 3u
/* And of "alt.ferry.Flood": more than the buffers of a socket hold. */
#define N_FLOOD 20000u

struct fixture {
	char dir[64];
	char path[128]; /* the socket of "web1" */
	struct guard guard;
	struct control *control; /* of "web1"; NULL once destroyed */
	struct control_offer offer;
	atomic_uint n_running; /* calls of "alt.ferry.Hold" */
	/* An eventfd: "alt.ferry.Flood" has only its last reply left. */
	int flooded_fd;
};

/* Of a test: a server for "web1". */
int setup(void **state);
int teardown(void **state);

/* Makes another server with the same methods: "alt.ferry.Echo" gives back "text" and "n", "Progress" replies
 * several times, "Flood" very often, "Hold" waits until its client hangs up, "Take" writes a byte into the
 * descriptor that came with it and closes that, "Leave" does nothing with it, "Watch" is "Progress" for those
 * who want more, and "Later" is not there yet. */
int create(struct fixture *f, const char *name, struct control **control, struct error *err);
int create_in(struct fixture *f, const char *dir, const char *name, struct control **control,
	      struct error *err);

/* Connects to "web1" as no client of ours does: what is said is up to the test. */
int raw_connect(struct fixture *f);
/* Reads all that comes until the server hangs up. Returns how much, with a NUL behind it. */
size_t raw_drain(int fd, char *buf, size_t size);
/* The same, with nothing more to say: all calls that were made are answered before that. */
size_t raw_finish(int fd, char *buf, size_t size);

/* Counts this process's descriptors, once the loop has done what it was at. */
unsigned int count_descriptors(struct fixture *f);
/* Waits until there are @n, which a test that fails waits for in vain: calls that were answered have gone. */
void await_descriptors(struct fixture *f, unsigned int n);

#endif
