/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source of a migration: its stages in order, the decision when the guest stops, the way back. */
#include "migration/source.h"

#include <errno.h>
#include <stdlib.h>

#include "migration/ram.h"

/* For an answer while the guest runs: it loses nothing by waiting, and a peer that has gone is noticed at
 * once. */
#define SOURCE_RUNNING_TIMEOUT_MS 60000
/* While it stands still: longer than a loaded host takes, shorter than what its TCP connections survive. */
#define SOURCE_STOPPED_TIMEOUT_MS 10000

/* A pass of less than this takes mostly the round trip's time, and says little about the link. */
#define SOURCE_BANDWIDTH_SAMPLE MIB(4)
/* So little that another round would not shorten the downtime by anything to be noticed. */
#define SOURCE_SMALL_REST KIB(32)
/*
 * A guest that writes in bursts leaves ten times as much in one round as in the next. Within the downtime
 * limit this many rounds are looked at, then the first that leaves about the least seen is the last. One that
 * does not come by the latter number is not waited for.
 */
#define SOURCE_LOW_ROUNDS_MIN 4u
#define SOURCE_LOW_ROUNDS_MAX 16u
/* Rounds without a new low of what is left, after which the guest is called stalled. */
#define SOURCE_STALLED_ROUNDS 3u
/* Rounds for which a guest can put off its stop by changing device state. What is pending then goes with
 * STATE. */
#define SOURCE_WARM_ROUNDS 8u

/* For a destination to let go of what the guest needs back, while it stands still. */
#define SOURCE_RECLAIM_NS      UINT64_C(3000000000)
#define SOURCE_RECLAIM_STEP_NS 5000000

static const unsigned int source_throttle_steps[] = { 20, 40, 60, 80, 90, 95, 99 };

struct source {
	struct vm *vm;
	const struct source_config *config;
	struct report *report;
	struct channel channel;
	struct stream stream;
	struct dirty dirty;
	struct ram_pass pass;
	uint64_t start_ns;

	/* When to stop. */
	uint64_t bandwidth; /* bytes a second, smoothed over passes; 0: not known yet */
	uint64_t least_remaining;
	unsigned int n_stalled;
	uint64_t least_fitting; /* the least remaining, of the rounds within the limit */
	unsigned int n_fitting; /* rounds within the limit that did not halve it */
	unsigned int n_warm_rounds;
	unsigned int throttle_step;

	/* The guest stands still. */
	bool vm_paused;
	bool devices_paused;
	bool devices_tracked; /* or some of them */
	bool committed;
	uint64_t paused_ns;
	uint64_t mark_ns; /* end of the part of the downtime noted last */
};

static void source_progress(struct source *s)
{
	s->report->elapsed_ns = now_ns() - s->start_ns;
	if (s->config->progress && !s->vm_paused)
		s->config->progress(s->config->opaque, s->report);
}

static int source_check_vm(struct source *s, struct error *err)
{
	return vm_ended(s->vm) ? error_add(err, -ESHUTDOWN, "the guest has ended") : 0;
}

/* Whether it makes sense to go on: here, at the destination, and for the operator. */
static int source_check(struct source *s, struct error *err)
{
	int ret = source_check_vm(s, err);

	return ret < 0 ? ret : stream_check(&s->stream, err);
}

/* Of the pass so far, bytes a second. */
static uint64_t source_pass_bandwidth(const struct source *s)
{
	return s->pass.wire_ns ? (uint64_t)((double)s->pass.wire_bytes / (double)s->pass.wire_ns * 1e9) : 0;
}

static int source_tick(void *opaque, struct error *err)
{
	struct source *s = opaque;

	s->report->bytes_per_second = source_pass_bandwidth(s);
	source_progress(s);
	return source_check_vm(s, err);
}

