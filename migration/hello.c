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

	*h = (struct hello){ .clock = clock_now(), .oldest = STREAM_OLDEST };
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

int hello_say(const struct hello *h, struct stream *s, uint64_t *clock, int timeout_ms, struct error *err)
{
	int ret = stream_send(s, STREAM_HELLO, h->oldest, h->tree, h->len, err);

	return ret < 0 ? ret : stream_expect_ready(s, h->oldest, clock, timeout_ms, err);
}

void hello_free(struct hello *h)
{
	free(h->tree);
	h->tree = NULL;
}
