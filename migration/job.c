/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The migration that runs, as all threads see it. */
#define _GNU_SOURCE
#include "migration/job.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/events.h"
#include "vmm/loop.h"
#include "vmm/shortage.h"

/* What the stages need, many times over; musl's default is 128 KiB. */
#define JOB_STACK MIB(1)

/* A guest that has moved may have done so within this host: taking its old home down, which unpins and unmaps
 * all of its memory, must not compete with its first moments. */
#define JOB_SETTLE_MS 500

void job_init(struct job *job)
{
	*job = (struct job){ .cancel_fd = -1, .changed_fd = -1 };
	pthread_mutex_init(&job->lock, NULL);
}

void job_exit(struct job *job)
{
	pthread_mutex_destroy(&job->lock);
}

static void job_close(struct job *job)
{
	if (job->cancel_fd >= 0)
		close(job->cancel_fd);
	if (job->changed_fd >= 0)
		close(job->changed_fd);
	job->cancel_fd = job->changed_fd = -1;
}

/* Waits for the thread of the last migration, which has said its last by now or is told to. */
static void job_join(struct job *job)
{
	pthread_join(job->thread, NULL);
	job->joinable = false;
	job_close(job);
}

void job_stop(struct job *job)
{
	bool joinable;

	pthread_mutex_lock(&job->lock);
	job->ending = true;
	joinable = job->joinable;
	loop_signal(job->cancel_fd);
	pthread_mutex_unlock(&job->lock);
	if (joinable)
		job_join(job);
}

/* Hands @report to everybody, and lets followers go where it is the last. */
static void job_publish(struct job *job, const struct report *report)
{
	pthread_mutex_lock(&job->lock);
	job->report = *report;
	for (struct job_follower *f = job->followers; f; f = f->next) {
		f->report = *report;
		loop_signal(f->fd);
	}
	if (report->state != REPORT_RUNNING) {
		job->followers = NULL;
		job->n_ended[report->state]++;
		job->last_downtime_ns = report->downtime_ns;
	}
	pthread_mutex_unlock(&job->lock);
}

struct job_counts job_count(struct job *job)
{
	struct job_counts counts;

	pthread_mutex_lock(&job->lock);
	counts.running = job->report.state == REPORT_RUNNING;
	memcpy(counts.ended, job->n_ended, sizeof(counts.ended));
	counts.last_downtime_ns = job->last_downtime_ns;
	counts.sent_bytes = job->report.sent_bytes;
	pthread_mutex_unlock(&job->lock);
	return counts;
}

static void job_progress(void *opaque, const struct report *report)
{
	job_publish(opaque, report);
}

static void job_log_end(struct job *job, enum source_result result, const struct error *err)
{
	switch (result) {
	case SOURCE_MOVED:
		log_info("the guest has moved to %s", job->to);
		break;
	case SOURCE_FAILED:
		log_warn("migration to %s failed, %s: %s", job->to,
			 gate_ended(&job->vm->gate) ? "and the VM ends here" : "the guest goes on here",
			 err->text);
		break;
	case SOURCE_UNKNOWN:
		log_error("migration to %s: %s", job->to, err->text);
		break;
	}
}

static void *job_thread(void *arg)
{
	struct job *job = arg;
	struct report report = { 0 };
	struct error err = { 0 };
	enum source_result result;

	log_info("a migration to %s begins", job->to);
	events_tell(job->vm->events, EVENT_MIGRATION);
	result = source_migrate(job->vm, &job->config, &report, &err);
	job_log_end(job, result, &err);
	job_publish(job, &report);
	events_tell(job->vm->events, EVENT_MIGRATION);
	if (result == SOURCE_MOVED) {
		poll(&(struct pollfd){ .fd = job->vm->stop_fd, .events = POLLIN }, 1, JOB_SETTLE_MS);
		gate_end(&job->vm->gate, VM_EXIT_POWER_OFF);
	}
	return NULL;
}

static int job_start_thread(struct job *job)
{
	pthread_attr_t attr;
	int ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, JOB_STACK);
	ret = -pthread_create(&job->thread, &attr, job_thread, job);
	pthread_attr_destroy(&attr);
	job->joinable = ret == 0;
	return ret;
}