/* Closes a tree and sends it as one frame. */
static int source_send_tree(struct source *s, enum stream_type type, uint64_t arg, struct state_writer *w,
			    struct error *err)
{
	uint32_t len;
	void *tree;
	int ret = state_close(w, &tree, &len);

	if (ret < 0)
		return error_add(err, ret, "cannot write the tree of %s: %s", stream_type_name(type),
				 strerror(-ret));
	ret = stream_send(&s->stream, type, arg, tree, len, err);
	free(tree);
	return ret;
}

static int source_connect(struct source *s, struct error *err)
{
	int ret = channel_connect(&s->channel, s->config->to, s->config->cancel_fd, err);

	return ret < 0 ? ret : stream_init(&s->stream, &s->channel, SOURCE_RUNNING_TIMEOUT_MS, err);
}

static int source_hello(struct source *s, struct error *err)
{
	struct state_writer w;
	uint32_t n = 0;
	int ret = state_open_writer(&w);

	/* A failure sticks, and comes back when the tree is closed. */
	if (ret == 0) {
		state_begin(&w, "vm");
		vm_describe(s->vm, &w);
		state_end(&w);
	}
	for (struct device *dev = s->vm->devices; dev; dev = dev->next)
		n++;
	state_begin(&w, "devices");
	state_put_u32(&w, "count", n);
	n = 0;
	for (struct device *dev = s->vm->devices; dev; dev = dev->next) {
		state_begin_indexed(&w, "device", n++);
		state_put_string(&w, "name", dev->name);
		state_begin(&w, "config");
		if (dev->ops->describe)
			dev->ops->describe(dev, &w);
		state_end(&w);
		state_end(&w);
	}
	state_end(&w);
	ret = source_send_tree(s, STREAM_HELLO, STREAM_VERSION, &w, err);
	if (ret < 0)
		return ret;
	return stream_expect(&s->stream, STREAM_READY, NULL, 0, SOURCE_RUNNING_TIMEOUT_MS, err);
}

/* Once it is sure that there is a destination, and before the log begins: nothing may be written behind it.
 */
static int source_track(struct source *s, struct error *err)
{
	s->devices_tracked = true;
	for (struct device *dev = s->vm->devices; dev; dev = dev->next) {
		struct error reason = { 0 };
		uint64_t still_ns = 0;
		int ret = dev->ops->track ? dev->ops->track(dev, true, &still_ns, &reason) : 0;

		if (ret < 0)
			return error_add(err, ret, "%s: %s", dev->name, reason.text);
		s->report->still_ns = max_u64(s->report->still_ns, still_ns);
	}
	return 0;
}

/* One pass over what is marked. */
static int source_round(struct source *s, struct error *err)
{
	int ret;

	s->pass = (struct ram_pass){ .stream = &s->stream,
				     .dirty = &s->dirty,
				     .report = s->report,
				     .tick = source_tick,
				     .opaque = s };
	ret = ram_send(&s->pass, err);
	if (ret == 0)
		ret = stream_send(&s->stream, STREAM_ROUND, s->report->round, NULL, 0, err);
	if (ret == 0)
		s->report->round++;
	return ret;
}

/*
 * A round while the guest runs. What is still in the buffers of a slow link or a slow destination when the
 * guest stops would be part of the downtime, and unknown to the estimate of it: so none is.
 */
static int source_live_round(struct source *s, struct error *err)
{
	int ret = source_round(s, err);
	uint64_t start_ns = now_ns();

	if (ret == 0)
		ret = stream_send(&s->stream, STREAM_SYNC, 0, NULL, 0, err);
	if (ret == 0)
		ret = stream_expect(&s->stream, STREAM_SYNC_OK, NULL, 0, SOURCE_RUNNING_TIMEOUT_MS, err);
	if (ret < 0)
		return ret;
	s->pass.wire_ns += now_ns() - start_ns;
	if (s->pass.wire_bytes >= SOURCE_BANDWIDTH_SAMPLE || s->bandwidth == 0) {
		uint64_t sample = source_pass_bandwidth(s);

		s->bandwidth = s->bandwidth ? (s->bandwidth + sample) / 2 : sample;
	}
	s->report->bytes_per_second = s->bandwidth;
	return 0;
}

