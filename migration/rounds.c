/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source while the guest runs: rounds over its memory and its devices' state, and when it stops. */
#include "migration/rounds.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A pass of less than this takes mostly the round trip's time, and says little about the link. */
#define ROUNDS_BANDWIDTH_SAMPLE MIB(4)
/* Less than another round could shorten the downtime by, that anybody would notice. So a rest that takes no
 * longer is small, and one that takes no longer than that beyond the least seen is near it. */
#define ROUNDS_LITTLE_NS UINT64_C(1000000)
/*
 * A guest that writes in bursts leaves ten times as much in one round as in the next. Within the downtime
 * limit this many rounds are looked at, then the first that leaves about the least seen is the last. One that
 * does not come by the latter number is not waited for.
 */
#define ROUNDS_LOW_MIN 4u
#define ROUNDS_LOW_MAX 16u
/* Rounds without a new low of what is left, after which the guest is called stalled. */
#define ROUNDS_STALLED_MAX 3u
/* Rounds for which a guest can put off its stop by changing device state. What is pending then goes with
 * STATE. */
#define ROUNDS_WARM_MAX 8u

/* A device's answer within this time costs nothing, because a guest writes little memory in it. After a
 * longer wait another round follows, unless devices take long each time. */
#define ROUNDS_PROMPT_NS UINT64_C(10000000)
#define ROUNDS_SLOW_MAX  4u

static const unsigned int rounds_throttle_steps[] = { 20, 40, 60, 80, 90, 95, 99 };

/* Returns the pass's bandwidth so far, bytes a second of what there is to send: what is left has not been
 * compressed. */
static uint64_t rounds_pass_bandwidth(const struct rounds *r)
{
	return r->pass.wire_ns ? (uint64_t)((double)r->pass.plain_bytes / (double)r->pass.wire_ns * 1e9) : 0;
}

static int rounds_tick(void *opaque, struct error *err)
{
	struct rounds *r = opaque;

	int ret = outgoing_check_vm(r->out, err);

	r->out->report->bytes_per_second = rounds_pass_bandwidth(r);
	outgoing_progress(r->out);
	return ret < 0 ? ret : outgoing_check_time(r->out);
}

static int rounds_sent(void *opaque, uint64_t bytes, struct error *err)
{
	struct rounds *r = opaque;

	/* The wait counts as the link's time: what the operator allows is what the estimates go by. */
	return outgoing_pace(r->out, bytes, &r->pass.wire_ns, err);
}

/* Adds the round that has just ended, which began at @start_ns, to the report. */
static void rounds_record(struct rounds *r, uint64_t start_ns)
{
	const struct report_round round = { .n = 1,
					    .start_ns = start_ns - r->out->start_ns,
					    .ns = now_ns() - start_ns,
					    .bytes = r->pass.wire_bytes,
					    .pages = r->pass.bytes >> PAGE_SHIFT,
					    .zero_pages = r->pass.zero_bytes >> PAGE_SHIFT,
					    .throttle = r->out->report->throttle };

	r->last = report_add_round(r->out->report, &round);
	r->last_ns = start_ns;
}

/* Looks what the guest has written since the last look, and charges the round between the two with it. */
static int rounds_look(struct rounds *r, struct error *err)
{
	int ret = dirty_sync(&r->dirty, err);

	if (ret == 0 && r->last) {
		r->last->written_bytes = dirty_bytes(&r->dirty);
		r->last->written_ns = now_ns() - r->last_ns;
	}
	return ret;
}

static int rounds_send(struct rounds *r, struct error *err)
{
	int ret;

	r->pass = (struct ram_pass){ .stream = &r->out->stream,
				     .dirty = &r->dirty,
				     .compress = &r->out->compress,
				     .report = r->out->report,
				     .tick = rounds_tick,
				     .sent = rounds_sent,
				     .opaque = r };
	ret = ram_send(&r->pass, err);
	if (ret == 0)
		ret = stream_send(&r->out->stream, STREAM_ROUND, r->out->report->round, NULL, 0, err);
	if (ret == 0)
		r->out->report->round++;
	return ret;
}

/*
 * Before it answers for the first time the destination gives KVM and devices all of guest memory, which where
 * that is pinned takes seconds a GiB. It began when the first round did.
 */
#define ROUNDS_PIN_MS_PER_GIB 8000

