/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frames that follow READY, and what a destination does with each. */
#include "migration/incoming.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "migration/boot.h"
#include "migration/ram.h"

/*
 * Frames that cost work here and bring no memory. A source ends each of its rounds once, and they are some
 * hundreds at the most: that long it takes what is left to shrink from all memory that there is, by a tenth
 * every third round. After each a device's state can have changed, twice after the first.
 */
#define INCOMING_MAX_ROUNDS 1024u
#define INCOMING_MAX_WARM   4096u

/* The phases are bits, because a frame may come in several; what may come next depends on what has come. */
enum incoming_phase {
	INCOMING_PASS = 1,     /* memory comes */
	INCOMING_BETWEEN = 2,  /* a round has ended */
	INCOMING_PREPARED = 4, /* everything is here */
	INCOMING_RUNNING = 8,
};

struct incoming {
	struct destination *d;
	struct vm *vm;
	const struct incoming_work *work; /* NULL once it has ended */
	enum incoming_phase phase;
	uint64_t round;
	uint64_t pass_ns; /* when the pass's first frame came, 0: it has not */
	/* Of all that has come, when it did. */
	uint64_t pass_bytes;
	struct ram_arrival ram; /* what it may still bring */
	struct boot_arrival boot;
	unsigned int n_frames[STREAM_N_TYPES];
	/* Bit n: the n-th device has got its warm state. */
	uint64_t warmed;
	struct stream_timings timings;
};

/* Takes the result of the work beside the guest's coming. */
static int incoming_end_work(struct incoming *in, struct error *err)
{
	const struct incoming_work *work = in->work;
	int ret;

	in->work = NULL;
	ret = work->end(work->opaque, err);
	return ret < 0 ? ret : 0;
}

/* Lets a source learn of a failure before it has sent everything. */
static int incoming_look_at_work(struct incoming *in, struct error *err)
{
	struct pollfd fd = { .events = POLLIN };

	if (!in->work)
		return 0;
	fd.fd = in->work->fd;
	return poll(&fd, 1, 0) > 0 ? incoming_end_work(in, err) : 0;
}

static int incoming_wait_for_work(struct incoming *in, struct error *err)
{
	int ret;

	if (!in->work)
		return 0;
	/* The source says how long it waits, by hanging up. */
	ret = stream_await(&in->d->stream, in->work->fd, -1, err);
	return ret < 0 ? ret : incoming_end_work(in, err);
}

static void incoming_begin_pass(struct incoming *in)
{
	if (in->pass_ns == 0) {
		in->pass_ns = now_ns();
		in->pass_bytes = in->d->stream.bytes_received;
	}
	in->phase = INCOMING_PASS;
}

static int incoming_ram(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	int ret;

	incoming_begin_pass(in);
	/* Nearly all of the first pass goes into pages that are not there yet. The bounds of a frame are
	 * those of its length; a range that is no guest memory is not touched, and refused next. */
	if (in->round == 0 && frame->type == STREAM_RAM)
		memory_populate(&in->vm->memory, frame->arg, frame->len);
	ret = ram_receive(&in->d->stream, frame, &in->vm->memory, &in->ram, err);
	/* Pages that come again are there already, and the last pass is downtime. */
	if (ret == 0 && in->round == 0 && frame->type == STREAM_RAM)
		vm_prefault(in->vm, frame->arg, frame->len);
	return ret;
}

/* Memory whose length is in the payload, and which is not longer than a piece of RAM. */
static int incoming_lz4(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	const uint8_t *block = in->d->tree;
	int ret = stream_read(&in->d->stream, in->d->tree, frame->len, err);

	if (ret < 0)
		return ret;
	incoming_begin_pass(in);
	if (in->round == 0)
		memory_populate(&in->vm->memory, frame->arg, min_u64(get_le32(block), LZ4_BLOCK));
	ret = ram_unpack(frame, block, &in->vm->memory, &in->ram, err);
	if (ret == 0 && in->round == 0)
		vm_prefault(in->vm, frame->arg, get_le32(block));
	return ret;
}

/* Adds the pass that ends here to the report. Zeros have come as numbers, and are not told apart any more. */
static void incoming_record(struct incoming *in)
{
	const struct report_round round = { .n = 1,
					    .start_ns = in->pass_ns - in->d->start_ns,
					    .ns = now_ns() - in->pass_ns,
					    .bytes = in->d->stream.bytes_received - in->pass_bytes,
					    .pages = (in->vm->memory.size - in->ram.left) >> PAGE_SHIFT };

	report_add_round(&in->d->report, &round);
	in->d->report.round++;
}

static int incoming_boot(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	if (in->round > 0 || in->pass_ns > 0) {
		error_add(err, "a BOOT frame comes behind memory");
		return -EPROTO;
	}
	return boot_receive(&in->boot, &in->d->stream, frame, in->vm->memory.size, err);
}