static int source_first_round(struct source *s, struct error *err)
{
	int ret = dirty_start(&s->dirty, s->vm, err);

	return ret < 0 ? ret : source_live_round(s, err);
}

/* 1 if @dev's state has gone ahead and was taken, 0 if there was nothing new. */
static int source_warm_device(struct source *s, struct device *dev, bool first, struct error *err)
{
	struct state_writer w;
	int ret = state_open_writer(&w), changed = 1;

	if (ret == 0) {
		state_put_string(&w, "device", dev->name);
		state_begin(&w, "state");
		changed = dev->ops->warm_save(dev, &w, first);
		state_end(&w);
	}
	if (changed == 0) {
		uint32_t len;
		void *tree;

		if (state_close(&w, &tree, &len) == 0)
			free(tree);
		return 0;
	}
	ret = source_send_tree(s, STREAM_WARM, 0, &w, err);
	if (ret == 0)
		ret = stream_expect(&s->stream, STREAM_WARM_OK, NULL, 0, SOURCE_RUNNING_TIMEOUT_MS, err);
	if (ret < 0)
		return ret;
	s->report->n_warm++;
	return 1;
}

/* 1 if anything went ahead, 0 if nothing was new. */
static int source_warm(struct source *s, bool first, struct error *err)
{
	int sent = 0;

	for (struct device *dev = s->vm->devices; dev; dev = dev->next) {
		int ret = dev->ops->warm_save ? source_warm_device(s, dev, first, err) : 0;

		if (ret < 0)
			return ret;
		sent |= ret;
	}
	return sent;
}

/*
 * After the first round, not before it: where both hosts share a switch, two devices with one address are up
 * for a short time only; and what the destination takes long for is sent again in the rounds that follow.
 */
static int source_first_warm(struct source *s, struct error *err)
{
	int ret = source_warm(s, true, err);

	return ret < 0 ? ret : 0;
}

static int source_throttle(struct source *s, struct error *err)
{
	unsigned int percent;
	int ret;

	if (s->throttle_step == ARRAY_SIZE(source_throttle_steps))
		return error_add(err, -EBUSY,
				 "the guest's memory changes faster than it can be sent, even with its vCPUs "
				 "kept back %u %% of the time; allow a longer downtime",
				 s->report->throttle);
	percent = source_throttle_steps[s->throttle_step++];
	ret = vm_throttle(s->vm, percent);
	if (ret < 0)
		return error_add(err, ret, "cannot keep vCPUs back: %s", strerror(-ret));
	s->report->throttle = percent;
	return 0;
}

static int source_stop_anyway(struct source *s, struct error *err)
{
	return 1;
}

static int source_give_up(struct source *s, struct error *err)
{
	return error_add(
		err, -EBUSY,
		"the guest's memory changes faster than it can be sent: %llu MiB left at %llu MiB/s; "
		"allow a longer downtime, or throttling",
		(unsigned long long)(s->report->remaining_bytes >> 20),
		(unsigned long long)(s->bandwidth >> 20));
}

static int (*const source_stalled_policies[])(struct source *s, struct error *err) = {
	[SOURCE_THROTTLE] = source_throttle,
	[SOURCE_STOP] = source_stop_anyway,
	[SOURCE_CANCEL] = source_give_up,
};

/* How long the rest takes, as far as can be known. */
static uint64_t source_expected_ns(const struct source *s)
{
	if (s->report->remaining_bytes == 0 || s->bandwidth == 0)
		return s->report->remaining_bytes == 0 ? 0 : UINT64_MAX;
	return (uint64_t)((double)s->report->remaining_bytes / (double)s->bandwidth * 1e9);
}

