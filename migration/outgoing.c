/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part that the stages of a migration's source have in common. */
#include "migration/outgoing.h"

#include <errno.h>
#include <stdlib.h>

/* Time between looks at whether anybody still wants the migration: short against the patience of a person. */
#define OUTGOING_SETTLE_STEP_NS UINT64_C(100000000)

void outgoing_progress(struct outgoing *o)
{
	o->report->elapsed_ns = now_ns() - o->start_ns;
	if (o->config->progress && !o->vm_paused)
		o->config->progress(o->config->opaque, o->report);
}

int outgoing_check_vm(struct outgoing *o, struct error *err)
{
	if (gate_ended(&o->vm->gate)) {
		error_add(err, "the guest has ended");
		return -ESHUTDOWN;
	}
	return 0;
}

int outgoing_check(struct outgoing *o, struct error *err)
{
	int ret = outgoing_check_vm(o, err);

	return ret < 0 ? ret : stream_check(&o->stream, err);
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