static int rounds_sync_timeout_ms(const struct rounds *r)
{
	uint64_t gib = (r->out->report->total_bytes + GIB(1) - 1) / GIB(1);

	return OUTGOING_RUNNING_TIMEOUT_MS + (r->bandwidth == 0 ? (int)gib * ROUNDS_PIN_MS_PER_GIB : 0);
}

/* Takes the destination's answer to SYNC, if it owes one. */
static int rounds_take_sync(struct rounds *r, struct error *err)
{
	uint64_t waited_ns = 0, ns;
	int ret;

	if (r->asked_ns == 0)
		return 0;
	ret = stream_expect_arg(&r->out->stream, STREAM_SYNC_OK, &waited_ns, rounds_sync_timeout_ms(r), err);
	/* The destination's work beside the memory has nothing to do with the link. */
	ns = now_ns() - r->asked_ns;
	r->pass.wire_ns += ns - min_u64(ns, waited_ns);
	r->asked_ns = 0;
	return ret;
}

/* Takes all answers that the destination owes, in the order of the questions. */
static int rounds_take_answers(struct rounds *r, struct error *err)
{
	int ret = rounds_take_sync(r, err);

	r->warm_asked_bytes = 0;
	for (; ret == 0 && r->n_warm_asked > 0; r->n_warm_asked--) {
		ret = stream_expect(&r->out->stream, STREAM_WARM_OK, NULL, 0, OUTGOING_RUNNING_TIMEOUT_MS,
				    err);
		if (ret == 0)
			r->out->report->n_warm++;
	}
	return ret;
}

/*
 * Bytes of WARM that may be on their way behind a question without an answer. A socket takes so much at once;
 * and who has to wait until it takes more hears a destination's answer as its refusal.
 */
#define ROUNDS_ASKED_MAX KIB(32)

/* Sends @tree, of @len bytes, ahead. The answer is owed. */
static int rounds_send_warm(struct rounds *r, const void *tree, uint32_t len, struct error *err)
{
	int ret = 0;

	if (r->warm_asked_bytes + len > ROUNDS_ASKED_MAX)
		ret = rounds_take_answers(r, err);
	if (ret == 0)
		ret = stream_send(&r->out->stream, STREAM_WARM, 0, tree, len, err);
	r->warm_asked_bytes += len;
	r->n_warm_asked++;
	return ret;
}

/* Sends @dev's state ahead. Returns 1 if there was anything new, 0 if not, or -errno. */
static int rounds_warm_device(struct rounds *r, struct device *dev, bool first, struct error *err)
{
	struct state_writer w;
	uint32_t len;
	void *tree;
	int ret = state_open_writer(&w), changed = 1;

	if (ret == 0) {
		state_put_string(&w, "device", dev->name);
		state_begin(&w, "state");
		changed = dev->ops->warm_save(dev, &w, first);
		state_end(&w);
	}
	ret = state_close(&w, &tree, &len);
	if (ret < 0) {
		error_add(err, "%s: cannot write the tree of WARM: %s", dev->name, strerror(-ret));
		return ret;
	}
	if (changed > 0)
		ret = rounds_send_warm(r, tree, len, err);
	free(tree);
	return ret < 0 ? ret : changed;
}

/* Sends ahead what is new of all devices' state, of which the answers are owed. Returns 1 if anything was, 0
 * if not, or -errno. */
static int rounds_warm(struct rounds *r, bool first, struct error *err)
{
	int sent = 0;

	for (struct device *dev = r->out->vm->devices; dev; dev = dev->next) {
		int ret = dev->ops->warm_save ? rounds_warm_device(r, dev, first, err) : 0;

		if (ret < 0)
			return ret;
		sent |= ret;
	}
	return sent;
}

/* Asks whether all of the round is in its place. */
static int rounds_ask_sync(struct rounds *r, struct error *err)
{
	r->asked_ns = now_ns();
	return stream_send(&r->out->stream, STREAM_SYNC, 0, NULL, 0, err);
}

/* Takes what the round has shown of the link, and puts it into the report. */
static void rounds_measure(struct rounds *r, uint64_t start_ns)
{
	if (r->pass.wire_bytes >= ROUNDS_BANDWIDTH_SAMPLE || r->bandwidth == 0) {
		uint64_t sample = rounds_pass_bandwidth(r);

		r->bandwidth = r->bandwidth ? (r->bandwidth + sample) / 2 : sample;
	}
	r->out->report->bytes_per_second = r->bandwidth;
	rounds_record(r, start_ns);
}

