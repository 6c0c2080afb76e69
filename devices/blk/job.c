/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads of the disk's own, and jobs that other threads have done by them. */
#include "devices/blk/job.h"

#include <errno.h>

int blk_thread_init(struct blk_thread *t, const char *disk, const char *storage)
{
	*t = (struct blk_thread){ .disk = disk, .storage = storage };
	return loop_init(&t->loop);
}

void blk_thread_exit(struct blk_thread *t)
{
	loop_exit(&t->loop);
}

int blk_thread_start(struct blk_thread *t, const char *name)
{
	return loop_start(&t->loop, name);
}

bool blk_thread_end(struct blk_thread *t, uint64_t until_ns)
{
	t->n_waiting++;
	return loop_join_until(&t->loop, until_ns);
}

bool blk_thread_wanted(const struct blk_thread *t)
{
	return t->n_waiting > 0 || t->paused;
}

void blk_job_init(struct blk_job *job, struct blk_thread *thread, void *arg)
{
	*job = (struct blk_job){ .thread = thread, .arg = arg };
}

static int blk_job_call(void *arg)
{
	struct blk_job *job = arg;

	job->thread->n_waiting--;
	job->err = (struct error){ 0 };
	return job->fn(job->arg, &job->err);
}

void blk_job_post(struct blk_job *job, int (*fn)(void *arg, struct error *err))
{
	job->fn = fn;
	job->posted = true;
	job->thread->n_waiting++;
	loop_post(&job->thread->loop, &job->call, blk_job_call, job);
}

bool blk_job_done(struct blk_job *job, uint64_t until_ns)
{
	if (job->posted && loop_wait_until(&job->thread->loop, &job->call, until_ns))
		job->posted = false;
	return !job->posted;
}

int blk_job_result(const struct blk_job *job, struct error *err)
{
	if (job->call.ret < 0) {
		error_add(err, "%s", job->err.text);
		return job->call.ret;
	}
	return 0;
}

int blk_job_run(struct blk_job *job, int (*fn)(void *arg, struct error *err), uint64_t until_ns,
		struct error *err)
{
	if (blk_job_done(job, until_ns))
		blk_job_post(job, fn);
	if (!blk_job_done(job, until_ns)) {
		error_add(err, "%s: the storage of %s does not answer", job->thread->disk,
			  job->thread->storage);
		return -ETIMEDOUT;
	}
	return blk_job_result(job, err);
}
