/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part that the stages of a migration's source have in common. */
#include "migration/outgoing.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "vmm/loop.h"

/* Time between looks at whether anybody still wants the migration: short against the patience of a person. */
#define OUTGOING_SETTLE_STEP_NS UINT64_C(100000000)

/* The same while the bandwidth is kept, where a change wakes the wait up. */
#define OUTGOING_PACE_STEP_NS UINT64_C(500000000)
/* Shorter waits are left for later: poll() knows milliseconds. */
#define OUTGOING_PACE_LEAST_NS 1000000u
/* The most by which a wait may have been too long and is made up for: a loaded host's. */
#define OUTGOING_PACE_CREDIT_NS UINT64_C(100000000)

const char *const source_stalled_names[SOURCE_N_STALLED] = {
	[SOURCE_THROTTLE] = "throttle",
	[SOURCE_STOP] = "stop",
	[SOURCE_CANCEL] = "cancel",
};

const char *const source_compress_names[SOURCE_N_COMPRESS] = {
	[SOURCE_COMPRESS_AUTO] = "auto",
	[SOURCE_COMPRESS_ON] = "on",
	[SOURCE_COMPRESS_OFF] = "off",
};

void outgoing_progress(struct outgoing *o)
{
	o->report->elapsed_ns = now_ns() - o->start_ns;
	o->report->downtime_limit_ns = o->config->downtime_limit_ns;
	o->report->bandwidth_limit = o->config->bandwidth;
	o->report->stalled = source_stalled_names[atomic_load(&o->config->stalled)];
	if (o->config->progress && !o->vm_paused)
		o->config->progress(o->config->opaque, o->report);
}

int outgoing_check_vm(struct outgoing *o, struct error *err)
{
	if (gate_ended(&o->vm->gate)) {
		error_add(err, "the guest has ended");
		return -ESHUTDOWN;
	}
	if (gate_resetting(&o->vm->gate)) {
		error_add(err, "the guest has reset itself, and begins anew here");
		return -ESHUTDOWN;
	}
	return 0;
}

int outgoing_check_time(const struct outgoing *o)
{
	return now_ns() < o->end_ns ? 0 : -ETIME;
}

int outgoing_check(struct outgoing *o, struct error *err)
{
	int ret = outgoing_check_vm(o, err);

	if (ret == 0)
		ret = outgoing_check_time(o);
	return ret < 0 ? ret : stream_check(&o->stream, err);
}

/* Waits until @until_ns, or for a change of the settings. */
static int outgoing_wait(struct outgoing *o, uint64_t until_ns, struct error *err)
{
	struct error dropped = { 0 };
	int ret = stream_await(&o->stream, o->config->changed_fd,
			       ms_until(min_u64(until_ns, now_ns() + OUTGOING_PACE_STEP_NS)), &dropped);

	if (ret == 0)
		loop_take(o->config->changed_fd);
	/* A peer that has said why it goes is heard here. */
	ret = outgoing_check(o, err);
	if (ret == 0)
		outgoing_progress(o);
	return ret;
}

int outgoing_pace(struct outgoing *o, uint64_t bytes, uint64_t *waited_ns, struct error *err)
{
	uint64_t start_ns = now_ns(), rate = o->config->bandwidth;
	int ret = 0;

	if (rate == 0 || o->vm_paused)
		return 0;
	/* What a short wait took too long is made up for; a longer silence earns nothing. */
	o->paced_ns = o->paced_ns ? max_u64(o->paced_ns, start_ns - OUTGOING_PACE_CREDIT_NS) : start_ns;
	o->paced_ns += (uint64_t)((double)bytes / (double)rate * 1e9);
	while (ret == 0 && now_ns() + OUTGOING_PACE_LEAST_NS < o->paced_ns) {
		uint64_t left_ns = o->paced_ns - now_ns(), now_rate = o->config->bandwidth;

		if (now_rate == 0)
			break;
		/* What is left of the wait was reckoned with the rate of before. */
		if (now_rate != rate)
			o->paced_ns =
				now_ns() + (uint64_t)((double)left_ns * (double)rate / (double)now_rate);
		rate = now_rate;
		ret = outgoing_wait(o, o->paced_ns, err);
	}
	*waited_ns += now_ns() - start_ns;
	return ret;
}

int outgoing_send_tree(struct outgoing *o, enum stream_type type, uint64_t arg, struct state_writer *w,
		       struct error *err)
{
	uint32_t len;
	void *tree;
	int ret = state_close(w, &tree, &len);

	if (ret < 0) {
		error_add(err, "cannot write the tree of %s: %s", stream_type_name(type), strerror(-ret));
		return ret;
	}
	ret = stream_send(&o->stream, type, arg, tree, len, err);
	free(tree);
	return ret;
}

static int outgoing_settle_device(struct outgoing *o, struct device *dev, uint64_t deadline_ns,
				  struct error *err)
{
	for (uint64_t n = 1;; n++) {
		int ret =
			dev->ops->settle(dev, min_u64(now_ns() + OUTGOING_SETTLE_STEP_NS, deadline_ns), err);

		if (ret != -EAGAIN)
			return ret;
		/* Every fifth step is twice a second. */
		if (n % 5 == 0)
			outgoing_progress(o);
		ret = outgoing_check(o, err);
		if (ret < 0)
			return ret;
		if (now_ns() >= deadline_ns) {
			error_add(err, "%s: what stands behind it does not answer", dev->name);
			return -ETIMEDOUT;
		}
	}
}

int outgoing_settle(struct outgoing *o, uint64_t deadline_ns, struct error *err)
{
	int ret = 0;

	for (struct device *dev = o->vm->devices; ret == 0 && dev; dev = dev->next) {
		if (dev->ops->settle)
			ret = outgoing_settle_device(o, dev, deadline_ns, err);
	}
	return ret;
}