static int job_refuse(const struct job *job, struct error *err)
{
	if (job->ending) {
		error_add(err, "the VM's process ends");
		return -ESHUTDOWN;
	}
	if (job->report.state == REPORT_RUNNING) {
		error_add(err, "a migration of this guest is under way, to %s", job->report.to);
		return -EBUSY;
	}
	if (job->report.state == REPORT_MOVED) {
		error_add(err, "the guest has moved, to %s", job->report.to);
		return -EBUSY;
	}
	if (job->report.state == REPORT_UNKNOWN) {
		error_add(err,
			  "the guest is paused here after a migration whose outcome is unknown; if it does "
			  "not run at the destination, \"ferry resume\" first");
		return -EALREADY;
	}
	return 0;
}

/* The same for what needs a guest that runs. */
static int job_refuse_unless_runs(const struct job *job, struct error *err)
{
	int ret = job_refuse(job, err);

	if (ret == 0 && job->paused) {
		error_add(err, "the guest is paused: \"ferry resume\" first");
		ret = -EBUSY;
	}
	return ret;
}

/* Makes what a migration needs: all of it, or nothing. */
static int job_prepare(struct job *job, const struct source_config *config)
{
	int ret;

	job->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	job->changed_fd = job->cancel_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (job->changed_fd < 0) {
		ret = -errno;
		job_close(job);
		return ret;
	}
	snprintf(job->to, sizeof(job->to), "%s", config->to);
	job->config = *config;
	job->config.to = job->to;
	job->config.cancel_fd = job->cancel_fd;
	job->config.changed_fd = job->changed_fd;
	job->config.progress = job_progress;
	job->config.opaque = job;
	return 0;
}

/* Under the lock, which the new thread's first report waits for. */
static int job_begin(struct job *job, const struct source_config *config, struct job_follower *f,
		     struct error *err)
{
	int ret = job_prepare(job, config);

	if (ret == 0)
		ret = job_start_thread(job);
	if (ret < 0) {
		error_add(err, "cannot start a migration: %s%s", strerror(-ret), shortage_advice(ret));
		job_close(job);
		return ret;
	}
	job->report = (struct report){ .state = REPORT_RUNNING };
	snprintf(job->report.to, sizeof(job->report.to), "%.*s", (int)REPORT_TO_MAX - 1, job->to);
	job->id++;
	f->id = job->id;
	f->report = job->report;
	f->next = NULL;
	job->followers = f;
	return 0;
}

int job_start(struct job *job, const struct source_config *config, struct job_follower *f, struct error *err)
{
	int ret;

	pthread_mutex_lock(&job->lock);
	ret = job_refuse_unless_runs(job, err);
	/* A thread that has published its end takes no lock any more. */
	if (ret == 0 && job->joinable)
		job_join(job);
	if (ret == 0)
		ret = job_begin(job, config, f, err);
	pthread_mutex_unlock(&job->lock);
	return ret;
}