/* Whether what is left, which fits the limit, is about as little as it gets. Another round costs one answer
 * of the destination's, while the guest runs; each page that it spares the last one costs the guest. */
static bool source_at_low(struct source *s, uint64_t remaining)
{
	uint64_t least = s->least_fitting;

	s->least_fitting = min_u64(least, remaining);
	if (remaining <= SOURCE_SMALL_REST)
		return true;
	if (remaining <= least / 2 || ++s->n_fitting < SOURCE_LOW_ROUNDS_MIN)
		return false;
	return remaining <= least + least / 8 || s->n_fitting >= SOURCE_LOW_ROUNDS_MAX;
}

/* The one place that decides when the guest stops: 1 now, 0 after another round at the earliest, or -errno.
 */
static int source_decide(struct source *s, bool warm_pending, struct error *err)
{
	uint64_t remaining = s->report->remaining_bytes;

	if (source_expected_ns(s) <= s->config->downtime_limit_ns) {
		if (!source_at_low(s, remaining))
			return 0;
		return !warm_pending || ++s->n_warm_rounds > SOURCE_WARM_ROUNDS;
	}
	if (remaining < s->least_remaining - s->least_remaining / 10) {
		s->least_remaining = remaining;
		s->n_stalled = 0;
		return 0;
	}
	if (++s->n_stalled < SOURCE_STALLED_ROUNDS)
		return 0;
	s->n_stalled = 0;
	return source_stalled_policies[s->config->stalled](s, err);
}

static int source_rounds(struct source *s, struct error *err)
{
	s->least_remaining = s->least_fitting = UINT64_MAX;
	for (;;) {
		int warm = source_warm(s, false, err);
		int ret = warm < 0 ? warm : dirty_sync(&s->dirty, err);

		if (ret < 0)
			return ret;
		s->report->remaining_bytes = dirty_bytes(&s->dirty);
		source_progress(s);
		ret = source_check(s, err);
		if (ret == 0)
			ret = source_decide(s, warm > 0, err);
		if (ret != 0)
			return ret < 0 ? ret : 0;
		ret = source_live_round(s, err);
		if (ret < 0)
			return ret;
	}
}

/* The time since the last mark was spent on @part. */
static void source_mark(struct source *s, enum report_part part)
{
	uint64_t now = now_ns();

	s->report->parts_ns[part] += now - s->mark_ns;
	s->mark_ns = now;
}

/* Gives up to @ns of what @from was charged with to @to: the destination knows what it did meanwhile. */
static void source_move_part(struct source *s, enum report_part from, enum report_part to, uint64_t ns)
{
	ns = min_u64(ns, s->report->parts_ns[from]);
	s->report->parts_ns[from] -= ns;
	s->report->parts_ns[to] += ns;
}

static int source_stop(struct source *s, struct error *err)
{
	uint64_t expected_ns = min_u64(source_expected_ns(s), UINT64_MAX / 8);

	s->stream.timeout_ms = SOURCE_STOPPED_TIMEOUT_MS;
	s->paused_ns = s->mark_ns = now_ns();
	/* A peer that takes a byte now and then must not hold the guest for ever either. */
	s->channel.deadline_ns =
		s->paused_ns + SOURCE_STOPPED_TIMEOUT_MS * UINT64_C(1000000) + 4 * expected_ns;
	s->vm_paused = true;
	vm_pause(s->vm);
	source_mark(s, REPORT_VCPUS_STOPPED);
	s->devices_paused = true;
	for (struct device *dev = s->vm->devices; dev; dev = dev->next) {
		if (dev->ops->pause)
			dev->ops->pause(dev);
	}
	source_mark(s, REPORT_NIC_QUIESCED);
	return source_check_vm(s, err);
}

static int source_last_round(struct source *s, struct error *err)
{
	int ret = dirty_sync(&s->dirty, err);

	if (ret == 0)
		ret = source_round(s, err);
	source_mark(s, REPORT_LAST_RAM);
	return ret;
}

