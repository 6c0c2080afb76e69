/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's ring and a device's ring back to back: each buffer is used exactly once, each event sent that is
 * wanted and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "devices/virtio/svq.h"
#include "devices/virtio/vring.h"
#include "tests/fake/device.h"
#include "tests/fake/driver.h"
#include "vmm/state.h"

/* The way of a packet: a guest's ring, a device's ring, and what goes between them as the NIC does it. */
struct path {
	struct memory mem;
	struct fake_driver driver;
	struct vring vr;
	void *ring;
	struct svq svq;
	struct fake_device device;
	uint32_t rng;
	unsigned int n_added, n_used, n_moved;
	bool kick_wanted, irq_wanted; /* by the NIC, by the guest */
	/* By guest head: the number of bytes expected at its completion plus 1; 0: not with the device. */
	uint64_t *expect;
	unsigned int n_pending; /* taken by the device, in the order it was given them */
	struct {
		uint16_t id;
		uint32_t len;
	} pending[1024];
};

#define BUFS UINT64_C(0x400000)

static uint32_t rnd(struct path *p, uint32_t n)
{
	p->rng = p->rng * 1664525u + 1013904223u;
	return (p->rng >> 8) % n;
}

/* The guest adds chains of every shape; the first segment's address says which descriptor is the head. */
static void path_add(struct path *p, unsigned int max_segs)
{
	struct virtio_seg segs[8];
	unsigned int n = 1 + rnd(p, max_segs), n_read = rnd(p, n + 1), n_direct = rnd(p, n + 1);
	uint16_t head = p->driver.free_head;
	uint64_t page = BUFS + PAGE_SIZE * head;

	if (!p->vr.setup.indirect || (p->vr.setup.packed && n_direct > 0))
		n_direct = n;
	for (unsigned int i = 0; i < n; i++)
		segs[i] = (struct virtio_seg){ page + 256 * i, 1 + rnd(p, 256) };
	if (fake_driver_add_mixed(&p->driver, segs, n_read, n - n_read, n_direct, page + 2048) < 0)
		return;
	assert_int_equal(p->expect[head], 0);
	p->expect[head] = 1;
	p->n_added++;
}

/* The guest makes visible what it has added: it kicks if that is wanted, and only then. */
static void path_kick(struct path *p)
{
	bool new = p->driver.published != p->driver.avail_idx ||
		   p->driver.published_wrap != p->driver.avail_wrap;

	assert_int_equal(fake_driver_publish(&p->driver), new && p->kick_wanted);
	if (new && p->vr.setup.event_idx)
		p->kick_wanted = false;
}

/* The NIC's first half: returns whether a chain had to stay in the guest's ring. */
static bool path_forward(struct path *p)
{
	struct vring_chain chain;
	bool parked = false;

	vring_disable_kicks(&p->vr);
	p->kick_wanted = false;
	do {
		while (!parked && vring_pop(&p->vr, &chain) == 1) {
			parked = svq_add(&p->svq, chain.segs, chain.n_read, chain.n_write, chain.head) < 0;
			if (parked)
				vring_unpop(&p->vr);
		}
	} while (!parked && vring_enable_kicks(&p->vr));
	p->kick_wanted = !parked;
	assert_null(p->vr.broken);
	(void)!svq_publish(&p->svq);
	return parked;
}

/* The device takes what there is and completes some of it, any of it first. */
static void path_device(struct path *p)
{
	struct fake_element e;
	int ret;

	while ((ret = fake_device_take(&p->device, &e)) == 1) {
		uint64_t head = (e.segs[0].addr - BUFS) / PAGE_SIZE;
		uint32_t len = rnd(p, (uint32_t)e.write_len + 1);

		assert_int_equal(p->expect[head], 1);
		p->expect[head] = 2 + len;
		p->pending[p->n_pending].id = e.head;
		p->pending[p->n_pending++].len = len;
	}
	assert_int_equal(ret, 0);
	for (unsigned int n = rnd(p, p->n_pending + 1); n > 0; n--) {
		unsigned int i = rnd(p, p->n_pending);

		fake_device_complete(&p->device, p->pending[i].id, p->pending[i].len);
		p->pending[i] = p->pending[--p->n_pending];
	}
	fake_device_publish(&p->device);
}

/* The NIC's second half. */
static void path_back(struct path *p)
{
	struct svq_used used;
	bool new;
	int ret;

	while ((ret = svq_get_used(&p->svq, &used)) == 1)
		vring_push(&p->vr, (uint16_t)used.token, used.len);
	assert_int_equal(ret, 0);
	new = p->vr.setup.packed ? p->vr.n_batch > 0 : p->vr.published != p->vr.used_idx;
	assert_int_equal(vring_publish(&p->vr), new && p->irq_wanted);
	if (new && p->vr.setup.event_idx)
		p->irq_wanted = false;
}

