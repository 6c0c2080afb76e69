/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls of the control socket that have to do with a migration away from here. */
#define _GNU_SOURCE
#include "migration/methods.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "migration/channel.h"
#include "migration/check.h"
#include "migration/methods_tell.h"
#include "vmm/config_text.h"
#include "vmm/control/interface.h"

_Static_assert(REPORT_JSON_MAX + METHODS_QUOTED_MAX + 512 <= METHODS_REPLY_MAX,
	       "a reply has room for a report");

/* Reads one of @n words, as its number; leaves *@v as it is where there is none. False if the call has been
 * answered, with what is wrong. */
static bool methods_word(struct control_call *call, const char *name, const char *const *words,
			 unsigned int n, int *v)
{
	char word[16];

	if (!control_has(call, name))
		return true;
	*v = control_get_string(call, name, word, sizeof(word)) ? config_parse_word(word, words, n) : -1;
	return *v >= 0 || methods_invalid(call, name);
}

/* Reads what may also be changed while a migration runs. */
static bool methods_read_limits(struct control_call *call, uint64_t *downtime_ns, uint64_t *bandwidth,
				enum source_stalled *policy)
{
	uint64_t downtime_ms = *downtime_ns / 1000000, rate = 0;
	int v = *policy;

	if (!methods_number(call, "downtimeMs", 1, CLIENT_DOWNTIME_MAX_MS, &downtime_ms))
		return false;
	*downtime_ns = downtime_ms * 1000000;
	/* 0 takes a limit off. */
	if (!control_get_number(call, "bandwidth", &rate) || rate != 0) {
		rate = *bandwidth;
		if (!methods_number(call, "bandwidth", CLIENT_BANDWIDTH_MIN, CLIENT_BANDWIDTH_MAX, &rate))
			return false;
	}
	*bandwidth = rate;
	if (!methods_word(call, "stalled", source_stalled_names, SOURCE_N_STALLED, &v))
		return false;
	*policy = (enum source_stalled)v;
	return true;
}

/* Looks for the connection that comes with the call; false if it has been answered, with what is wrong. */
static bool methods_check_connection(struct control_call *call)
{
	struct error err = { 0 };

	if (call->passed_fd < 0) {
		control_fail(call, CLIENT_ERROR_CONNECTION,
			     "the connection to the destination is missing: a connected stream socket is to "
			     "come with the call, as a descriptor");
		return false;
	}
	if (channel_check_socket(call->passed_fd, &err) < 0) {
		control_fail(call, CLIENT_ERROR_CONNECTION, err.text);
		return false;
	}
	return true;
}

/* Reads the call's parameters into @config, with the destination's name in @to; false if it has been
 * answered, with what is wrong. */
static bool methods_read(struct control_call *call, struct source_config *config, bool *detach,
			 char to[JOB_TO_MAX])
{
	uint64_t downtime_ns = CLIENT_DOWNTIME_MS * UINT64_C(1000000), bandwidth = 0, timeout_ms = 0;
	enum source_stalled stalled = SOURCE_THROTTLE;
	int compress = SOURCE_COMPRESS_AUTO;

	strcpy(to, "another host");
	if (control_has(call, "to") && !control_get_string(call, "to", to, JOB_TO_MAX))
		return methods_invalid(call, "to");
	config->to = to;
	if (!methods_read_limits(call, &downtime_ns, &bandwidth, &stalled) ||
	    !methods_word(call, "compress", source_compress_names, SOURCE_N_COMPRESS, &compress) ||
	    !methods_number(call, "timeoutMs", 1, CLIENT_TIMEOUT_MAX_MS, &timeout_ms))
		return false;
	if (control_has(call, "detach") && !control_get_bool(call, "detach", detach))
		return methods_invalid(call, "detach");
	config->downtime_limit_ns = downtime_ns;
	config->bandwidth = bandwidth;
	config->stalled = stalled;
	config->compress = (enum source_compress)compress;
	config->timeout_ns = timeout_ms * 1000000;
	config->fd = call->passed_fd;
	return methods_check_connection(call);
}

