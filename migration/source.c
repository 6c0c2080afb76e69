/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source of a migration: its stages in order, the switchover, the way back. */
#include "migration/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "migration/boot.h"
#include "migration/clock.h"
#include "migration/hello.h"
#include "migration/rounds.h"
#include "vmm/shortage.h"

/* Limit for an answer while the guest stands still: longer than a loaded host takes, shorter than what its
 * TCP connections survive. */
#define SOURCE_STOPPED_TIMEOUT_MS 10000

/* Time for a disk's storage to answer while the guest stands still. The storage has answered a moment ago,
 * and the guest's connections are to survive. */
#define SOURCE_SETTLE_NS UINT64_C(3000000000)

/* Time for a destination to let go of what the guest needs back, while it stands still, and between looks at
 * whether it has. */
#define SOURCE_RECLAIM_NS      UINT64_C(3000000000)
#define SOURCE_RECLAIM_STEP_NS 5000000

struct source {
	struct outgoing out;
	struct rounds rounds;
	bool devices_paused;
	bool devices_tracked; /* or some of them */
	bool committed;
	/* Opened while the guest runs; all zero before and after that. */
	struct state_writer state;
	/* Ready once the migration is called off, -1 before source_adopt(). */
	int called_off_fd;
	uint64_t paused_ns;
	/* End of the part of the downtime noted last. */
	uint64_t mark_ns;
};