/* The device side of the guest's ring goes on elsewhere, from its state. */
static void path_move(struct path *p)
{
	struct error err = { 0 };
	struct state_writer w;
	struct state_node node;
	struct vring other;
	uint32_t len;
	void *fdt;

	assert_int_equal(state_open_writer(&w), 0);
	vring_save(&p->vr, &w);
	assert_int_equal(state_close(&w, &fdt, &len), 0);
	assert_int_equal(vring_init(&other, &p->mem, &p->vr.setup), 0);
	assert_int_equal(state_open(&node, fdt, len, &err), 0);
	if (vring_load(&other, &node) < 0 || state_finish(&node) < 0)
		fail_msg("%s", err.text);
	free(fdt);
	assert_int_equal(other.n_in_flight, p->vr.n_in_flight);
	vring_exit(&p->vr);
	p->vr = other;
	p->n_moved++;
}

/* The guest: every chain used exactly once, with the length that the device said. */
static void path_check(struct path *p)
{
	bool want = rnd(p, 2);
	uint16_t head;
	uint32_t len;
	int ret;

	do {
		while ((ret = fake_driver_get_used(&p->driver, &head, &len)) == 1) {
			assert_int_equal(p->expect[head], 2 + (uint64_t)len);
			p->expect[head] = 0;
			p->n_used++;
		}
		assert_int_equal(ret, 0);
	} while (want && fake_driver_enable_interrupts(&p->driver));
	if (!want)
		fake_driver_disable_interrupts(&p->driver);
	p->irq_wanted = want;
}

struct path_kind {
	uint16_t guest_size, device_size;
	unsigned int max_segs;
	bool event_idx, indirect, packed, in_order;
};

static void run_path(const struct path_kind *kind)
{
	const uint16_t guest_size = kind->guest_size, device_size = kind->device_size;
	const bool event_idx = kind->event_idx;
	struct vring_setup s = { .size = guest_size,
				 .desc = 0x10000,
				 .avail = 0x200000,
				 .used = 0x300000,
				 .event_idx = event_idx,
				 .indirect = kind->indirect,
				 .packed = kind->packed,
				 .in_order = kind->in_order };
	struct path *p = calloc(1, sizeof(*p));
	struct error err = { 0 };
	unsigned int n_parked = 0;

	p->rng = 12345u + guest_size * 7u + device_size;
	p->expect = calloc(guest_size, sizeof(*p->expect));
	assert_int_equal(memory_init(&p->mem, MIB(16), &err), 0);
	fake_driver_init(&p->driver, &p->mem, &s);
	assert_int_equal(vring_init(&p->vr, &p->mem, &s), 0);
	/* Each side by its own rule. */
	p->ring = aligned_alloc(PAGE_SIZE, svq_bytes(device_size));
	memset(p->ring, 0, svq_bytes(device_size));
	assert_int_equal(svq_init(&p->svq, p->ring, GIB(8), device_size, !event_idx), 0);
	fake_device_init(&p->device, p->svq.desc_ring, p->svq.avail, p->svq.used, device_size, !event_idx);
	p->kick_wanted = p->irq_wanted = true;
	while (p->n_used < 40000) {
		for (unsigned int n = rnd(p, guest_size + 1u); n > 0; n--)
			path_add(p, kind->max_segs);
		path_kick(p);
		n_parked += path_forward(p);
		path_device(p);
		path_back(p);
		path_check(p);
		if (rnd(p, 50) == 0)
			path_move(p);
	}
	/* What is parked or in flight comes through without the guest doing anything. */
	for (unsigned int i = 0; p->n_used < p->n_added; i++) {
		assert_true(i < 100000);
		path_forward(p);
		path_device(p);
		path_back(p);
		path_check(p);
	}
	assert_true(p->n_moved > 0);
	assert_true(n_parked > 0 || device_size >= guest_size);
	assert_int_equal(p->driver.n_free, guest_size);
	assert_int_equal(p->vr.n_in_flight, 0);
	assert_int_equal(p->svq.n_free, device_size);
	assert_int_equal(p->svq.n_in_flight, 0);
	fake_device_exit(&p->device);
	svq_exit(&p->svq);
	free(p->ring);
	vring_exit(&p->vr);
	fake_driver_exit(&p->driver);
	memory_exit(&p->mem);
	free(p->expect);
	free(p);
}

/* Rings of one size, the device's smaller, larger, and the guest's tables longer than its ring. */
static void every_packet_passes_both_rings_once_whatever_their_sizes(void **state)
{
	static const struct path_kind kinds[] = {
		{ 64, 64, 1, false, false, false, false },  { 64, 64, 5, true, true, false, false },
		{ 256, 16, 8, true, false, false, false },  { 256, 16, 8, false, true, false, true },
		{ 16, 256, 8, true, true, false, true },    { 64, 64, 1, false, false, true, false },
		{ 64, 64, 5, true, true, true, false },     { 256, 16, 8, true, false, true, true },
		{ 256, 16, 8, false, true, true, false },   { 16, 256, 8, true, true, true, true },
		{ 7, 8, 3, true, true, true, false },       { 251, 64, 8, true, true, true, true },
		{ 1000, 256, 8, false, false, true, true }, { 1, 4, 1, true, false, true, false },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		run_path(&kinds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(
		every_packet_passes_both_rings_once_whatever_their_sizes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