/* Ends a round that was begun at @start_ns, once all of it is in its place. */
static int rounds_end(struct rounds *r, uint64_t start_ns, struct error *err)
{
	int ret = rounds_take_sync(r, err);

	if (ret < 0)
		return ret;
	rounds_measure(r, start_ns);
	return rounds_take_answers(r, err);
}

int rounds_first_memory(struct rounds *r, struct error *err)
{
	uint64_t start_ns;
	int ret = dirty_start(&r->dirty, r->out->vm, err);

	if (ret < 0)
		return ret;
	start_ns = now_ns();
	ret = rounds_send(r, err);
	if (ret == 0)
		ret = rounds_ask_sync(r, err);
	return ret < 0 ? ret : rounds_end(r, start_ns, err);
}

int rounds_first_devices(struct rounds *r, struct error *err)
{
	int ret = rounds_warm(r, true, err);

	return ret < 0 ? ret : rounds_take_answers(r, err);
}

/*
 * A round while the guest runs. What is still in the buffers of a slow link or a slow destination when the
 * guest stops would be part of the downtime, and unknown to the estimate of it: so none is. What is new of
 * the devices' state goes along, so that both need one answer's time together. Returns 1 if anything was, 0
 * if not, or -errno.
 */
static int rounds_live(struct rounds *r, struct error *err)
{
	uint64_t start_ns = now_ns();
	int ret = rounds_send(r, err), warm = 0;

	if (ret == 0)
		ret = rounds_ask_sync(r, err);
	if (ret == 0)
		ret = warm = rounds_warm(r, false, err);
	if (ret >= 0)
		ret = rounds_end(r, start_ns, err);
	return ret < 0 ? ret : warm;
}

static int rounds_throttle(struct rounds *r, struct error *err)
{
	unsigned int percent;
	int ret;

	if (r->throttle_step == ARRAY_SIZE(rounds_throttle_steps)) {
		error_add(err,
			  "the guest's memory changes faster than it can be sent, even with its vCPUs "
			  "kept back %u %% of the time; allow a longer downtime",
			  r->out->report->throttle);
		return -EBUSY;
	}
	percent = rounds_throttle_steps[r->throttle_step++];
	ret = gate_throttle(&r->out->vm->gate, percent);
	if (ret < 0) {
		error_add(err, "cannot keep vCPUs back: %s", strerror(-ret));
		return ret;
	}
	r->out->report->throttle = percent;
	return 0;
}

/* Returns 1, with the reason in the report. */
static int rounds_stop_now(struct rounds *r, const char *reason)
{
	r->out->report->stopped_because = reason;
	return 1;
}

static int rounds_stop_anyway(struct rounds *r, struct error *err)
{
	return rounds_stop_now(r, "the guest is too busy, and is stopped all the same, as \"stalled\" says");
}

static int rounds_give_up(struct rounds *r, struct error *err)
{
	error_add(err,
		  "the guest's memory changes faster than it can be sent: %llu MiB left at %llu MiB/s; "
		  "allow a longer downtime, or throttling",
		  (unsigned long long)(r->out->report->remaining_bytes >> 20),
		  (unsigned long long)(r->bandwidth >> 20));
	return -EBUSY;
}

static int (*const rounds_stalled_policies[])(struct rounds *r, struct error *err) = {
	[SOURCE_THROTTLE] = rounds_throttle,
	[SOURCE_STOP] = rounds_stop_anyway,
	[SOURCE_CANCEL] = rounds_give_up,
};

uint64_t rounds_expected_ns(const struct rounds *r)
{
	if (r->out->report->remaining_bytes == 0 || r->bandwidth == 0)
		return r->out->report->remaining_bytes == 0 ? 0 : UINT64_MAX;
	return (uint64_t)((double)r->out->report->remaining_bytes / (double)r->bandwidth * 1e9);
}