static int source_save(struct source *s, struct state_writer *w, struct error *err)
{
	int ret;

	state_begin(w, "vm");
	ret = vm_save(s->vm, w, err);
	state_end(w);
	state_begin(w, "devices");
	for (struct device *dev = s->vm->devices; ret == 0 && dev; dev = dev->next) {
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
	struct state_writer w;
	uint32_t len;
	void *tree;
	int ret = state_open_writer(&w);

	if (ret == 0)
		ret = source_save(s, &w, err);
	if (ret < 0) {
		if (state_close(&w, &tree, &len) == 0)
			free(tree);
		return err->text[0] ? ret : error_add(err, ret, "cannot save: %s", strerror(-ret));
	}
	ret = source_send_tree(s, STREAM_STATE, 0, &w, err);
	source_mark(s, REPORT_STATE);
	if (ret == 0)
		ret = stream_expect(&s->stream, STREAM_PREPARED, &timings, sizeof(timings),
				    SOURCE_STOPPED_TIMEOUT_MS, err);
	if (ret < 0)
		return ret;
	/* What it was not loading in this time, it was still reading memory. */
	source_mark(s, REPORT_LAST_RAM);
	source_move_part(s, REPORT_LAST_RAM, REPORT_LOAD, get_le64(&timings.load_ns));
	return 0;
}

static int source_commit(struct source *s, struct error *err)
{
	uint64_t sent = s->stream.bytes_sent;
	struct stream_timings timings = { 0 };
	int ret = source_check(s, err);

	if (ret < 0)
		return ret;
	/* Nobody can call it off any more. */
	s->channel.cancel_fd = -1;
	s->channel.deadline_ns = 0;
	ret = stream_send(&s->stream, STREAM_COMMIT, 0, NULL, 0, err);
	/* What has not left at all cannot arrive. */
	if (ret < 0 && s->stream.bytes_sent == sent)
		return ret;
	s->committed = true;
	if (ret == 0)
		ret = stream_expect(&s->stream, STREAM_RUNNING, &timings, sizeof(timings),
				    SOURCE_STOPPED_TIMEOUT_MS, err);
	if (ret < 0)
		return ret;
	source_mark(s, REPORT_COMMIT);
	source_move_part(s, REPORT_COMMIT, REPORT_RESUMED, get_le64(&timings.resume_ns));
	s->report->downtime_ns = s->mark_ns - s->paused_ns;
	return 0;
}

static const struct source_stage {
	const char *name;
	int (*fn)(struct source *s, struct error *err);
} source_stages[] = {
	{ "connect", source_connect },    { "hello", source_hello },        { "track", source_track },
	{ "memory", source_first_round }, { "devices", source_first_warm }, { "rounds", source_rounds },
	{ "stop", source_stop },          { "last", source_last_round },    { "state", source_state },
	{ "commit", source_commit },
};

static int source_run(struct source *s, struct error *err)
{
	struct error reason = { 0 };
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(source_stages) && ret == 0; i++) {
		s->report->stage = source_stages[i].name;
		source_progress(s);
		ret = source_stages[i].fn(s, &reason);
	}
	/* The end of the guest ends its Ferry, which calls off what waits for an answer. */
	if (ret == -ECANCELED && vm_ended(s->vm)) {
		reason = (struct error){ 0 };
		ret = source_check_vm(s, &reason);
	}
	if (ret < 0)
		error_add(err, ret, "%s: %s", s->report->stage, reason.text);
	return ret;
}