int job_open_follower(struct job_follower *f, struct error *err)
{
	*f = (struct job_follower){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (f->fd < 0) {
		error_add(err, "cannot watch a migration: %s%s", strerror(errno), shortage_advice(-errno));
		return -errno;
	}
	return 0;
}

void job_unfollow(struct job *job, struct job_follower *f)
{
	pthread_mutex_lock(&job->lock);
	for (struct job_follower **at = &job->followers; *at; at = &(*at)->next) {
		if (*at == f) {
			*at = f->next;
			break;
		}
	}
	pthread_mutex_unlock(&job->lock);
	close(f->fd);
	f->fd = -1;
}

void job_follow(struct job *job, struct job_follower *f)
{
	pthread_mutex_lock(&job->lock);
	f->id = job->id;
	f->report = job->report;
	if (f->report.state == REPORT_RUNNING) {
		f->next = job->followers;
		job->followers = f;
	}
	pthread_mutex_unlock(&job->lock);
}

enum report_state job_news(struct job *job, struct job_follower *f, struct report *report)
{
	loop_take(f->fd);
	pthread_mutex_lock(&job->lock);
	*report = f->report;
	pthread_mutex_unlock(&job->lock);
	return report->state;
}

void job_cancel(struct job *job, const struct job_follower *f)
{
	pthread_mutex_lock(&job->lock);
	if (f->id == job->id && job->report.state == REPORT_RUNNING)
		loop_signal(job->cancel_fd);
	pthread_mutex_unlock(&job->lock);
}

int job_set(struct job *job, const struct job_change *change)
{
	int ret = -ENOENT;

	pthread_mutex_lock(&job->lock);
	if (job->report.state == REPORT_RUNNING) {
		if (change->downtime_limit_ns)
			job->config.downtime_limit_ns = *change->downtime_limit_ns;
		if (change->bandwidth)
			job->config.bandwidth = *change->bandwidth;
		if (change->stalled)
			job->config.stalled = *change->stalled;
		loop_signal(job->changed_fd);
		ret = 0;
	}
	pthread_mutex_unlock(&job->lock);
	return ret;
}

int job_pause(struct job *job, struct error *err)
{
	int ret = 0;

	pthread_mutex_lock(&job->lock);
	if (job->paused)
		goto unlock;
	ret = job_refuse(job, err);
	if (ret == 0 && atomic_exchange(&job->vm->migrating, true)) {
		error_add(err,
			  "the guest is being reset, or compared with another host: try again in a moment");
		ret = -EBUSY;
	}
	if (ret == 0) {
		gate_pause(&job->vm->gate);
		job->paused = true;
		events_tell(job->vm->events, EVENT_STOP);
	}

unlock:
	pthread_mutex_unlock(&job->lock);
	return ret;
}

/* Under the lock. */
static void job_unpause(struct job *job)
{
	struct vm *vm = job->vm;

	job->paused = false;
	gate_resume(&vm->gate);
	atomic_store(&vm->migrating, false);
	/* It has waited for this. */
	gate_reset_again(&vm->gate);
	events_tell(vm->events, EVENT_RESUME);
}

/* Resumes what has stood still since an unknown outcome: job->resuming has been set for that. */
static int job_resume_unknown(struct job *job, struct error *err)
{
	int ret = source_resume(job->vm, err);

	pthread_mutex_lock(&job->lock);
	job->resuming = false;
	/* With the reason that it had. */
	if (ret == 0)
		job->report.state = REPORT_FAILED;
	pthread_mutex_unlock(&job->lock);
	if (ret == 0)
		events_tell(job->vm->events, EVENT_RESUME);
	return ret < 0 ? ret : 0;
}

int job_resume(struct job *job, enum job_resume from, struct error *err)
{
	int ret = -ENOENT;

	pthread_mutex_lock(&job->lock);
	if (job->paused) {
		job_unpause(job);
		ret = 0;
	} else if (job->report.state == REPORT_UNKNOWN && !job->resuming) {
		job->resuming = from == JOB_FROM_PAUSE_OR_UNKNOWN;
		ret = job->resuming ? 1 : job_refuse(job, err);
	}
	pthread_mutex_unlock(&job->lock);
	return ret == 1 ? job_resume_unknown(job, err) : ret;
}

int job_reset(struct job *job, struct error *err)
{
	int ret;

	pthread_mutex_lock(&job->lock);
	ret = job_refuse_unless_runs(job, err);
	if (ret == 0)
		gate_reset(&job->vm->gate);
	pthread_mutex_unlock(&job->lock);
	return ret;
}

const char *job_guest_state(struct job *job)
{
	static const char *const states[REPORT_N_STATES] = {
		[REPORT_NONE] = "running",   [REPORT_RUNNING] = "migrating", [REPORT_MOVED] = "moved",
		[REPORT_FAILED] = "running", [REPORT_UNKNOWN] = "unknown",
	};
	const char *state;

	pthread_mutex_lock(&job->lock);
	state = job->paused ? "paused" : states[job->report.state];
	pthread_mutex_unlock(&job->lock);
	return state;
}