static int source_watch(const struct source *s, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return fd >= 0 && epoll_ctl(s->called_off_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Makes one descriptor of the two that end a migration's waits: the operator gives up, and the guest asks for
 * a reset. */
static int source_watch_calls(struct source *s, struct error *err)
{
	int ret = 0;

	s->called_off_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->called_off_fd < 0)
		ret = -errno;
	if (ret == 0)
		ret = source_watch(s, s->out.config->cancel_fd, EPOLLIN | EPOLLRDHUP);
	if (ret == 0)
		ret = source_watch(s, s->out.vm->gate.reset_fd, EPOLLIN);
	if (ret < 0) {
		error_add(err, "cannot watch for the end of the migration: %s%s", strerror(-ret),
			  shortage_advice(ret));
		return ret;
	}
	return 0;
}

static int source_adopt(struct source *s, struct error *err)
{
	int ret = channel_adopt(&s->out.channel, s->out.config->fd, -1, err);

	if (ret == 0)
		ret = source_watch_calls(s, err);
	s->out.channel.cancel_fd = s->called_off_fd;
	s->out.channel.deadline_ns = s->out.end_ns;
	return ret < 0 ? ret : stream_init(&s->out.stream, &s->out.channel, OUTGOING_RUNNING_TIMEOUT_MS, err);
}

/* Logs a difference of the clocks; the destination has seen it, too, and takes the guest nevertheless. @from:
 * when the destination was asked. */
static void source_check_clock(uint64_t clock, uint64_t from)
{
	struct clock_skew skew = clock_compare(clock, from, realtime_ns());
	char text[CLOCK_TEXT_MAX];

	if (clock != 0 && skew.ns > CLOCK_NOTICED_NS)
		log_warn("the destination's clock is %s this host's: the guest's will %s by that",
			 clock_text(text, skew), skew.ahead ? "jump" : "stay ahead");
}

static int source_hello(struct source *s, struct error *err)
{
	struct hello hello;
	uint64_t clock = 0;
	int ret = hello_describe(&hello, s->out.vm, HELLO_MOVE, err);

	if (ret < 0)
		return ret;
	ret = hello_say(&hello, &s->out.stream, &clock, OUTGOING_RUNNING_TIMEOUT_MS, err);
	hello_free(&hello);
	if (ret < 0)
		return ret;
	s->out.report->stream_version = s->out.stream.version;
	compress_init(&s->out.compress, s->out.config->compress, s->out.stream.takes & STREAM_TAKES_LZ4);
	if (s->out.config->compress == SOURCE_COMPRESS_ON && !s->out.compress.on)
		log_warn("the destination's Ferry is too old for compressed memory: it goes as it is");
	source_check_clock(clock, hello.clock);
	return 0;
}

/* Comes once it is sure that there is a destination, and before the log begins, behind which nothing may be
 * written. */
static int source_track(struct source *s, struct error *err)
{
	s->devices_tracked = true;
	for (struct device *dev = s->out.vm->devices; dev; dev = dev->next) {
		struct error reason = { 0 };
		uint64_t still_ns = 0;
		int ret = dev->ops->track ? dev->ops->track(dev, &still_ns, &reason) : 0;

		if (ret < 0) {
			error_add(err, "%s: %s", dev->name, reason.text);
			return ret;
		}
		s->out.report->still_ns = max_u64(s->out.report->still_ns, still_ns);
	}
	return 0;
}

/* Charges @part with the time since the last mark. */
static void source_mark(struct source *s, enum report_part part)
{
	uint64_t now = now_ns();

	s->out.report->parts_ns[part] += now - s->mark_ns;
	s->mark_ns = now;
}

/* Gives up to @ns of what @from was charged with to @to: the destination knows what it did meanwhile. */
static void source_move_part(struct source *s, enum report_part from, enum report_part to, uint64_t ns)
{
	ns = min_u64(ns, s->out.report->parts_ns[from]);
	s->out.report->parts_ns[from] -= ns;
	s->out.report->parts_ns[to] += ns;
}

/* Returns @ret, with a reason if it is one for which there is no state. */
static int source_saved(int ret, struct error *err)
{
	if (ret < 0 && !err->text[0])
		error_add(err, "cannot save the guest's state: %s", strerror(-ret));
	return ret;
}

/* Has room for the state before the guest stops: to touch a page for the first time takes longer than to fill
 * it. */
static int source_open_state(struct source *s, struct error *err)
{
	return source_saved(state_open_writer_for(&s->state, s->out.vm->n_vcpus), err);
}

static int source_stop(struct source *s, struct error *err)
{
	uint64_t expected_ns = min_u64(rounds_expected_ns(&s->rounds), UINT64_MAX / 8);
	int ret = source_open_state(s, err);

	if (ret < 0)
		return ret;
	s->out.stream.timeout_ms = SOURCE_STOPPED_TIMEOUT_MS;
	s->paused_ns = s->mark_ns = now_ns();
	/* A peer that takes a byte now and then must not hold the guest for ever either. */
	s->out.channel.deadline_ns =
		min_u64(s->out.end_ns,
			s->paused_ns + SOURCE_STOPPED_TIMEOUT_MS * UINT64_C(1000000) + 4 * expected_ns);
	s->out.report->stop_ns = s->paused_ns - s->out.start_ns;
	s->out.report->stop_remaining_bytes = s->out.report->remaining_bytes;
	s->out.report->stop_expected_ns = expected_ns;
	s->out.vm_paused = true;
	gate_pause(&s->out.vm->gate);
	source_mark(s, REPORT_VCPUS_STOPPED);
	s->devices_paused = true;
	for (struct device *dev = s->out.vm->devices; dev; dev = dev->next) {
		if (dev->ops->pause)
			dev->ops->pause(dev);
	}
	ret = outgoing_settle(&s->out, s->paused_ns + SOURCE_SETTLE_NS, err);
	source_mark(s, REPORT_NIC_QUIESCED);
	return ret < 0 ? ret : outgoing_check_vm(&s->out, err);
}

static int source_last_round(struct source *s, struct error *err)
{
	int ret = rounds_last(&s->rounds, err);

	source_mark(s, REPORT_LAST_RAM);
	return ret;
}

static int source_save(struct source *s, struct state_writer *w, struct error *err)
{
	int ret;

	state_begin(w, "vm");
	ret = vm_save(s->out.vm, w, err);
	state_end(w);
	state_begin(w, "devices");
	for (struct device *dev = s->out.vm->devices; ret == 0 && dev; dev = dev->next) {
		if (!dev->ops->save)
			continue;
		state_begin(w, dev->name);
		dev->ops->save(dev, w);
		state_end(w);
	}
	state_end(w);
	return ret;
}

static int source_state(struct source *s, struct error *err)
{
	struct stream_timings timings = { 0 };
	int ret = source_saved(source_save(s, &s->state, err), err);

	if (ret < 0)
		return ret;
	ret = outgoing_send_tree(&s->out, STREAM_STATE, 0, &s->state, err);
	source_mark(s, REPORT_STATE);
	if (ret == 0)
		ret = stream_expect(&s->out.stream, STREAM_PREPARED, &timings, sizeof(timings),
				    SOURCE_STOPPED_TIMEOUT_MS, err);
	if (ret < 0)
		return ret;
	/* The destination was still reading memory for as long as it was not loading. */
	source_mark(s, REPORT_LAST_RAM);
	source_move_part(s, REPORT_LAST_RAM, REPORT_LOAD, get_le64(&timings.load_ns));
	return 0;
}

static int source_commit(struct source *s, struct error *err)
{
	uint64_t sent = s->out.stream.bytes_sent;
	struct stream_timings timings = { 0 };
	int ret = outgoing_check(&s->out, err);

	if (ret < 0)
		return ret;
	/* From here on nobody can call the migration off, and an answer that comes in pieces is no answer. */
	s->out.channel.cancel_fd = -1;
	s->out.channel.deadline_ns = end_of(SOURCE_STOPPED_TIMEOUT_MS);
	ret = stream_send(&s->out.stream, STREAM_COMMIT, 0, NULL, 0, err);
	/* A COMMIT of which no byte has left cannot arrive. */
	if (ret < 0 && s->out.stream.bytes_sent == sent)
		return ret;
	s->committed = true;
	if (ret == 0)
		ret = stream_expect(&s->out.stream, STREAM_RUNNING, &timings, sizeof(timings),
				    SOURCE_STOPPED_TIMEOUT_MS, err);
	if (ret < 0)
		return ret;
	source_mark(s, REPORT_COMMIT);
	source_move_part(s, REPORT_COMMIT, REPORT_RESUMED, get_le64(&timings.resume_ns));
	s->out.report->downtime_ns = s->mark_ns - s->paused_ns;
	return 0;
}

static int source_memory(struct source *s, struct error *err)
{
	int ret = boot_send(&s->out, err);

	return ret < 0 ? ret : rounds_first_memory(&s->rounds, err);
}

static int source_devices(struct source *s, struct error *err)
{
	return rounds_first_devices(&s->rounds, err);
}

static int source_rounds(struct source *s, struct error *err)
{
	return rounds_repeat(&s->rounds, err);
}

static const struct source_stage {
	const char *name;
	int (*fn)(struct source *s, struct error *err);
} source_stages[] = {
	{ "adopt", source_adopt },   { "hello", source_hello },     { "track", source_track },
	{ "memory", source_memory }, { "devices", source_devices }, { "rounds", source_rounds },
	{ "stop", source_stop },     { "last", source_last_round }, { "state", source_state },
	{ "commit", source_commit },
};

static int source_run(struct source *s, struct error *err)
{
	struct error reason = { 0 };
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(source_stages) && ret == 0; i++) {
		report_reach(s->out.report, source_stages[i].name, now_ns() - s->out.start_ns);
		outgoing_progress(&s->out);
		ret = source_stages[i].fn(s, &reason);
	}
	/* The end of the guest ends its Ferry, which calls off each wait for an answer; its reset does so,
	 * too. */
	if (ret == -ECANCELED && (gate_ended(&s->out.vm->gate) || gate_resetting(&s->out.vm->gate))) {
		reason = (struct error){ 0 };
		ret = outgoing_check_vm(&s->out, &reason);
	}
	if (!s->committed && (ret == -ETIME || (ret == -ETIMEDOUT && outgoing_check_time(&s->out) < 0)))
		snprintf(reason.text, sizeof(reason.text), "not done within the %llu s that it was given",
			 (unsigned long long)((s->out.config->timeout_ns + 999999999) / 1000000000));
	if (ret < 0)
		error_add(err, "%s: %s", s->out.report->stage, reason.text);
	return ret;
}

