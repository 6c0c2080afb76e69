/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs that the migration's thread gives to the disk's threads, and waits for with a deadline. */
#include "devices/blk/blk_priv.h"

#include <errno.h>

void blk_job_init(struct blk *blk)
{
	blk->job = (struct blk_job){ .blk = blk, .loop = &blk->loop };
	blk->release_job = (struct blk_job){ .blk = blk, .loop = &blk->loop };
	blk->sync_job = (struct blk_job){ .blk = blk, .loop = &blk->sync_loop };
}

static int blk_job_call(void *arg)
{
	struct blk_job *job = arg;

	if (job->loop == &job->blk->loop)
		job->blk->n_callers--;
	job->err = (struct error){ 0 };
	return job->fn(job->blk, &job->err);
}

void blk_job_post(struct blk_job *job, int (*fn)(struct blk *blk, struct error *err))
{
	job->fn = fn;
	job->posted = true;
	if (job->loop == &job->blk->loop)
		job->blk->n_callers++;
	loop_post(job->loop, &job->call, blk_job_call, job);
}

bool blk_job_done(struct blk_job *job, uint64_t until_ns)
{
	if (job->posted && loop_wait_until(job->loop, &job->call, until_ns))
		job->posted = false;
	return !job->posted;
}

int blk_job_run(struct blk_job *job, int (*fn)(struct blk *blk, struct error *err), uint64_t until_ns,
		struct error *err)
{
	if (blk_job_done(job, until_ns))
		blk_job_post(job, fn);
	if (!blk_job_done(job, until_ns))
		return error_add(err, -ETIMEDOUT, "%s: the storage of %s does not answer", job->blk->name,
				 job->blk->file.path);
	return job->call.ret < 0 ? error_add(err, job->call.ret, "%s", job->err.text) : 0;
}