/* Writes what a client is told of a migration beside its report. */
static void methods_describe(const struct report *report, enum report_detail detail,
			     char text[METHODS_REPLY_MAX])
{
	char json[REPORT_JSON_MAX], reason[METHODS_QUOTED_MAX];
	int n = snprintf(text, METHODS_REPLY_MAX, "{\"state\":\"%s\"", report_state_names[report->state]);

	if (report->state != REPORT_NONE) {
		json_quote(report->reason, reason, sizeof(reason));
		report_json(report, detail, json);
		n += snprintf(text + n, METHODS_REPLY_MAX - (size_t)n,
			      ",\"reason\":%s,\"phase\":\"%s\",\"report\":%s", reason,
			      report->stage ? report->stage : "", json);
	}
	n += snprintf(text + n, METHODS_REPLY_MAX - (size_t)n, "}");
	assert((size_t)n < METHODS_REPLY_MAX);
}

/* What to do about a client that hangs up while its call waits for a migration's end. */
enum methods_hangup {
	METHODS_CANCEL, /* the migration, and wait on: it may be too late */
	METHODS_LEAVE,
};

/* Tells a client that wants to know how far the migration is. */
static void methods_tell(struct control_call *call, const struct report *report)
{
	char text[METHODS_REPLY_MAX];

	methods_describe(report, REPORT_PROGRESS, text);
	control_progress(call, text);
}

/*
 * Waits for the end of the migration that @f follows, and says meanwhile how far it is. Returns its state:
 * REPORT_RUNNING for a client that has left.
 */
static enum report_state methods_watch(struct control_call *call, struct job *job, struct job_follower *f,
				       enum methods_hangup hangup, struct report *report)
{
	struct pollfd fds[] = { { .fd = f->fd, .events = POLLIN },
				{ .fd = control_call_fd(call), .events = POLLIN } };

	while (job_news(job, f, report) == REPORT_RUNNING) {
		/* A job that has only just been started has nothing to tell. */
		if (report->stage)
			methods_tell(call, report);
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 || fds[1].revents == 0)
			continue;
		if (hangup == METHODS_LEAVE)
			break;
		job_cancel(job, f);
		fds[1].fd = -1;
	}
	return report->state;
}

/* Answers the call that started a migration, with its end or, detached, with its beginning. */
static void methods_answer(struct control_call *call, const struct report *report)
{
	char text[METHODS_REPLY_MAX];

	methods_describe(report, REPORT_ALL, text);
	if (report->state == REPORT_FAILED)
		control_fail_with(call, CLIENT_ERROR_FAILED, text);
	else if (report->state == REPORT_UNKNOWN)
		control_fail_with(call, CLIENT_ERROR_UNKNOWN, text);
	else
		control_reply(call, text);
}

static const char *methods_start_error(int ret)
{
	return ret == -EBUSY      ? CLIENT_ERROR_BUSY
	       : ret == -EALREADY ? CLIENT_ERROR_UNKNOWN
				  : CLIENT_ERROR_FAILED;
}

static void methods_migrate(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct job *job = &m->job;
	struct source_config config = { 0 };
	struct error err = { 0 };
	char to[JOB_TO_MAX];
	struct job_follower f;
	struct report report;
	bool detach = false;
	int ret;

	if (!methods_wait(m, call) || !methods_read(call, &config, &detach, to))
		return;
	ret = job_open_follower(&f, &err);
	if (ret < 0) {
		control_fail(call, CLIENT_ERROR_BUSY, err.text);
		return;
	}
	ret = job_start(job, &config, &f, &err);
	if (ret < 0) {
		control_fail(call, methods_start_error(ret), err.text);
		goto unfollow;
	}
	/* The job owns it by now. */
	control_take_fd(call);
	if (detach && !call->more)
		job_news(job, &f, &report);
	else
		methods_watch(call, job, &f, detach ? METHODS_LEAVE : METHODS_CANCEL, &report);
	methods_answer(call, &report);

unfollow:
	job_unfollow(job, &f);
}