/* All devices, or the guest stays where it is. A destination that has heard of the end lets go at once. */
static int source_reclaim(struct source *s, struct error *err)
{
	const struct timespec pause = { .tv_nsec = SOURCE_RECLAIM_STEP_NS };
	uint64_t deadline_ns = now_ns() + SOURCE_RECLAIM_NS;

	for (struct device *dev = s->vm->devices; dev; dev = dev->next) {
		struct error reason = { 0 };
		int ret = 0;

		while (dev->ops->reclaim && (ret = dev->ops->reclaim(dev, &reason)) == -EAGAIN &&
		       now_ns() < deadline_ns) {
			reason = (struct error){ 0 };
			/* Nothing tells of another process's lock without waiting for it without end. */
			nanosleep(&pause, NULL);
		}
		if (ret < 0)
			return error_add(err, ret, "%s: %s", dev->name, reason.text);
	}
	return 0;
}

static int source_go_on(struct source *s, struct error *err)
{
	if (s->devices_paused) {
		int ret = source_reclaim(s, err);

		if (ret < 0)
			return ret;
		for (struct device *dev = s->vm->devices; dev; dev = dev->next) {
			if (dev->ops->resume)
				dev->ops->resume(dev, false);
		}
	}
	if (s->vm_paused)
		vm_resume(s->vm);
	s->vm_paused = false;
	return 0;
}

/* The log is off, and the guest goes on here. */
static void source_untrack(struct source *s)
{
	for (struct device *dev = s->vm->devices; s->devices_tracked && dev; dev = dev->next) {
		if (dev->ops->track)
			dev->ops->track(dev, false, NULL, NULL);
	}
}

static void source_end_throttle(struct source *s)
{
	s->report->throttle = 0;
	if (s->throttle_step > 0 && vm_throttle(s->vm, 0) < 0)
		log_error("cannot end keeping vCPUs back");
}

enum source_result source_migrate(struct vm *vm, const struct source_config *config, struct report *report,
				  struct error *err)
{
	struct source s = {
		.vm = vm, .config = config, .report = report, .channel.fd = -1, .start_ns = now_ns()
	};
	enum source_result result;
	int ret;

	*report = (struct report){ .total_bytes = vm->memory.size };
	if (atomic_exchange(&vm->migrating, true)) {
		error_add(err, -EBUSY,
			  "a migration of this guest is under way, or has ended without an answer");
		return SOURCE_FAILED;
	}
	ret = source_run(&s, err);
	result = ret == 0 ? SOURCE_MOVED : s.committed ? SOURCE_UNKNOWN : SOURCE_FAILED;
	/* First of all: the destination may wait for it to let go of what the guest needs here. */
	stream_exit(&s.stream);
	channel_close(&s.channel);
	if (result == SOURCE_FAILED && source_go_on(&s, err) < 0) {
		error_add(
			err, ret,
			"the guest does not run at the destination, and cannot go on here: it stays paused. "
			"\"ferry resume\" once the process at the destination has ended");
		result = SOURCE_UNKNOWN;
	}
	source_end_throttle(&s);
	if (result == SOURCE_MOVED) {
		/* KVM would build this VM's memory anew, on a host that may be the one where the guest
		 * begins. */
		dirty_forget(&s.dirty);
		devices_release(vm->devices);
	} else {
		dirty_stop(&s.dirty);
	}
	if (result == SOURCE_FAILED)
		source_untrack(&s);
	if (s.committed && ret < 0)
		error_add(err, ret,
			  "the guest may run at the destination: COMMIT was sent, and no answer came; it "
			  "stays paused here");
	report->elapsed_ns = now_ns() - s.start_ns;
	/* After an unknown end, source_resume() gives it back. */
	if (result == SOURCE_FAILED)
		atomic_store(&vm->migrating, false);
	return result;
}

int source_resume(struct vm *vm, struct error *err)
{
	struct source s = { .vm = vm, .vm_paused = true, .devices_paused = true, .devices_tracked = true };
	int ret = source_go_on(&s, err);

	if (ret < 0)
		return ret;
	source_untrack(&s);
	atomic_store(&vm->migrating, false);
	return 0;
}
