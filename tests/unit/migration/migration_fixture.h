/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two ends of a migration, in one process, over a unix socket, and what tests of it do with them again
 * and again. */
#ifndef FERRY_TESTS_UNIT_MIGRATION_MIGRATION_FIXTURE_H
#define FERRY_TESTS_UNIT_MIGRATION_MIGRATION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "migration/compare.h"
#include "migration/incoming.h"
#include "migration/source.h"
#include "tests/fake/proxy.h"
#include "tests/fake/vm_migration.h"

/* Of a guest that the tests move. */
#define MEM MIB(16)

/* Where the test program's sockets are: the destination's, and that of a proxy before it. */
struct places {
	char dir[32], path[64], address[80], proxy_path[64];
};
extern struct places places;

/* Connects to the unix socket at @path, as soon as somebody listens there. */
int connect_to_place(const char *path);

/* The owner of what the second device of source and destination needs: a disk's lock, say. */
extern _Atomic(struct fake_device *) holder;

/* The destination, on a thread of its own. */
struct arrival {
	struct fake_guest guest;
	uint64_t mem; /* 0: what the source has */
	void (*prepare)(struct fake_guest *g);
	const struct incoming_work *work;
	uint64_t clock_skew_ns;
	const char *reason; /* against the guest, of the VM's builder */
	pthread_t thread;
	int cancel_fd;
	int ret;
	struct error err;
	struct report report;
	bool has_guest;
	bool ready;            /* READY was said */
	unsigned int n_checks; /* that were answered before */
};

/* Builds the destination's guest with @prepare (NULL: nothing special), and waits for a source on a thread of
 * its own; any difference of clocks is allowed. */
void arrival_start(struct arrival *a, void (*prepare)(struct fake_guest *g));
/* Does what that thread does, with an arrival that the caller has filled in. */
void *arrival_run(void *arg);
/* For one to which no source has spoken: it waits on. */
void arrival_call_off(struct arrival *a);
void arrival_join(struct arrival *a);
/* Frees the guest. */
void arrival_exit(struct arrival *a);

/* The source, on the test's thread. */
struct departure {
	struct fake_guest guest;
	struct report report;
	struct error err;
	struct source_config config;
	const char *to; /* places.path, or that of the proxy */
	unsigned int n_progress;
	bool progress_while_paused;
	/* Called when the report says this stage. */
	const char *at;
	void (*then)(struct departure *s);
	int cancel_fd;
};

/* A guest that runs, with memory that is filled, and nobody yet to take it. */
void departure_init(struct departure *s);
void departure_exit(struct departure *s);
/* The second device has what there is one of, of whichever of the two guests. */
void departure_hold(struct departure *s);
/* source_migrate(), over a new connection to s->to. */
enum source_result departure_go(struct departure *s);

/* The guest runs at the source as if nothing had been asked. */
void assert_goes_on(struct departure *s);
/* The destination said no, and has given back what it had. */
void assert_not_here(struct arrival *a);
/* The guest runs at the destination as it was at the source. */
void assert_here(struct arrival *a, struct departure *s);
/* assert_here(), and the source has given up what it had, with a report that adds up. */
void assert_moved(struct arrival *a, struct departure *s, enum source_result result);
/* A migration that works, to prove that what went before has left no trace. */
void assert_retry_works(struct departure *s);

/* Make what is no connection to a destination: a number, an eventfd, and sockets. The caller closes it. */
int no_descriptor(void);
int no_socket(void);
int datagram_socket(void);
int unconnected_socket(void);

/* For departure.then: the operator gives up, or the guest ends. */
void then_cancel(struct departure *s);
void then_end(struct departure *s);

/* Keeps what is logged, warnings and errors. */
struct captured {
	int file, stderr_fd;
	char text[4096];
};

void capture_begin(struct captured *c);
void capture_end(struct captured *c);

/* Runs the tests, with a directory for their sockets. */
int run_in_dir(const char *name, const struct CMUnitTest *tests, size_t n);

#endif
