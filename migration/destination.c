/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination of a migration: what it says to a HELLO, and what it does with each frame that follows. */
#include "migration/destination.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "migration/clock.h"
#include "migration/ram.h"
#include "vmm/config.h"

/* For the source's next word: the longest it is silent is while it waits for a slow client of its own. */
#define DESTINATION_TIMEOUT_MS 60000
/* For the source to take in a refusal and hang up. */
#define DESTINATION_LINGER_MS 2000
/* Time for all of a HELLO, which a source says first: a client that is slower keeps others waiting. */
#define DESTINATION_HELLO_MS 10000

#define DESTINATION_MAX_DEVICES 64u
#define DESTINATION_NAME_MAX    63u

/*
 * Frames that cost work here and bring no memory. A source ends each of its rounds once, and they are some
 * hundreds at the most: that long it takes what is left to shrink from all memory that there is, by a tenth
 * every third round. After each a device's state can have changed, twice after the first.
 */
#define DESTINATION_MAX_ROUNDS 1024u
#define DESTINATION_MAX_WARM   4096u

/* What may come next depends on what has come. */
enum destination_phase {
	DESTINATION_PASS = 1,     /* memory comes */
	DESTINATION_BETWEEN = 2,  /* a round has ended */
	DESTINATION_PREPARED = 4, /* everything is here */
	DESTINATION_RUNNING = 8,
};

struct incoming {
	struct destination *d;
	struct vm *vm;
	const struct destination_work *work; /* NULL once it has ended */
	enum destination_phase phase;
	uint64_t round;
	uint64_t pass_ns;   /* when the pass's first frame came */
	uint64_t pass_left; /* bytes that it may still bring */
	unsigned int n_frames[STREAM_N_TYPES];
	uint64_t warmed; /* bit n: the n-th device has got its warm state */
	struct stream_timings timings;
};

/*
 * Of small pages, and apart from all other memory, whose mappings the kernel would merge with this one: a
 * page fault in 2 MiB that lie in one mapping clears all of them, beside a guest that stands still.
 */