bool rounds_low_reached(struct rounds_low *low, uint64_t remaining_ns)
{
	uint64_t least_ns = low->least_ns;

	low->least_ns = min_u64(least_ns, remaining_ns);
	if (remaining_ns <= ROUNDS_LITTLE_NS)
		return true;
	if (remaining_ns <= least_ns / 2 || ++low->n_rounds < ROUNDS_LOW_MIN)
		return false;
	/* On a slow link each page takes longer than little. */
	return remaining_ns <= least_ns + max_u64(ROUNDS_LITTLE_NS, least_ns / 8) ||
	       low->n_rounds >= ROUNDS_LOW_MAX;
}

/* Decides when the guest stops, here alone. Returns 1 for now, 0 for after another round at the earliest, or
 * -errno. */
static int rounds_decide(struct rounds *r, bool warm_pending, struct error *err)
{
	uint64_t remaining = r->out->report->remaining_bytes, expected_ns = rounds_expected_ns(r);

	if (expected_ns <= r->out->config->downtime_limit_ns) {
		if (!rounds_low_reached(&r->low, expected_ns))
			return 0;
		if (!warm_pending)
			return rounds_stop_now(r, "what is left fits the downtime limit");
		if (++r->n_warm_rounds > ROUNDS_WARM_MAX)
			return rounds_stop_now(r,
					       "what is left fits the downtime limit, and a device's state "
					       "that never comes to rest is not waited for");
		return 0;
	}
	if (remaining < r->least_remaining - r->least_remaining / 10) {
		r->least_remaining = remaining;
		r->n_stalled = 0;
		return 0;
	}
	if (++r->n_stalled < ROUNDS_STALLED_MAX)
		return 0;
	r->n_stalled = 0;
	return rounds_stalled_policies[atomic_load(&r->out->config->stalled)](r, err);
}

/* Waits for the devices before the stop, while waiting costs no downtime. 1: stop at once, 0: after another
 * round, or -errno. */
static int rounds_ask(struct rounds *r, struct error *err)
{
	uint64_t start_ns = now_ns();
	/* The limit is longer than a device waits, because a device's own error says more. */
	int ret = outgoing_settle(r->out, end_of(2 * OUTGOING_RUNNING_TIMEOUT_MS), err);

	if (ret < 0)
		return ret;
	return now_ns() - start_ns <= ROUNDS_PROMPT_NS || ++r->n_slow_rounds > ROUNDS_SLOW_MAX;
}

/* What the guest has done by the end of a round, in which devices' state went along if @warm is 1. Returns 1
 * if it is to stop now, 0 after another round, or -errno. */
static int rounds_judge(struct rounds *r, int warm, struct error *err)
{
	/* What came up meanwhile is one more answer's time, and mostly there is nothing. */
	int more = rounds_warm(r, false, err);
	int ret = more < 0 ? more : rounds_take_answers(r, err);

	if (ret == 0)
		ret = rounds_look(r, err);
	if (ret < 0)
		return ret;
	r->out->report->remaining_bytes = dirty_bytes(&r->dirty);
	ret = outgoing_check(r->out, err);
	if (ret == 0)
		ret = rounds_decide(r, warm > 0 || more > 0, err);
	return ret > 0 ? rounds_ask(r, err) : ret;
}

int rounds_repeat(struct rounds *r, struct error *err)
{
	int warm = 0;

	r->least_remaining = UINT64_MAX;
	r->low = ROUNDS_LOW_NONE;
	for (;;) {
		int ret = rounds_judge(r, warm, err);

		if (ret != 0)
			return ret < 0 ? ret : 0;
		/* Told here alone: who is told takes time, in which the guest writes what a stop would have
		 * to send. */
		outgoing_progress(r->out);
		ret = warm = rounds_live(r, err);
		if (ret < 0)
			return ret;
	}
}

int rounds_last(struct rounds *r, struct error *err)
{
	int ret = rounds_look(r, err);
	uint64_t start_ns = now_ns();

	if (ret == 0)
		ret = rounds_send(r, err);
	if (ret == 0)
		rounds_record(r, start_ns);
	return ret;
}

static void rounds_end_throttle(struct rounds *r)
{
	r->out->report->throttle = 0;
	if (r->throttle_step > 0 && gate_throttle(&r->out->vm->gate, 0) < 0)
		log_error("cannot end keeping vCPUs back");
}

void rounds_stop(struct rounds *r)
{
	rounds_end_throttle(r);
	dirty_stop(&r->dirty);
}

void rounds_forget(struct rounds *r)
{
	rounds_end_throttle(r);
	dirty_forget(&r->dirty);
}
