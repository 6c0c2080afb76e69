/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A source's first words: see the header. */
#include "migration/hello.h"

#include <errno.h>
#include <stdlib.h>

#include "migration/clock.h"

static void hello_put_devices(struct vm *vm, struct state_writer *w)
{
	uint32_t n = 0;

	for (struct device *dev = vm->devices; dev; dev = dev->next)
		n++;
	state_begin(w, "devices");
	state_put_u32(w, "count", n);
	n = 0;
	for (struct device *dev = vm->devices; dev; dev = dev->next) {
		state_begin_indexed(w, "device", n++);
		state_put_string(w, "name", dev->name);
		state_begin(w, "config");
		if (dev->ops->describe)
			dev->ops->describe(dev, w);
		state_end(w);
		state_end(w);
	}
	state_end(w);
}

int hello_describe(struct hello *h, struct vm *vm, enum hello_purpose purpose, struct error *err)
{
	struct state_writer w;
	int ret = state_open_writer(&w);

	*h = (struct hello){ .clock = realtime_ns(), .oldest = STREAM_OLDEST };
	/* A failure sticks, and comes back when the tree is closed. */
	if (ret == 0) {
		state_put_u64(&w, "clock", h->clock);
		if (purpose == HELLO_CHECK) {
			/* An older Ferry would not know it, and begin to take the guest. */
			state_put_u32(&w, "check", 1);
			h->oldest = STREAM_OLDEST_CHECK;
		}
		state_begin(&w, "vm");
		vm_describe(vm, &w);
		state_end(&w);
		hello_put_devices(vm, &w);
		/* The tree itself is one of the oldest version: whoever reads it may know no more. */
		state_put_note(&w, STREAM_NEWEST);
	}
	ret = state_close(&w, &h->tree, &h->len);
	if (ret < 0)
		error_add(err, "cannot describe the guest: %s", strerror(-ret));
	return ret;
}

/* Sends the header ahead: once it is on its way, so is what follows. A destination compares the clock with
 * its own. */
static int hello_send(struct hello *h, struct stream *s, int timeout_ms, struct error *err)
{
	struct stream_header header;
	struct iovec head = { .iov_base = &header, .iov_len = sizeof(header) };
	struct iovec tree = { .iov_base = h->tree, .iov_len = h->len };
	int ret;

	stream_header_put(&header, STREAM_HELLO, h->len, h->oldest);
	ret = stream_writev(s, &head, 1, err);
	if (ret == 0)
		ret = stream_drain(s, timeout_ms, err);
	if (ret < 0)
		return ret;
	h->clock = realtime_ns();
	state_set_u64(h->tree, "clock", h->clock);
	return stream_writev(s, &tree, 1, err);
}

int hello_say(struct hello *h, struct stream *s, uint64_t *clock, int timeout_ms, struct error *err)
{
	int ret = hello_send(h, s, timeout_ms, err);

	return ret < 0 ? ret : stream_expect_ready(s, h->oldest, clock, timeout_ms, err);
}

void hello_free(struct hello *h)
{
	free(h->tree);
	h->tree = NULL;
}