static int incoming_round(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	if (frame->arg != in->round) {
		error_add(err, "round %" PRIu64 " ends where %" PRIu64 " should", frame->arg, in->round);
		return -EPROTO;
	}
	put_le64(&in->timings.ram_ns, in->pass_ns ? now_ns() - in->pass_ns : 0);
	if (in->pass_ns)
		incoming_record(in);
	in->pass_ns = 0;
	in->ram.left = in->vm->memory.size;
	if (in->round++ == 0 && in->vm->boot)
		boot_arrive(&in->boot, in->vm->boot);
	in->phase = INCOMING_BETWEEN;
	return 0;
}

static int incoming_sync(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	uint64_t start_ns = now_ns();
	int ret = incoming_wait_for_work(in, err);

	return ret < 0 ? ret : stream_send(&in->d->stream, STREAM_SYNC_OK, now_ns() - start_ns, NULL, 0, err);
}

/* Reads a payload that is a tree, and opens it: state of devices, which have their memory by then. */
static int incoming_read_tree(struct incoming *in, const struct stream_frame *frame, struct state_node *root,
			      struct error *err)
{
	int ret = incoming_wait_for_work(in, err);

	if (ret == 0)
		ret = stream_read(&in->d->stream, in->d->tree, frame->len, err);
	return ret < 0 ? ret : state_open(root, in->d->tree, frame->len, err);
}

static int incoming_warm(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	struct state_node root, state;
	unsigned int index;
	struct device *dev;
	const char *name = "";
	int ret;

	ret = incoming_read_tree(in, frame, &root, err);
	if (ret == 0)
		ret = state_get_string(&root, "device", DESTINATION_NAME_MAX, &name);
	if (ret == 0)
		ret = state_child(&state, &root, "state");
	if (ret == 0)
		ret = state_finish(&root);
	if (ret < 0)
		return ret;
	dev = destination_find_device(in->vm, name, &index);
	if (!dev || !dev->ops->warm_load) {
		error_add(err, "%s: no device that takes state ahead of time", name);
		return -EPROTO;
	}
	ret = dev->ops->warm_load(dev, &state);
	if (ret == 0)
		ret = state_finish(&state);
	if (ret < 0)
		return ret;
	in->warmed |= (uint64_t)1 << index;
	in->d->report.n_warm++;
	return stream_send(&in->d->stream, STREAM_WARM_OK, 0, NULL, 0, err);
}

/* Finds each device's node, and nothing else, before any of them is loaded. */
static int incoming_find_states(struct incoming *in, struct state_node *devices,
				struct state_node nodes[DESTINATION_MAX_DEVICES])
{
	unsigned int index = 0;

	for (struct device *dev = in->vm->devices; dev; dev = dev->next, index++) {
		int ret = 0;

		assert(index < DESTINATION_MAX_DEVICES);
		if (dev->ops->warm_load && !(in->warmed >> index & 1)) {
			error_add(devices->err, "%s: nothing came ahead of its state", dev->name);
			return -EPROTO;
		}
		if (dev->ops->load)
			ret = state_child(&nodes[index], devices, dev->name);
		if (ret < 0)
			return ret;
	}
	return state_finish(devices);
}

