/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate that a VM's threads pass before they run the guest: pausing, throttling, resets, and the VM's end.
 *It knows nothing of KVM: what runs the guest is a thread that looks at a flag and can be interrupted by a
 * signal.
 *
 *	gate_init -> gate_start, for each thread -> gate_resume <-> gate_pause ... -> gate_stop -> gate_exit
 */
#ifndef FERRY_VMM_GATE_H
#define FERRY_VMM_GATE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/util.h"

struct loop;

/* Why the VM ended. The values are exit codes of the process; 2 is a wrong usage. */
enum vm_exit {
	/* The guest powered itself off, or runs on another host now. */
	VM_EXIT_POWER_OFF = 0,
	/* Ferry failed, or was told to end. */
	VM_EXIT_ERROR = 1,
	VM_EXIT_RESET = 3,
	/* The guest reported a panic, shut down by a triple fault that was no reset of its own, or KVM cannot
	 * go on with it. */
	VM_EXIT_CRASHED = 4,
};

/* The signal that interrupts a thread which runs the guest. Real-time signals are used for nothing else. */
#define GATE_SIGNAL (SIGRTMIN)

/*
 * A thread that runs the guest. Owned by the caller, there until gate_stop() has returned. Between two calls
 * of gate_pass() it runs the guest, and comes back soon after @leave became 1 and GATE_SIGNAL came: the flag
 * is for a thread that is about to enter the guest, where the signal alone would be lost.
 */
struct gate_thread {
	/* The gate sets this flag to 1, and gate_pass() to 0, both atomically. The pointer is set before
	 * gate_start(). */
	uint8_t *leave;
	/* Tells the thread that the guest stood still before gate_pass() returned, and not only because it
	 * was throttled. True after the first pass, too. */
	bool was_paused;
	/* The rest is the gate's. */
	unsigned int n_pauses;
	pthread_t thread;
	struct gate_thread *next;
};

struct gate {
	/* The loop that stops at the VM's end. */
	struct loop *loop;
	/* Protects everything below. */
	pthread_mutex_t lock;
	/* Threads wait here until they may go on, and the throttler for its time, by CLOCK_MONOTONIC. */
	pthread_cond_t open;
	/* n_parked has become n_started. */
	pthread_cond_t parked;
	bool paused;
	/* How often @paused has become true, modulo 2^32. */
	unsigned int n_pauses;
	/* The guest is kept out now, for its share of this period. */
	bool throttled;
	/* The guest has asked for a reset, and is kept out until that is done. */
	bool resetting;
	/* An eventfd, readable while @resetting, for whoever carries a reset out, or is to leave off for one;
	 * -1: a reset ends the VM. Another's. Changed while the guest stands still. */
	int reset_fd;
	/* The share of each period that the guest is kept out for, in percent. */
	unsigned int throttle;
	/* Threads that were started and that gate_stop() has not taken away. */
	struct gate_thread *threads;
	unsigned int n_started;
	/* Threads that stay out of the guest, and those that have ended. */
	unsigned int n_parked;
	bool throttling;
	/* Valid while @throttling. */
	pthread_t throttler;
	bool ending;
	/* Valid once @ending. */
	enum vm_exit exit;
};

/* Makes a gate that is paused. @loop, the main thread's, must outlive it. */
void gate_init(struct gate *g, struct loop *loop);
/* Comes after gate_stop() and, if there was throttling, gate_throttle(0). */
void gate_exit(struct gate *g);

/*
 * Starts @fn(@arg), which calls gate_pass() before it runs the guest for the first time, on a thread called
 * @name (15 characters at most). It gets no signals but GATE_SIGNAL and those of its own faults: the
 * process's are the main thread's. 0 or -errno of pthread_create().
 */
int __must_check gate_start(struct gate *g, struct gate_thread *t, const char *name, void *(*fn)(void *arg),
			    void *arg);

/* Has the thread run on CPU @cpu of the host (below 1024) and on no other. Once it has been started. 0, or
 * -errno: -EINVAL where this process may not have that CPU, or there is none. */
int __must_check gate_pin(struct gate_thread *t, unsigned int cpu);

/* Waits while the guest stands still or is throttled; called by the thread @t alone. False: the VM has ended,
 * and the thread ends without a further call. */
bool gate_pass(struct gate *g, struct gate_thread *t);

/*
 * gate_pause() returns when every started thread waits in gate_pass() or has ended; called while paused it
 * waits for the same and changes nothing else. gate_resume() lets them go on, however often the gate was
 * paused. Neither touches devices: device.h has their part. Any thread but those of the guest.
 */
void gate_pause(struct gate *g);
void gate_resume(struct gate *g);

/*
 * Ends the VM: threads find that in gate_pass(), and the loop stops. It waits for neither of them. The first
 * reason stays. Any thread, those of the guest included.
 */
void gate_end(struct gate *g, enum vm_exit exit);

/* Returns whether gate_end() has been called. Any thread. */
bool gate_ended(struct gate *g);

/*
 * Says who carries out resets: whoever watches @reset_fd, an eventfd that stays the caller's; -1, as at
 * first, for nobody: a reset ends the VM. Before the threads run the guest.
 */
void gate_set_reset(struct gate *g, int reset_fd);

/*
 * The guest asks for a reset: its threads leave it, and stay out until gate_reset_done(); or the VM ends with
 * VM_EXIT_RESET. Any thread, those of the guest included.
 */
void gate_reset(struct gate *g);
/* Whether a reset is due. Of a gate that is paused the answer stays the same: nobody is there to ask for one.
 * Any thread. */
bool gate_resetting(struct gate *g);
/* Signals reset_fd again if a reset is due: what it had to wait for has ended. Any thread. */
void gate_reset_again(struct gate *g);
/* The guest may begin anew, once the gate is not paused. */
void gate_reset_done(struct gate *g);

/* Ends the VM with VM_EXIT_ERROR, then waits for the threads: none is in a device after it. Called again it
 * does nothing. The main thread. */
void gate_stop(struct gate *g);

/* The period is long against what a kick and the way back into the guest cost, and short against what a
 * guest's clients notice. */
#define GATE_THROTTLE_PERIOD_NS 10000000u

/*
 * Keeps all threads out of the guest for @percent (0 to 99) of the time, so that a migration converges:
 * together, so that none of them waits for a lock or an answer of one that is kept out. It does not delay
 * gate_pause(). 0 ends it. -errno of pthread_create(). One thread, the migration's.
 */
int __must_check gate_throttle(struct gate *g, unsigned int percent);

#endif
