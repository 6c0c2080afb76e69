/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many 64-byte packets a second one core carries from a guest's ring to a device's and back again. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/svq.h"
#include "devices/vring.h"
#include "tests/fake/device.h"
#include "tests/fake/driver.h"

#define SIZE    256u
#define PACKETS 10000000u
#define PACKET  64u

struct bench {
	struct memory mem;
	struct fake_driver driver;
	struct fake_device device;
	struct vring vr;
	struct svq svq;
	uint64_t forward_ns, back_ns;
	unsigned int n_used;
};

static void forward(struct bench *b)
{
	struct vring_chain chain;

	while (vring_pop(&b->vr, &chain) == 1) {
		int ret = svq_add(&b->svq, chain.segs, chain.n_read, chain.n_write, chain.head);

		assert(ret == 0);
	}
	(void)!svq_publish(&b->svq);
}

static void back(struct bench *b)
{
	struct svq_used used;

	while (svq_get_used(&b->svq, &used) == 1) {
		for (unsigned int i = 0; i < used.n_written; i++)
			memory_mark_dirty(&b->mem, used.written[i].addr, used.written[i].len);
		vring_push(&b->vr, (uint16_t)used.token, used.len);
		b->n_used++;
	}
	(void)!vring_publish(&b->vr);
}

/* Only what Ferry does is timed; the two fakes run in between, on the same core. */
static void run_batch(struct bench *b, unsigned int batch, bool receive)
{
	struct fake_element e;
	uint64_t t0, t1;
	uint16_t head;
	uint32_t len;

	for (unsigned int i = 0; i < batch; i++) {
		struct virtio_seg seg = { GIB(4) + 2048ull * b->driver.free_head, receive ? 2048 : PACKET };

		fake_driver_add(&b->driver, &seg, !receive, receive);
	}
	fake_driver_publish(&b->driver);
	t0 = now_ns();
	forward(b);
	t1 = now_ns();
	b->forward_ns += t1 - t0;
	while (fake_device_take(&b->device, &e) == 1)
		fake_device_complete(&b->device, e.head, receive ? PACKET : 0);
	fake_device_publish(&b->device);
	t0 = now_ns();
	back(b);
	t1 = now_ns();
	b->back_ns += t1 - t0;
	while (fake_driver_get_used(&b->driver, &head, &len) == 1)
		assert(len == (receive ? PACKET : 0));
}

static void run(unsigned int batch, bool receive, bool logging, bool packed)
{
	struct vring_setup s = { .size = SIZE,
				 .desc = 0x10000,
				 .avail = 0x20000,
				 .used = 0x30000,
				 .event_idx = true,
				 .packed = packed };
	struct bench *b = calloc(1, sizeof(*b));
	struct error err = { 0 };
	void *ring = aligned_alloc(PAGE_SIZE, svq_bytes(SIZE));
	int ret;

	ret = memory_init(&b->mem, GIB(4), &err);
	assert(ret == 0);
	fake_driver_init(&b->driver, &b->mem, &s);
	memset(ring, 0, svq_bytes(SIZE));
	ret = vring_init(&b->vr, &b->mem, &s);
	assert(ret == 0);
	ret = svq_init(&b->svq, ring, GIB(8), SIZE, true);
	assert(ret == 0);
	ret = logging ? memory_log_start(&b->mem) : 0;
	assert(ret == 0);
	fake_device_init(&b->device, b->svq.desc_ring, b->svq.avail, b->svq.used, SIZE, true);
	while (b->n_used < PACKETS)
		run_batch(b, batch, receive);
	printf("%s %s batch %3u%s: %5.2f Mpackets/s, %5.1f ns a packet (forward %5.1f, back %5.1f)\n",
	       packed ? "packed" : "split ", receive ? "rx" : "tx", batch, logging ? " logging" : "",
	       b->n_used * 1e3 / (double)(b->forward_ns + b->back_ns),
	       (double)(b->forward_ns + b->back_ns) / b->n_used, (double)b->forward_ns / b->n_used,
	       (double)b->back_ns / b->n_used);
	fake_driver_exit(&b->driver);
	fake_device_exit(&b->device);
	vring_exit(&b->vr);
	svq_exit(&b->svq);
	memory_exit(&b->mem);
	free(ring);
	free(b);
}

int main(void)
{
	static const unsigned int batches[] = { 1, 4, 32, 256 };

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(batches); i++) {
		unsigned int batch = batches[i / 2];

		run(batch, false, false, i % 2);
		run(batch, true, false, i % 2);
		run(batch, true, true, i % 2);
	}
	return 0;
}