static int destination_map_tree(struct destination *d, struct error *err)
{
	void *tree = mmap(NULL, STATE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (tree == MAP_FAILED)
		return error_add(err, -errno, "cannot get memory for the guest's state: %s", strerror(errno));
	/* Fails where the kernel has no huge pages. */
	madvise(tree, STATE_MAX, MADV_NOHUGEPAGE);
	d->tree = tree;
	return 0;
}

static void destination_unmap_tree(struct destination *d)
{
	if (d->tree)
		munmap(d->tree, STATE_MAX);
	d->tree = NULL;
}

/* A device of @vm by name, and its number in the list. */
static struct device *destination_find(struct vm *vm, const char *name, unsigned int *index)
{
	*index = 0;
	for (struct device *dev = vm->devices; dev; dev = dev->next, (*index)++) {
		if (strcmp(dev->name, name) == 0)
			return dev;
	}
	return NULL;
}

/* Memory size and vCPU count, in the bounds of what can be built; vm_accept() reads the rest. */
static int destination_read_size(struct destination *d, struct error *err)
{
	struct state_node root, vm;
	int ret = state_open(&root, d->hello, d->hello_len, err);

	if (ret == 0)
		ret = state_child(&vm, &root, "vm");
	if (ret == 0)
		ret = state_get_u64(&vm, "memory", CONFIG_MIN_MEM, CONFIG_MAX_MEM, &d->mem);
	if (ret == 0)
		ret = state_get_u32(&vm, "cpus", 1, CONFIG_MAX_CPUS, &d->cpus);
	if (ret == 0 && d->mem % PAGE_SIZE != 0)
		ret = error_add(err, -EINVAL, "%" PRIu64 " bytes of guest memory are not whole pages",
				d->mem);
	return ret;
}

static int destination_take_hello(struct destination *d, struct error *err)
{
	struct stream_frame frame;
	int ret = stream_receive(&d->stream, &frame, DESTINATION_TIMEOUT_MS, err);

	if (ret < 0)
		return ret;
	if (frame.type != STREAM_HELLO)
		return error_add(err, -EPROTO, "%s frame instead of HELLO", stream_type_name(frame.type));
	if (frame.arg != STREAM_VERSION)
		return error_add(err, -EPROTO,
				 "the source speaks version %" PRIu64
				 " of the migration protocol, this Ferry version %u",
				 frame.arg, STREAM_VERSION);
	d->hello = malloc(frame.len);
	if (!d->hello)
		return error_add(err, -ENOMEM, "out of memory for a HELLO of %u bytes", frame.len);
	d->hello_len = frame.len;
	ret = stream_read(&d->stream, d->hello, frame.len, err);
	return ret < 0 ? ret : destination_read_size(d, err);
}

/* Takes the HELLO of a client that has connected: 0, or -errno; then the client has been told why, and its
 * connection closed. */
static int destination_meet(struct destination *d, struct error *err)
{
	int ret;

	/* For the HELLO as a whole, however it comes. */
	d->channel.deadline_ns = end_of(DESTINATION_HELLO_MS);
	ret = stream_init(&d->stream, &d->channel, DESTINATION_TIMEOUT_MS, err);
	if (ret == 0)
		ret = destination_take_hello(d, err);
	d->channel.deadline_ns = 0;
	d->arrived = clock_now();
	if (ret < 0) {
		if (d->stream.buffer)
			destination_refuse(d, err);
		destination_close(d);
	}
	return ret;
}

int destination_accept(struct destination *d, const struct destination_config *config, struct error *err)
{
	struct channel_listener listener;
	struct log_limit limit = { 0 };
	uint64_t last;
	int ret;

	ret = channel_listen(&listener, config->from, config->cancel_fd, err);
	if (ret < 0)
		return ret;
	last = clock_now();
	for (;;) {
		bool waited = channel_is_pending(&listener);
		struct error reason = { 0 };

		*d = (struct destination){ .channel.fd = -1, .clock_skew_ns = config->clock_skew_ns };
		ret = channel_take(&listener, &d->channel, err);
		if (ret < 0)
			break;
		/* One that had to wait may have come, and said its HELLO, as soon as the last was heard. */
		d->accepted = waited ? last : clock_now();
		last = clock_now();
		ret = destination_meet(d, &reason);
		if (ret == 0)
			break;
		if (ret == -ECANCELED) {
			error_add(err, ret, "%s", reason.text);
			break;
		}
		log_limited(&limit, LOG_WARN,
			    "a connection to %s was turned away, and a source is still waited for: %s",
			    config->from, reason.text);
	}
	channel_unlisten(&listener);
	return ret;
}

void destination_refuse(struct destination *d, const struct error *err)
{
	struct error dropped = { 0 };
	uint32_t len = (uint32_t)strnlen(err->text, sizeof(err->text));

	/* A source that has gone needs no reasons. */
	if (stream_send(&d->stream, STREAM_REFUSED, 0, err->text, len, &dropped) == 0)
		channel_linger(&d->channel, DESTINATION_LINGER_MS);
}

void destination_close(struct destination *d)
{
	stream_exit(&d->stream);
	channel_close(&d->channel);
	free(d->hello);
	d->hello = NULL;
	destination_unmap_tree(d);
}

/* One device of the source against ours of the same name. 1: it has reasons against it. */
static int destination_check_device(struct vm *vm, struct state_node *node, uint64_t *seen)
{
	struct state_node config;
	struct device *dev;
	unsigned int index;
	const char *name;

	if (state_get_string(node, "name", DESTINATION_NAME_MAX, &name) < 0 ||
	    state_child(&config, node, "config") < 0 || state_finish(node) < 0)
		return -EINVAL;
	dev = destination_find(vm, name, &index);
	if (!dev)
		return error_add(node->err, 1, "%s: the source has such a device, this VM does not", name);
	if (*seen >> index & 1)
		return error_add(node->err, -EINVAL, "%s: twice in the source's description", name);
	*seen |= (uint64_t)1 << index;
	/* Also of a device that has nothing to compare: what it does not know may be needed. */
	if ((dev->ops->accept && dev->ops->accept(dev, &config) < 0) || state_finish(&config) < 0)
		return 1;
	return 0;
}

/* Goes on after a refusal, so that the source learns every reason; not after a fault in the tree. */
static int destination_check_devices(struct vm *vm, struct state_node *devices)
{
	uint64_t seen = 0;
	unsigned int index = 0;
	bool refused = false;
	uint32_t count;

	if (state_get_u32(devices, "count", 0, DESTINATION_MAX_DEVICES, &count) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		struct state_node node;
		int ret = state_child_indexed(&node, devices, "device", i);

		if (ret == 0)
			ret = destination_check_device(vm, &node, &seen);
		if (ret < 0)
			return ret;
		refused |= ret > 0;
	}
	for (struct device *dev = vm->devices; dev; dev = dev->next, index++) {
		if (seen >> index & 1)
			continue;
		error_add(devices->err, 0, "%s: this VM has such a device, the source does not", dev->name);
		refused = true;
	}
	if (state_finish(devices) < 0)
		return -EINVAL;
	return refused ? -ENOTSUP : 0;
}

/* The guest's clock is set by this host's, and jumps by what is between the two. */
static int destination_check_clock(struct destination *d, struct state_node *root)
{
	char text[CLOCK_TEXT_MAX];
	struct clock_skew skew;
	uint64_t clock;
	int ret;

	if (!state_has(root, "clock"))
		return 0;
	ret = state_get_u64(root, "clock", 1, INT64_MAX, &clock);
	if (ret < 0)
		return ret;
	skew = clock_compare(clock, d->accepted, d->arrived);
	if (skew.ns > d->clock_skew_ns)
		return error_add(root->err, 1,
				 "the source's clock is %s this host's, and the guest's would jump by that: "
				 "set them right (NTP), or give ferry receive --clock-skew",
				 clock_text(text, skew));
	if (skew.ns > CLOCK_NOTICED_NS)
		log_warn("the source's clock is %s this host's: the guest's will jump by that",
			 clock_text(text, skew));
	return 0;
}

int destination_compare(struct destination *d, struct vm *vm, struct error *err)
{
	bool refused = err->text[0];
	struct state_node root, node;
	int ret = state_open(&root, d->hello, d->hello_len, err);

	if (ret == 0)
		ret = destination_check_clock(d, &root);
	refused |= ret > 0;
	if (ret >= 0)
		ret = state_child(&node, &root, "devices");
	if (ret < 0)
		return ret;
	/* Before the CPUs, of which there can be more to say than a refusal holds. */
	refused |= destination_check_devices(vm, &node) < 0;
	ret = state_child(&node, &root, "vm");
	if (ret == 0)
		refused |= vm_accept(vm, &node) < 0 || state_finish(&node) < 0;
	if (ret == 0)
		ret = state_finish(&root);
	return ret == 0 && refused ? -ENOTSUP : ret;
}

int destination_ready(struct destination *d, struct error *err)
{
	int ret = destination_map_tree(d, err);

	return ret < 0 ? ret : stream_send(&d->stream, STREAM_READY, d->arrived, NULL, 0, err);
}

/* Takes the result of the work beside the guest's coming. */
static int destination_end_work(struct incoming *in, struct error *err)
{
	const struct destination_work *work = in->work;
	int ret;

	in->work = NULL;
	ret = work->end(work->opaque, err);
	return ret < 0 ? ret : 0;
}

/* A source is to learn of a failure before it has sent everything. */
static int destination_look_at_work(struct incoming *in, struct error *err)
{
	struct pollfd fd = { .events = POLLIN };

	if (!in->work)
		return 0;
	fd.fd = in->work->fd;
	return poll(&fd, 1, 0) > 0 ? destination_end_work(in, err) : 0;
}

static int destination_wait_for_work(struct incoming *in, struct error *err)
{
	int ret;

	if (!in->work)
		return 0;
	/* The source says how long it waits, by hanging up. */
	ret = stream_await(&in->d->stream, in->work->fd, -1, err);
	return ret < 0 ? ret : destination_end_work(in, err);
}

static int destination_ram(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	int ret;

	if (in->pass_ns == 0)
		in->pass_ns = now_ns();
	in->phase = DESTINATION_PASS;
	ret = ram_receive(&in->d->stream, frame, &in->vm->memory, &in->pass_left, err);
	/* What comes again is there already, and the last pass is downtime. */
	if (ret == 0 && in->round == 0 && frame->type == STREAM_RAM)
		vm_prefault(in->vm, frame->arg, frame->len);
	return ret;
}

static int destination_round(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	if (frame->arg != in->round)
		return error_add(err, -EPROTO, "round %" PRIu64 " ends where %" PRIu64 " should", frame->arg,
				 in->round);
	put_le64(&in->timings.ram_ns, in->pass_ns ? now_ns() - in->pass_ns : 0);
	in->pass_ns = 0;
	in->pass_left = in->vm->memory.size;
	in->round++;
	in->phase = DESTINATION_BETWEEN;
	return 0;
}

static int destination_sync(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	uint64_t start_ns = now_ns();
	int ret = destination_wait_for_work(in, err);

	return ret < 0 ? ret : stream_send(&in->d->stream, STREAM_SYNC_OK, now_ns() - start_ns, NULL, 0, err);
}

/* Reads a payload that is a tree, and opens it: state of devices, which have their memory by then. */
static int destination_read_tree(struct incoming *in, const struct stream_frame *frame,
				 struct state_node *root, struct error *err)
{
	int ret = destination_wait_for_work(in, err);

	if (ret == 0)
		ret = stream_read(&in->d->stream, in->d->tree, frame->len, err);
	return ret < 0 ? ret : state_open(root, in->d->tree, frame->len, err);
}

static int destination_warm(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	struct state_node root, state;
	unsigned int index;
	struct device *dev;
	const char *name = "";
	int ret;

	ret = destination_read_tree(in, frame, &root, err);
	if (ret == 0)
		ret = state_get_string(&root, "device", DESTINATION_NAME_MAX, &name);
	if (ret == 0)
		ret = state_child(&state, &root, "state");
	if (ret == 0)
		ret = state_finish(&root);
	if (ret < 0)
		return ret;
	dev = destination_find(in->vm, name, &index);
	if (!dev || !dev->ops->warm_load)
		return error_add(err, -EPROTO, "%s: no device that takes state ahead of time", name);
	ret = dev->ops->warm_load(dev, &state);
	if (ret == 0)
		ret = state_finish(&state);
	if (ret < 0)
		return ret;
	in->warmed |= (uint64_t)1 << index;
	return stream_send(&in->d->stream, STREAM_WARM_OK, 0, NULL, 0, err);
}

/* Each device's node, and nothing else, before any of them is loaded. */
static int destination_find_states(struct incoming *in, struct state_node *devices,
				   struct state_node nodes[DESTINATION_MAX_DEVICES])
{
	unsigned int index = 0;

	for (struct device *dev = in->vm->devices; dev; dev = dev->next, index++) {
		int ret = 0;

		assert(index < DESTINATION_MAX_DEVICES);
		if (dev->ops->warm_load && !(in->warmed >> index & 1))
			return error_add(devices->err, -EPROTO, "%s: nothing came ahead of its state",
					 dev->name);
		if (dev->ops->load)
			ret = state_child(&nodes[index], devices, dev->name);
		if (ret < 0)
			return ret;
	}
	return state_finish(devices);
}

static int destination_load_devices(struct incoming *in, struct state_node nodes[DESTINATION_MAX_DEVICES])
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

static int destination_state(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	struct state_node root, vm, devices, nodes[DESTINATION_MAX_DEVICES];
	uint64_t start_ns = now_ns();
	int ret;

	ret = destination_read_tree(in, frame, &root, err);
	if (ret == 0)
		ret = state_child(&vm, &root, "vm");
	if (ret == 0)
		ret = state_child(&devices, &root, "devices");
	if (ret == 0)
		ret = state_finish(&root);
	if (ret == 0)
		ret = destination_find_states(in, &devices, nodes);
	if (ret == 0)
		ret = vm_load(in->vm, &vm);
	if (ret == 0)
		ret = state_finish(&vm);
	if (ret == 0)
		ret = destination_load_devices(in, nodes);
	if (ret < 0)
		return ret;
	in->phase = DESTINATION_PREPARED;
	put_le64(&in->timings.load_ns, now_ns() - start_ns);
	ret = stream_send(&in->d->stream, STREAM_PREPARED, 0, &in->timings, sizeof(in->timings), err);
	/* While the source decides: once the guest runs, to unmap this would interrupt its vCPUs. */
	destination_unmap_tree(in->d);
	return ret;
}

/* The guest is ours now, whatever becomes of the connection. */
static int destination_commit(struct incoming *in, const struct stream_frame *frame, struct error *err)
{
	uint64_t start_ns = now_ns();
	struct error reason = { 0 };

	for (struct device *dev = in->vm->devices; dev; dev = dev->next) {
		if (dev->ops->resume)
			dev->ops->resume(dev, true);
	}
	gate_resume(&in->vm->gate);
	in->phase = DESTINATION_RUNNING;
	put_le64(&in->timings.resume_ns, now_ns() - start_ns);
	in->d->channel.cancel_fd = -1;
	if (stream_send(&in->d->stream, STREAM_RUNNING, 0, &in->timings, sizeof(in->timings), &reason) < 0)
		log_warn("the guest runs here, but the source could not be told: %s", reason.text);
	return 0;
}

static const struct destination_handler {
	unsigned int phases;
	unsigned int max; /* in a migration; 0: others bound it */
	int (*fn)(struct incoming *in, const struct stream_frame *frame, struct error *err);
} destination_handlers[STREAM_N_TYPES] = {
	[STREAM_RAM] = { DESTINATION_PASS | DESTINATION_BETWEEN, 0, destination_ram },
	[STREAM_ZERO] = { DESTINATION_PASS | DESTINATION_BETWEEN, 0, destination_ram },
	[STREAM_ROUND] = { DESTINATION_PASS | DESTINATION_BETWEEN, DESTINATION_MAX_ROUNDS,
			   destination_round },
	[STREAM_SYNC] = { DESTINATION_BETWEEN, DESTINATION_MAX_ROUNDS, destination_sync },
	[STREAM_WARM] = { DESTINATION_BETWEEN, DESTINATION_MAX_WARM, destination_warm },
	[STREAM_STATE] = { DESTINATION_BETWEEN, 0, destination_state },
	[STREAM_COMMIT] = { DESTINATION_PREPARED, 0, destination_commit },
};

static int destination_step(struct incoming *in, struct error *err)
{
	/* Without end once we are PREPARED: gone is the source that hangs up, and a COMMIT must find us. */
	int timeout_ms = in->phase == DESTINATION_PREPARED ? -1 : DESTINATION_TIMEOUT_MS;
	const struct destination_handler *h;
	struct stream_frame frame;
	int ret = stream_receive(&in->d->stream, &frame, timeout_ms, err);

	if (ret < 0)
		return ret;
	h = &destination_handlers[frame.type];
	if (!(h->phases & in->phase))
		return error_add(err, -EPROTO, "%s frame out of order", stream_type_name(frame.type));
	if (h->max > 0 && in->n_frames[frame.type]++ == h->max)
		return error_add(err, -EPROTO, "more than %u %s frames", h->max,
				 stream_type_name(frame.type));
	return h->fn(in, &frame, err);
}

int destination_run(struct destination *d, struct vm *vm, const struct destination_work *work,
		    struct error *err)
{
	struct incoming in = {
		.d = d, .vm = vm, .work = work, .phase = DESTINATION_PASS, .pass_left = vm->memory.size
	};
	struct error reason = { 0 };
	int ret = 0;

	while (ret == 0 && in.phase != DESTINATION_RUNNING) {
		ret = destination_look_at_work(&in, &reason);
		if (ret == 0)
			ret = destination_step(&in, &reason);
	}
	if (ret < 0) {
		/* Before the source is told: what it has let go of for us must be there when it wants it
		 * back. While there is work it has not let go of anything, and devices may be busy. */
		if (!in.work)
			devices_release(vm->devices);
		destination_refuse(d, &reason);
		if (in.work)
			devices_release(vm->devices);
		error_add(err, ret, "the guest was not taken over: %s", reason.text);
	}
	destination_unmap_tree(d);
	return ret;
}
