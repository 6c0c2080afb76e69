/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source while the guest runs: rounds over its memory and its devices' state, and when it stops. */
#include "migration/outgoing.h"

#include <errno.h>
#include <stdlib.h>

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

/* A device's answer within this time costs nothing, because a guest writes little memory in it. After a
 * longer wait another round follows, unless devices take long each time. */
#define SOURCE_PROMPT_NS   UINT64_C(10000000)
#define SOURCE_SLOW_ROUNDS 4u

static const unsigned int source_throttle_steps[] = { 20, 40, 60, 80, 90, 95, 99 };

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

int source_round(struct source *s, struct error *err)
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
 * Before it answers for the first time the destination gives KVM and devices all of guest memory, which where
 * that is pinned takes seconds a GiB. It began when the first round did.
 */
#define SOURCE_PIN_MS_PER_GIB 8000

static int source_sync_timeout_ms(const struct source *s)
{
	uint64_t gib = (s->report->total_bytes + GIB(1) - 1) / GIB(1);

	return SOURCE_RUNNING_TIMEOUT_MS + (s->bandwidth == 0 ? (int)gib * SOURCE_PIN_MS_PER_GIB : 0);
}

/*
 * A round while the guest runs. What is still in the buffers of a slow link or a slow destination when the
 * guest stops would be part of the downtime, and unknown to the estimate of it: so none is.
 */
static int source_live_round(struct source *s, struct error *err)
{
	int ret = source_round(s, err);
	uint64_t start_ns = now_ns(), waited_ns = 0, ns;

	if (ret == 0)
		ret = stream_send(&s->stream, STREAM_SYNC, 0, NULL, 0, err);
	if (ret == 0)
		ret = stream_expect_arg(&s->stream, STREAM_SYNC_OK, &waited_ns, source_sync_timeout_ms(s),
					err);
	if (ret < 0)
		return ret;
	/* Time for what has nothing to do with the link. */
	ns = now_ns() - start_ns;
	s->pass.wire_ns += ns - min_u64(ns, waited_ns);
	if (s->pass.wire_bytes >= SOURCE_BANDWIDTH_SAMPLE || s->bandwidth == 0) {
		uint64_t sample = source_pass_bandwidth(s);

		s->bandwidth = s->bandwidth ? (s->bandwidth + sample) / 2 : sample;
	}
	s->report->bytes_per_second = s->bandwidth;
	return 0;
}

int source_first_round(struct source *s, struct error *err)
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

int source_first_warm(struct source *s, struct error *err)
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
	ret = gate_throttle(&s->vm->gate, percent);
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

uint64_t source_expected_ns(const struct source *s)
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

/* Waits for the devices before the stop, while waiting costs no downtime. 1: stop at once, 0: after another
 * round, or -errno. */
static int source_ask(struct source *s, struct error *err)
{
	uint64_t start_ns = now_ns();
	/* Longer than a device waits, because a device's own error says more. */
	int ret = source_settle(s, end_of(2 * SOURCE_RUNNING_TIMEOUT_MS), err);

	if (ret < 0)
		return ret;
	return now_ns() - start_ns <= SOURCE_PROMPT_NS || ++s->n_slow_rounds > SOURCE_SLOW_ROUNDS;
}

int source_rounds(struct source *s, struct error *err)
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
		if (ret > 0)
			ret = source_ask(s, err);
		if (ret != 0)
			return ret < 0 ? ret : 0;
		ret = source_live_round(s, err);
		if (ret < 0)
			return ret;
	}
}
