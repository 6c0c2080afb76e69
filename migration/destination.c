/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination of a migration until READY: it takes a HELLO, and says whether the guest may come. */
#include "migration/destination.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "migration/clock.h"
#include "vmm/config.h"

/* Limit for the source's next word: it is silent for longest while it waits for a slow client of its own. */
#define DESTINATION_TIMEOUT_MS 60000
/* Time for the source to take in a refusal and hang up. */
#define DESTINATION_LINGER_MS 2000
/* The same for whoever has said no HELLO, while others may wait. */
#define DESTINATION_STRANGER_MS 250
/* Time for the rest of a HELLO that was too long to be heard as a whole: others wait meanwhile. */
#define DESTINATION_HELLO_MS 5000

/*
 * Maps small pages, apart from all other memory, whose mappings the kernel would merge with this one: a
 * page fault in 2 MiB that lie in one mapping clears all of them, beside a guest that stands still.
 */
static int destination_map_tree(struct destination *d, struct error *err)
{
	void *tree = mmap(NULL, STATE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (tree == MAP_FAILED) {
		error_add(err, "cannot get memory for the guest's state: %s", strerror(errno));
		return -errno;
	}
	/* The call fails where the kernel has no huge pages, and nobody minds. */
	madvise(tree, STATE_MAX, MADV_NOHUGEPAGE);
	/* Pages that are touched for the first time while a guest stands still cost more than what is read
	 * into them. */
	memset(tree, 0, STATE_EXPECTED + d->cpus * STATE_EXPECTED_VCPU);
	d->tree = tree;
	return 0;
}

void destination_drop_tree(struct destination *d)
{
	if (d->tree)
		munmap(d->tree, STATE_MAX);
	d->tree = NULL;
}

struct device *destination_find_device(struct vm *vm, const char *name, unsigned int *index)
{
	*index = 0;
	for (struct device *dev = vm->devices; dev; dev = dev->next, (*index)++) {
		if (strcmp(dev->name, name) == 0)
			return dev;
	}
	return NULL;
}

/* Returns 1 << the device that the node describes, 0 for one that is in every VM or not known. */
static unsigned int destination_named_device(struct state_node *node)
{
	const char *name;

	if (state_get_string(node, "name", DESTINATION_NAME_MAX, &name) < 0)
		return 0;
	for (unsigned int i = 0; i < CONFIG_N_DEVICES; i++) {
		if (strcmp(name, config_device_name((enum config_device)i)) == 0)
			return 1u << i;
	}
	return 0;
}

unsigned int destination_devices(const struct destination *d)
{
	/* What is wrong with the tree is said by who compares it. */
	struct error dropped = { 0 };
	struct state_node root, devices, node;
	unsigned int found = 0;
	uint32_t count = 0;
	int ret = state_open(&root, d->hello, d->hello_len, &dropped);

	if (ret == 0)
		ret = state_child(&devices, &root, "devices");
	if (ret == 0)
		ret = state_get_u32(&devices, "count", 0, DESTINATION_MAX_DEVICES, &count);
	for (uint32_t i = 0; ret == 0 && i < count; i++) {
		ret = state_child_indexed(&node, &devices, "device", i);
		if (ret == 0)
			found |= destination_named_device(&node);
	}
	return found;
}

int destination_read_check(struct destination *d, struct state_node *root)
{
	uint32_t check = 0;
	int ret = 0;

	if (state_has(root, "check"))
		ret = state_get_u32(root, "check", 0, 1, &check);
	d->check = check;
	return ret;
}

/* Reads the versions that a source speaks, the oldest of which is @oldest, and then memory size and vCPU
 * count, in the bounds of what can be built; vm_accept() reads the rest. */
static int destination_read_hello(struct destination *d, uint64_t oldest, struct error *err)
{
	struct state_node root, vm;
	int ret = state_open(&root, d->hello, d->hello_len, err);

	if (ret == 0)
		ret = stream_agree(&d->stream, oldest, max_u64(oldest, state_note(&root)), err);
	if (ret == 0)
		ret = destination_read_check(d, &root);
	if (ret == 0)
		ret = state_child(&vm, &root, "vm");
	if (ret == 0)
		ret = state_get_u64(&vm, "memory", CONFIG_MIN_MEM, CONFIG_MAX_MEM, &d->mem);
	if (ret == 0)
		ret = state_get_u32(&vm, "cpus", 1, CONFIG_MAX_CPUS, &d->cpus);
	if (ret == 0 && d->mem % PAGE_SIZE != 0) {
		error_add(err, "%" PRIu64 " bytes of guest memory are not whole pages", d->mem);
		ret = -EINVAL;
	}
	return ret;
}

static int destination_take_hello(struct destination *d, struct error *err)
{
	struct stream_frame frame;
	int ret = stream_receive(&d->stream, &frame, DESTINATION_TIMEOUT_MS, err);

	if (ret < 0)
		return ret;
	if (frame.type != STREAM_HELLO) {
		error_add(err, "%s frame instead of HELLO", stream_type_name(frame.type));
		return -EPROTO;
	}
	d->hello = malloc(frame.len);
	if (!d->hello) {
		error_add(err, "out of memory for a HELLO of %u bytes", frame.len);
		return -ENOMEM;
	}
	d->hello_len = frame.len;
	ret = stream_read(&d->stream, d->hello, frame.len, err);
	return ret < 0 ? ret : destination_read_hello(d, frame.arg, err);
}

static void destination_tell_refused(struct destination *d, const struct error *err, int linger_ms)
{
	struct error dropped = { 0 };
	uint32_t len = (uint32_t)strnlen(err->text, sizeof(err->text));

	/* A source that has gone needs no reasons. */
	if (stream_send(&d->stream, STREAM_REFUSED, 0, err->text, len, &dropped) == 0)
		channel_linger(&d->channel, linger_ms);
}

/* Takes the HELLO of a client that has connected: 0, or -errno; then the client has been told why, and its
 * connection closed. What was heard of it is the stream's in any case. */
static int destination_meet(struct destination *d, const struct arrivals_connection *taken, struct error *err)
{
	int ret;

	/* The deadline is for the HELLO as a whole, however it comes. */
	d->channel.deadline_ns = end_of(DESTINATION_HELLO_MS);
	ret = stream_init_heard(&d->stream, &d->channel, DESTINATION_TIMEOUT_MS, taken->heard, taken->n_heard,
				err);
	if (ret == 0)
		ret = destination_take_hello(d, err);
	d->channel.deadline_ns = 0;
	d->arrived = taken->arrived;
	if (ret < 0) {
		destination_tell_refused(d, err, DESTINATION_STRANGER_MS);
		destination_close(d);
	}
	return ret;
}

/* Waits for a connection and takes its HELLO. Returns as destination_meet() does, with the reason; where
 * there is none to be waited for any more *@over is set. */
static int destination_take(struct destination *d, const struct destination_config *config, bool *over,
			    struct error *err)
{
	struct arrivals_connection taken;
	int ret = arrivals_take(config->arrivals, config->cancel_fd, &taken, err);

	*over = ret < 0;
	if (ret < 0)
		return ret;
	*d = (struct destination){ .clock_skew_ns = config->clock_skew_ns,
				   .accepted = taken.since,
				   .start_ns = now_ns(),
				   .report = { .side = REPORT_DESTINATION,
					       .state = REPORT_RUNNING,
					       .stage = "hello",
					       .started = realtime_ns() } };
	ret = channel_adopt(&d->channel, taken.fd, config->cancel_fd, err);
	if (ret == 0)
		ret = destination_meet(d, &taken, err);
	else
		free(taken.heard);
	if (ret < 0)
		arrivals_settle(config->arrivals, ret, err->text);
	*over = ret == -ECANCELED;
	return ret;
}

void destination_report_end(struct destination *d, const struct error *reason)
{
	struct report *r = &d->report;

	r->state = reason->text[0] ? REPORT_FAILED : REPORT_MOVED;
	snprintf(r->reason, sizeof(r->reason), "%s", reason->text);
	r->ended = realtime_ns();
	r->elapsed_ns = now_ns() - d->start_ns;
	r->total_bytes = d->mem;
	r->sent_bytes = d->stream.bytes_received;
	r->stream_version = d->stream.version;
}

int destination_accept(struct destination *d, const struct destination_config *config, struct error *err)
{
	struct log_limit limit = { 0 };
	struct error reason;
	bool over;
	int ret;

	for (;;) {
		reason = (struct error){ 0 };
		ret = destination_take(d, config, &over, &reason);
		if (ret == 0 || over)
			break;
		log_limited(&limit, LOG_WARN,
			    "a connection was turned away, and a source is still waited for: %s",
			    reason.text);
	}
	if (ret < 0)
		error_add(err, "%s", reason.text);
	return ret;
}

void destination_refuse(struct destination *d, const struct error *err)
{
	destination_tell_refused(d, err, DESTINATION_LINGER_MS);
}

void destination_close(struct destination *d)
{
	stream_exit(&d->stream);
	channel_close(&d->channel);
	free(d->hello);
	d->hello = NULL;
	destination_drop_tree(d);
}

int destination_ready(struct destination *d, struct error *err)
{
	int ret = d->check ? 0 : destination_map_tree(d, err);

	return ret < 0 ? ret : stream_send_ready(&d->stream, d->arrived, err);
}