static int incoming_load_devices(struct incoming *in, struct state_node nodes[DESTINATION_MAX_DEVICES])
{
	unsigned int index = 0;

	for (struct device *dev = in->vm->devices; dev; dev = dev->next, index++) {
		int ret;

		if (!dev->ops->load)
			continue;
		ret = dev->ops->load(dev, &nodes[index]);
		if (ret == 0)
			ret = state_finish(&nodes[index]);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int incoming_state(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	struct state_node root, vm, devices, nodes[DESTINATION_MAX_DEVICES];
	uint64_t start_ns = now_ns();
	int ret;

	ret = incoming_read_tree(in, frame, &root, err);
	if (ret == 0)
		ret = state_child(&vm, &root, "vm");
	if (ret == 0)
		ret = state_child(&devices, &root, "devices");
	if (ret == 0)
		ret = state_finish(&root);
	if (ret == 0)
		ret = incoming_find_states(in, &devices, nodes);
	if (ret == 0)
		ret = vm_load(in->vm, &vm);
	if (ret == 0)
		ret = state_finish(&vm);
	if (ret == 0)
		ret = incoming_load_devices(in, nodes);
	if (ret < 0)
		return ret;
	in->phase = INCOMING_PREPARED;
	in->d->report.parts_ns[REPORT_LOAD] = now_ns() - start_ns;
	put_le64(&in->timings.load_ns, in->d->report.parts_ns[REPORT_LOAD]);
	ret = stream_send(&in->d->stream, STREAM_PREPARED, 0, &in->timings, sizeof(in->timings), err);
	/* Now, while the source decides: once the guest runs, to unmap this would interrupt its vCPUs. */
	destination_drop_tree(in->d);
	return ret;
}

/* The guest is ours now, whatever becomes of the connection. */
static int incoming_commit(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	uint64_t start_ns = now_ns();
	struct error reason = { 0 };

	for (struct device *dev = in->vm->devices; dev; dev = dev->next) {
		if (dev->ops->resume)
			dev->ops->resume(dev, DEVICE_ARRIVED);
	}
	gate_resume(&in->vm->gate);
	in->phase = INCOMING_RUNNING;
	in->d->report.parts_ns[REPORT_RESUMED] = now_ns() - start_ns;
	put_le64(&in->timings.resume_ns, in->d->report.parts_ns[REPORT_RESUMED]);
	in->d->channel.cancel_fd = -1;
	if (stream_send(&in->d->stream, STREAM_RUNNING, 0, &in->timings, sizeof(in->timings), &reason) < 0)
		log_warn("the guest runs here, but the source could not be told: %s", reason.text);
	for (struct device *dev = in->vm->devices; dev; dev = dev->next) {
		if (dev->ops->arrived)
			dev->ops->arrived(dev);
	}
	return 0;
}

static const struct incoming_handler {
	unsigned int phases;
	unsigned int max;  /* in a migration; 0: others bound it */
	const char *stage; /* that begins with it, for the report */
	int (*fn)(struct incoming *in, const struct stream_frame *frame, struct error *err);
} incoming_handlers[STREAM_N_TYPES] = {
	[STREAM_RAM] = { INCOMING_PASS | INCOMING_BETWEEN, 0, "memory", incoming_ram },
	[STREAM_ZERO] = { INCOMING_PASS | INCOMING_BETWEEN, 0, "memory", incoming_ram },
	[STREAM_LZ4] = { INCOMING_PASS | INCOMING_BETWEEN, 0, "memory", incoming_lz4 },
	[STREAM_ROUND] = { INCOMING_PASS | INCOMING_BETWEEN, INCOMING_MAX_ROUNDS, NULL, incoming_round },
	[STREAM_SYNC] = { INCOMING_BETWEEN, INCOMING_MAX_ROUNDS, NULL, incoming_sync },
	[STREAM_WARM] = { INCOMING_BETWEEN, INCOMING_MAX_WARM, "devices", incoming_warm },
	[STREAM_STATE] = { INCOMING_BETWEEN, 0, "state", incoming_state },
	[STREAM_COMMIT] = { INCOMING_PREPARED, 0, "commit", incoming_commit },
	[STREAM_BOOT] = { INCOMING_PASS, 0, "memory", incoming_boot },
};

static int incoming_step(struct incoming *in, struct error *err)
{
	const struct incoming_handler *h;
	struct stream_frame frame;
	/* The deadline holds for COMMIT, too. The source sends it at once or gives up far earlier, and takes
	 * a destination that has gone for one that may run the guest. */
	int ret = stream_receive(&in->d->stream, &frame, in->d->stream.timeout_ms, err);

	if (ret < 0)
		return ret;
	h = &incoming_handlers[frame.type];
	if (!(h->phases & in->phase)) {
		error_add(err, "%s frame out of order", stream_type_name(frame.type));
		return -EPROTO;
	}
	if (h->max > 0 && in->n_frames[frame.type]++ == h->max) {
		error_add(err, "more than %u %s frames", h->max, stream_type_name(frame.type));
		return -EPROTO;
	}
	if (h->stage)
		report_reach(&in->d->report, h->stage, now_ns() - in->d->start_ns);
	return h->fn(in, &frame, err);
}

int incoming_run(struct destination *d, struct vm *vm, const struct incoming_work *work, struct error *err)
{
	struct incoming in = { .d = d,
			       .vm = vm,
			       .work = work,
			       .phase = INCOMING_PASS,
			       .ram.left = vm->memory.size,
			       .boot.files = BOOT_FILES_NONE };
	struct error reason = { 0 };
	int ret = 0;

	while (ret == 0 && in.phase != INCOMING_RUNNING) {
		ret = incoming_look_at_work(&in, &reason);
		if (ret == 0)
			ret = incoming_step(&in, &reason);
	}
	if (ret < 0) {
		/* Before the source is told: what it has let go of for us must be there when it wants it
		 * back. While there is work it has not let go of anything, and devices may be busy. */
		if (!in.work)
			devices_release(vm->devices);
		destination_refuse(d, &reason);
		if (in.work)
			devices_release(vm->devices);
		error_add(err, "the guest was not taken over: %s", reason.text);
	}
	destination_report_end(d, &reason);
	destination_drop_tree(d);
	boot_arrival_exit(&in.boot);
	return ret;
}