/* Answers with every reason against a migration, none if there is nothing against it. */
static void methods_answer_check(struct control_call *call, const struct check *check)
{
	char text[METHODS_REPLY_MAX], quoted[METHODS_QUOTED_MAX];
	int n = snprintf(text, sizeof(text), "{\"streamVersion\":%u,\"obstacles\":[", check->stream_version);

	for (unsigned int i = 0; i < check->n_obstacles; i++) {
		json_quote(check->obstacles[i], quoted, sizeof(quoted));
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s", i > 0 ? "," : "", quoted);
	}
	n += snprintf(text + n, sizeof(text) - (size_t)n, "]}");
	assert((size_t)n < sizeof(text));
	control_reply(call, text);
}

static void methods_fail_check(struct control_call *call, int ret, const char *reason)
{
	char text[METHODS_QUOTED_MAX + 64], quoted[METHODS_QUOTED_MAX];

	json_quote(reason, quoted, sizeof(quoted));
	snprintf(text, sizeof(text), "{\"reason\":%s,\"cause\":\"%s\"}", quoted,
		 report_cause_names[report_cause_of(ret)]);
	control_fail_with(call, CLIENT_ERROR_FAILED, text);
}

static void methods_check(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct check check;
	int ret;

	if (!methods_wait(m, call) || !methods_check_connection(call) || !methods_stay(m, call))
		return;
	ret = check_run(m->vm, control_take_fd(call), control_call_fd(call), &check);
	methods_stayed(m);
	if (ret == 0)
		methods_answer_check(call, &check);
	else if (ret == -EBUSY)
		control_fail(call, CLIENT_ERROR_BUSY, check.err.text);
	else
		methods_fail_check(call, ret, check.err.text);
}

/* Has @f follow what there is; false if the call has been answered. */
static bool methods_follow(struct control_call *call, struct job *job, struct job_follower *f)
{
	struct error err = { 0 };

	if (job_open_follower(f, &err) < 0) {
		control_fail(call, CLIENT_ERROR_BUSY, err.text);
		return false;
	}
	job_follow(job, f);
	return true;
}

static void methods_status(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct job *job = &m->job;
	char text[METHODS_REPLY_MAX];
	struct job_follower f;
	struct report report;
	bool stays;

	if (!methods_follow(call, job, &f))
		return;
	/* Of one that has ended there is nothing to wait for. */
	stays = call->more && job_news(job, &f, &report) == REPORT_RUNNING;
	if (stays && !methods_stay(m, call))
		goto unfollow;
	if (stays) {
		methods_watch(call, job, &f, METHODS_LEAVE, &report);
		methods_stayed(m);
	} else {
		job_news(job, &f, &report);
	}
	methods_describe(&report, REPORT_ALL, text);
	control_reply(call, text);

unfollow:
	job_unfollow(job, &f);
}

static void methods_cancel(struct control_call *call, void *opaque)
{
	struct job *job = &((struct methods *)opaque)->job;
	char text[METHODS_QUOTED_MAX + 128], reason[METHODS_QUOTED_MAX];
	struct job_follower f;
	struct report report;

	if (!methods_follow(call, job, &f))
		return;
	job_news(job, &f, &report);
	if (report.state == REPORT_NONE || report.state == REPORT_FAILED) {
		control_fail(call, CLIENT_ERROR_NONE, "no migration of this guest is under way");
	} else {
		/* Of one that has ended this says what has become of it. */
		job_cancel(job, &f);
		methods_watch(call, job, &f, METHODS_LEAVE, &report);
		json_quote(report.reason, reason, sizeof(reason));
		snprintf(text, sizeof(text), "{\"cancelled\":%s,\"state\":\"%s\",\"reason\":%s}",
			 report.state == REPORT_FAILED ? "true" : "false", report_state_names[report.state],
			 reason);
		control_reply(call, text);
	}
	job_unfollow(job, &f);
}