/* Has back what the devices need, all of it, or the guest stays paused. A destination that has heard of the
 * end lets go at once. */
static int source_reclaim(struct source *s, struct error *err)
{
	const struct timespec pause = { .tv_nsec = SOURCE_RECLAIM_STEP_NS };
	uint64_t deadline_ns = now_ns() + SOURCE_RECLAIM_NS;

	for (struct device *dev = s->out.vm->devices; dev; dev = dev->next) {
		struct error reason = { 0 };
		int ret = 0;

		while (dev->ops->reclaim && (ret = dev->ops->reclaim(dev, &reason)) == -EAGAIN &&
		       now_ns() < deadline_ns) {
			reason = (struct error){ 0 };
			/* The kernel tells of another process's lock only who waits for it without end. */
			nanosleep(&pause, NULL);
		}
		if (ret < 0) {
			error_add(err, "%s: %s", dev->name, reason.text);
			return ret;
		}
	}
	return 0;
}

static int source_go_on(struct source *s, struct error *err)
{
	if (s->devices_paused) {
		int ret = source_reclaim(s, err);

		if (ret < 0)
			return ret;
		for (struct device *dev = s->out.vm->devices; dev; dev = dev->next) {
			if (dev->ops->resume)
				dev->ops->resume(dev, DEVICE_STAYED);
		}
	}
	if (s->out.vm_paused)
		gate_resume(&s->out.vm->gate);
	s->out.vm_paused = false;
	return 0;
}

