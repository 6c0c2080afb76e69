/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A migration away from here as a job of the process: it has a thread of its own and outlives whoever asked
 * for it. Any number of others watch it, change what it may take, or call it off; its report stays until the
 * next begins. One at a time. All functions: any thread, unless they say otherwise.
 */
#ifndef FERRY_MIGRATION_JOB_H
#define FERRY_MIGRATION_JOB_H

#include <pthread.h>

#include "migration/source.h"

/* Bytes of a destination's address, which is a text for messages. */
#define JOB_TO_MAX 1024u

/* Somebody who watches one migration to its end, whatever comes after it. Owned by the caller. */
struct job_follower {
	int fd; /* an eventfd: there is news */
	/* Under the job's lock: the migration, its latest report, and the next in the job's list. */
	uint64_t id;
	struct report report;
	struct job_follower *next;
};

struct job {
	/* The guest, which outlives the job: set before the first migration. */
	struct vm *vm;
	pthread_mutex_t lock;
	/* Under @lock, as far as they change while a migration runs. */
	bool ending;   /* none begins any more */
	bool resuming; /* job_resume() is at work */
	bool paused;   /* by job_pause() */
	bool joinable; /* @thread has been started, and not been joined */
	uint64_t id;   /* of the current or the last migration, from 1 */
	struct report report;
	unsigned int n_ended[REPORT_N_STATES];
	uint64_t last_downtime_ns; /* of the last one that has ended */
	struct job_follower *followers;
	pthread_t thread;
	/* Eventfds of the current migration. */
	int cancel_fd, changed_fd;
	struct source_config config;
	char to[JOB_TO_MAX];
};

/* Never fails; job_exit() frees, after job_stop(). */
void job_init(struct job *job);
void job_exit(struct job *job);

/* Calls a migration that runs off, waits for its end, and lets no other begin: the process ends. */
void job_stop(struct job *job);

/*
 * Starts a migration, with @f (which must be open) as its first follower. @config is copied, with what it
 * points to; its cancel_fd, changed_fd, progress and opaque are the job's, and its fd is when this returns 0.
 * Returns 0, -EBUSY while another runs, -EALREADY after one whose outcome is unknown, -ESHUTDOWN after
 * job_stop(), -errno.
 */
int __must_check job_start(struct job *job, const struct source_config *config, struct job_follower *f,
			   struct error *err);

/* Opens a follower, which job_unfollow() closes. */
int __must_check job_open_follower(struct job_follower *f, struct error *err);
void job_unfollow(struct job *job, struct job_follower *f);

/* Has @f follow the migration that runs, or else the last one. */
void job_follow(struct job *job, struct job_follower *f);

/* Takes the latest news: copies the report to @report and returns its state. A migration has ended with every
 * state but REPORT_RUNNING. */
enum report_state job_news(struct job *job, struct job_follower *f, struct report *report);

/* Calls off the migration that @f follows, if it runs still; whether that was in time the news say. */
void job_cancel(struct job *job, const struct job_follower *f);

/* What is to change of a migration that runs; NULL: nothing. */
struct job_change {
	const uint64_t *downtime_limit_ns, *bandwidth;
	const enum source_stalled *stalled;
};

/* Returns 0, or -ENOENT where none runs. */
int __must_check job_set(struct job *job, const struct job_change *change);

/*
 * Has the guest stand still until job_resume(): its vCPUs do, while its devices do what they have been asked
 * to, and a NIC goes on receiving into buffers that the guest has offered. Meanwhile no migration begins, and
 * a reset that the guest has asked for waits. Of a guest that is paused already it does nothing. Returns 0,
 * -EBUSY during a migration or a reset or after the guest has moved, -EALREADY after an unknown outcome, or
 * -ESHUTDOWN, with the reason.
 */
int __must_check job_pause(struct job *job, struct error *err);

/* What to resume from. The second is the operator's word that the guest does not run at the destination, see
 * source_resume(). */
enum job_resume { JOB_FROM_PAUSE, JOB_FROM_PAUSE_OR_UNKNOWN };

/* Lets the guest go on. Returns 0, -ENOENT where it was not paused, -EALREADY where the outcome of a
 * migration is unknown and @from does not say that, or -errno with the guest still paused. */
int __must_check job_resume(struct job *job, enum job_resume from, struct error *err);

/* Resets the guest as its own reset does. Returns 0, or as job_pause() does, also for a guest that is paused.
 */
int __must_check job_reset(struct job *job, struct error *err);

/* Migrations in numbers: @ended by their outcome; @sent_bytes by the one that runs, or the last. */
struct job_counts {
	unsigned int ended[REPORT_N_STATES];
	bool running;
	uint64_t last_downtime_ns, sent_bytes;
};

struct job_counts job_count(struct job *job);

/* How the guest is, in a word: "running", "paused", "migrating", "moved" or "unknown". */
const char *job_guest_state(struct job *job);

#endif
