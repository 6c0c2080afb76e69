/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signals that end the process, at every moment of its life: a thread waits for them, asks for an orderly
 * end, and where that does not come in time ends the process by force.
 *
 * An orderly end can be out of reach: a thread may be in the kernel, in an open() on a mount that has stalled
 * or in the pinning of guest memory, where no descriptor wakes it. The kernel ends such waits for a signal
 * that ends the process, and for nothing else.
 */
#ifndef FERRY_VMM_GUARD_H
#define FERRY_VMM_GUARD_H

#include <pthread.h>
#include <stdint.h>

#include "vmm/log.h"

struct guard;

/*
 * Makes a call that fails say so by its error alone, from here on, in all threads and in programs executed:
 * the kernel sends a signal beside some errors, and its default action ends the process (a write beyond the
 * limit on a file's size, or to a pipe that nobody reads) or stops it (one to a terminal from the
 * background). At the start of main().
 */
void guard_failed_calls(void);

/* Takes that back, for a program that is not Ferry's. In a child before it is executed. */
void guard_default_calls(void);

/* A change to the host that outlives the process: the file of a socket, a terminal's settings, a bridge's
 * port. Owned by whoever changed it. */
struct guard_undo {
	/*
	 * Puts the change back. Comes on the guard's thread, while any other thread may be anywhere: waits
	 * for no lock and no other party, and does no harm where the change has been put back already.
	 */
	void (*fn)(struct guard_undo *undo);
	struct guard *guard; /* The guard that has it, or NULL. */
	struct guard_undo *next;
};

struct guard {
	/* Readable from the first signal on, and for ever: every wait of Ferry's watches it, and nobody reads
	 * it. */
	int stop_fd;

	int signal_fd;
	int end_fd; /* an eventfd: guard_end() has been called */
	/* An eventfd: the guest is to be asked to shut down, see guard_set_button(). Whoever presses the
	 * button empties it. */
	int press_fd;
	int quit_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* Protects what follows. */
	bool started;
	/* The first one, 0 if there was none. */
	int signal;
	uint64_t signal_ns;
	uint64_t button_ms; /* 0: there is no button */
	uint64_t press_ns;  /* when it was pressed; 0: it was not */
	struct guard_undo *undos;
};

/*
 * Takes over SIGINT, SIGTERM and SIGHUP (unless that is ignored, as nohup has it): they are blocked in the
 * caller, and in all threads that it starts from now on. Before any other thread, and at most once.
 */
int __must_check guard_init(struct guard *guard, struct error *err);

/*
 * Says that the start-up is over: an end has more to take down from here on, and gets more time. Any thread.
 */
void guard_started(struct guard *guard);

/*
 * Has the first SIGTERM, from here on, ask the guest to shut down: guard->press_fd becomes readable, for
 * whoever presses the button, and the process ends as by the signal only @ms later, or by the next signal. 0:
 * at once, as before. Any thread.
 */
void guard_set_button(struct guard *guard, uint64_t ms);

/* Returns the signal that came, 0 if none did. Any thread. */
int guard_signal(struct guard *guard);

/* Ends the process as a signal does that ends it at once: SIGTERM, but nobody has sent it. Any thread. */
void guard_end(struct guard *guard);

/* Adds and takes away an undo, which may be called from guard_add() to the end of guard_del(). Any thread.
 * guard_del() of one that was not added does nothing. */
void guard_add(struct guard *guard, struct guard_undo *undo);
void guard_del(struct guard_undo *undo);

/* Ends the thread, when nothing is left to be undone. Returns the signal that came, 0 if none did. */
int guard_exit(struct guard *guard);

/* Ends as a process that was ended by @signo, so that whoever sent it sees that it worked. */
void guard_die(int signo);

#endif