/* Lets devices write behind the log again: it is off, and the guest goes on here. */
static void source_untrack(struct source *s)
{
	for (struct device *dev = s->out.vm->devices; s->devices_tracked && dev; dev = dev->next) {
		if (dev->ops->untrack)
			dev->ops->untrack(dev);
	}
}

/* The guest is the VM's own again. A reset that it has asked for has waited for this. */
static void source_give_back(struct vm *vm)
{
	atomic_store(&vm->migrating, false);
	gate_reset_again(&vm->gate);
}

static void source_report_begin(struct source *s)
{
	struct report *r = s->out.report;

	*r = (struct report){ .state = REPORT_RUNNING,
			      .total_bytes = s->out.vm->memory.size,
			      .started = realtime_ns() };
	snprintf(r->to, sizeof(r->to), "%s", s->out.config->to ? s->out.config->to : "");
}

static void source_report_end(struct source *s, enum source_result result, int ret, const struct error *err)
{
	static const enum report_state states[] = { [SOURCE_MOVED] = REPORT_MOVED,
						    [SOURCE_FAILED] = REPORT_FAILED,
						    [SOURCE_UNKNOWN] = REPORT_UNKNOWN };
	struct report *r = s->out.report;

	r->elapsed_ns = now_ns() - s->out.start_ns;
	r->ended = realtime_ns();
	snprintf(r->reason, sizeof(r->reason), "%s", err->text);
	r->cause = report_cause_of(ret);
	r->state = states[result];
}

enum source_result source_migrate(struct vm *vm, const struct source_config *config, struct report *report,
				  struct error *err)
{
	struct source s = { .out = { .vm = vm,
				     .config = config,
				     .report = report,
				     .channel.fd = -1,
				     .start_ns = now_ns() },
			    .called_off_fd = -1,
			    .rounds.out = &s.out };
	enum source_result result;
	int ret;

	s.out.end_ns = config->timeout_ns ? s.out.start_ns + config->timeout_ns : UINT64_MAX;
	source_report_begin(&s);
	if (atomic_exchange(&vm->migrating, true)) {
		error_add(err, gate_resetting(&vm->gate) ? "the guest is being reset: try again in a moment"
							 : "a migration of this guest is under way, or has "
							   "ended without an answer");
		source_report_end(&s, SOURCE_FAILED, -EBUSY, err);
		if (config->fd >= 0)
			close(config->fd);
		return SOURCE_FAILED;
	}
	ret = source_run(&s, err);
	result = ret == 0 ? SOURCE_MOVED : s.committed ? SOURCE_UNKNOWN : SOURCE_FAILED;
	/* First of all, because the destination may wait for the end before it lets go of what the guest
	 * needs here. */
	stream_exit(&s.out.stream);
	state_drop(&s.state);
	compress_exit(&s.out.compress);
	channel_close(&s.out.channel);
	if (s.called_off_fd >= 0)
		close(s.called_off_fd);
	if (result == SOURCE_FAILED && source_go_on(&s, err) < 0) {
		error_add(
			err,
			"the guest does not run at the destination, and cannot go on here: it stays paused. "
			"\"ferry resume\" once the process at the destination has ended");
		result = SOURCE_UNKNOWN;
	}
	if (result == SOURCE_MOVED) {
		rounds_forget(&s.rounds);
		devices_release(vm->devices);
	} else {
		rounds_stop(&s.rounds);
	}
	if (result == SOURCE_FAILED)
		source_untrack(&s);
	if (s.committed && ret < 0)
		error_add(err,
			  "the guest may run at the destination: COMMIT was sent, and no answer came; it "
			  "stays paused here");
	source_report_end(&s, result, ret, err);
	/* After an unknown end source_resume() lets the next migration begin. */
	if (result == SOURCE_FAILED)
		source_give_back(vm);
	return result;
}

int source_resume(struct vm *vm, struct error *err)
{
	struct source s = { .out = { .vm = vm, .vm_paused = true },
			    .devices_paused = true,
			    .devices_tracked = true };
	int ret = source_go_on(&s, err);

	if (ret < 0)
		return ret;
	source_untrack(&s);
	source_give_back(vm);
	return 0;
}
