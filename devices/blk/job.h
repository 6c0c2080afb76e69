/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads of the disk's own, and jobs that other threads have done by them.
 *
 * The storage can keep such a thread for ever. So nobody waits for one without an end: a vCPU posts what it
 * wants and goes on, the migration's thread waits as long as it may. A job that is late is done when the
 * thread gets to it, so it must refer to nothing that ends before the disk.
 */
#ifndef FERRY_DEVICES_BLK_JOB_H
#define FERRY_DEVICES_BLK_JOB_H

#include "vmm/log.h"
#include "vmm/loop.h"

struct blk_thread {
	struct loop loop;
	const char *disk, *storage; /* names for messages */
	/* Jobs that are posted and not begun: the thread lets them in between two pieces of its work. */
	_Atomic unsigned int n_waiting;
	/* From pause() to resume(), and for a guest that is still to come: no request is begun. Written by
	 * the migration's thread. */
	_Atomic bool paused;
};

/* The names must outlive the thread. 0 or -errno. */
int __must_check blk_thread_init(struct blk_thread *t, const char *disk, const char *storage);
/* The thread must not run. */
void blk_thread_exit(struct blk_thread *t);
/* Starts the thread, called @name (15 characters at most). 0 or -errno. */
int __must_check blk_thread_start(struct blk_thread *t, const char *name);
/* Ends the thread, which comes out of its work at the next piece. False: @until_ns (now_ns()) has passed and
 * it is still in the kernel, where it uses all that it could use before. */
bool blk_thread_end(struct blk_thread *t, uint64_t until_ns);
/* Whether the thread has to leave its work, for a job or a pause. Any thread. */
bool blk_thread_wanted(const struct blk_thread *t);

/* Used by one thread at a time, which posts and waits. */
struct blk_job {
	struct blk_thread *thread;
	void *arg;
	int (*fn)(void *arg, struct error *err);
	struct loop_call call;
	bool posted;      /* not yet seen to be done */
	struct error err; /* of @fn, once the job is done */
};

void blk_job_init(struct blk_job *job, struct blk_thread *thread, void *arg);

/* Has @fn(arg) called on the thread, after all that was posted to it before. The job must be done. */
void blk_job_post(struct blk_job *job, int (*fn)(void *arg, struct error *err));
/* Waits until @until_ns at most (0: not at all). Whether the job is done, as one is that was never posted. */
bool blk_job_done(struct blk_job *job, uint64_t until_ns);
/* Returns what a job that is done has returned, with its reasons in @err. */
int __must_check blk_job_result(const struct blk_job *job, struct error *err);
/* Waits for what is posted, posts @fn, and waits for it: its result, or -ETIMEDOUT where the storage does
 * not answer until @until_ns. */
int __must_check blk_job_run(struct blk_job *job, int (*fn)(void *arg, struct error *err), uint64_t until_ns,
			     struct error *err);

#endif