static void methods_set(struct control_call *call, void *opaque)
{
	struct job *job = &((struct methods *)opaque)->job;
	enum source_stalled stalled = SOURCE_THROTTLE;
	uint64_t downtime_ns = 0, bandwidth = 0;
	struct job_change change = { 0 };

	if (!methods_read_limits(call, &downtime_ns, &bandwidth, &stalled))
		return;
	change.downtime_limit_ns = control_has(call, "downtimeMs") ? &downtime_ns : NULL;
	change.bandwidth = control_has(call, "bandwidth") ? &bandwidth : NULL;
	change.stalled = control_has(call, "stalled") ? &stalled : NULL;
	if (!change.downtime_limit_ns && !change.bandwidth && !change.stalled)
		control_fail(call, CLIENT_ERROR_CALL,
			     "nothing to set: \"downtimeMs\", \"bandwidth\" or \"stalled\"");
	else if (job_set(job, &change) < 0)
		control_fail(call, CLIENT_ERROR_NONE, "no migration of this guest is under way");
	else
		control_reply(call, "{}");
}

/* After an unknown outcome the call is the operator's word that the guest does not run at the destination. */
static void methods_resume(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct error err = { 0 };
	int ret;

	if (!methods_wait(m, call))
		return;
	ret = job_resume(&m->job, JOB_FROM_PAUSE_OR_UNKNOWN, &err);
	if (ret == -ENOENT) {
		control_fail(call, CLIENT_ERROR_NOT_PAUSED, "the guest is not paused");
	} else if (ret < 0) {
		log_error("the guest cannot go on here, and stays paused: %s", err.text);
		control_fail(call, CLIENT_ERROR_RESUME, err.text);
	} else {
		log_info("the guest goes on here, on the operator's word");
		control_reply(call, "{}");
	}
}

static void methods_console(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;
	struct error err = { 0 };
	struct device *dev;
	int ret;

	if (!methods_wait(m, call))
		return;
	for (dev = m->vm->devices; dev && !dev->ops->attach;)
		dev = dev->next;
	if (!dev) {
		control_fail(call, CLIENT_ERROR_NOT_RUNNING, "this VM has no serial line");
		return;
	}
	ret = dev->ops->attach(dev, call->passed_fd, &err);
	if (ret < 0) {
		control_fail(call, ret == -EBUSY ? CLIENT_ERROR_BUSY : CLIENT_ERROR_CONNECTION, err.text);
		return;
	}
	/* The device owns it by now. */
	control_take_fd(call);
	control_reply(call, "{}");
}

static void methods_connect(struct control_call *call, void *opaque)
{
	struct methods *m = opaque;

	if (!methods_stay(m, call))
		return;
	entrance_connect(m->entrance, call);
	methods_stayed(m);
}

static const char *const methods_limits[] = { "downtimeMs", "bandwidth", "stalled", NULL };
static const char *const methods_move[] = { "to",       "downtimeMs", "bandwidth", "stalled",
					    "compress", "timeoutMs",  "detach",    NULL };

static const char *const methods_nic[] = { "nic", "queue", NULL };
static const char *const methods_part[] = { "from", NULL };

static const struct control_method methods_all[] = {
	{ .name = "Connect", .fn = methods_connect },
	{ .name = "Migrate", .fn = methods_migrate, .parameters = methods_move },
	{ .name = "CheckMigration", .fn = methods_check, .parameters = methods_move },
	{ .name = "MigrationStatus", .fn = methods_status },
	{ .name = "SetMigration", .fn = methods_set, .parameters = methods_limits },
	{ .name = "CancelMigration", .fn = methods_cancel },
	{ .name = "Resume", .fn = methods_resume },
	{ .name = "Describe", .fn = methods_describe_vm },
	{ .name = "DescribeNic", .fn = methods_describe_nic, .parameters = methods_nic },
	{ .name = "Console", .fn = methods_console },
	{ .name = "Metrics", .fn = methods_metrics, .parameters = methods_part },
};

static const char methods_description[] =
#include "ferry.varlink.h"
	;

const struct control_interface methods_interface = {
	.name = CLIENT_INTERFACE,
	.description = methods_description,
	.methods = methods_all,
	.n_methods = ARRAY_SIZE(methods_all),
};
