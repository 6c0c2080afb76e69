/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The entropy device: what a driver gets and how fast, what a hostile one gets, and the device's move. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <libfdt.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/rng/driver.h"
#include "devices/rng/migrate.h"
#include "devices/rng/rng.h"
#include "tests/fake/driver.h"
#include "tests/fake/log.h"
#include "tests/fake/vm.h"
#include "tests/unit/devices/device_tree.h"

#define DRIVER_OK 0xf
#define BROKEN    (DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)
#define GUEST_MEM MIB(4)
#define RING      UINT64_C(0x100000)
#define TABLES    UINT64_C(0x180000)
#define DATA      UINT64_C(0x200000)

struct rng_guest {
	struct fake_vm *host;
	struct pci_bus *bus;
	struct rng *rng;
	uint64_t common, notify; /* gpa of the transport's structures */
	struct fake_driver ring;
};

struct pair {
	struct rng_guest a, b;
};

static _Atomic int fail_getrandom; /* errno */
static _Atomic unsigned int n_calls;

/* In the place of libc's. */
ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	n_calls++;
	/* The host's kernel may wait for its first entropy, and the device's thread must not. */
	assert_int_equal(flags, GRND_NONBLOCK);
	errno = fail_getrandom;
	return fail_getrandom ? -1 : syscall(SYS_getrandom, buf, len, flags);
}

static uint64_t reg_read(struct rng_guest *g, unsigned int reg, unsigned int len)
{
	return fake_vm_mmio_read(g->host, g->common + reg, len);
}

static void reg_write(struct rng_guest *g, unsigned int reg, uint64_t value, unsigned int len)
{
	fake_vm_mmio_write(g->host, g->common + reg, value, len);
}

static void find_registers(struct rng_guest *g)
{
	g->common = fake_virtio_structure(g->host, 1, VIRTIO_PCI_CAP_COMMON_CFG);
	g->notify = fake_virtio_structure(g->host, 1, VIRTIO_PCI_CAP_NOTIFY_CFG);
	assert_true(g->common && g->notify);
	assert_int_equal(fake_virtio_structure(g->host, 1, VIRTIO_PCI_CAP_DEVICE_CFG), 0);
}

static void guest_init(struct rng_guest *g)
{
	struct error err = { 0 };

	*g = (struct rng_guest){ .host = fake_vm_new(), .bus = calloc(1, sizeof(*g->bus)) };
	assert_int_equal(memory_init(&g->host->vm.memory, GUEST_MEM, &err), 0);
	assert_int_equal(pci_bus_init(g->bus, &g->host->vm, &err), 0);
	if (rng_create(&g->rng, &g->host->vm, g->bus, &err) < 0)
		fail_msg("%s", err.text);
	find_registers(g);
}

static void guest_exit(struct rng_guest *g)
{
	fake_driver_exit(&g->ring);
	rng_destroy(g->rng);
	pci_bus_exit(g->bus);
	free(g->bus);
	memory_exit(&g->host->vm.memory);
	free(g->host);
}

static uint8_t status(struct rng_guest *g)
{
	return (uint8_t)reg_read(g, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void driver_reset(struct rng_guest *g)
{
	reg_write(g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(status(g), 0);
	fake_driver_exit(&g->ring);
}

static void driver_negotiate(struct rng_guest *g)
{
	driver_reset(g);
	reg_write(g, VIRTIO_PCI_COMMON_STATUS, 3, 1);
	for (unsigned int i = 0; i < 2; i++) {
		reg_write(g, VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		reg_write(g, VIRTIO_PCI_COMMON_GF, RNG_FEATURES >> 32 * i & UINT32_MAX, 4);
	}
	reg_write(g, VIRTIO_PCI_COMMON_STATUS, 3 | VIRTIO_CONFIG_S_FEATURES_OK, 1);
	assert_int_equal(status(g), 3 | VIRTIO_CONFIG_S_FEATURES_OK);
}

/* A driver's start, with its descriptors at @desc. */
static void driver_start_at(struct rng_guest *g, uint64_t desc)
{
	struct vring_setup s = { .size = RNG_RING_SIZE,
				 .desc = RING,
				 .avail = RING + 0x1000,
				 .used = RING + 0x2000,
				 .event_idx = true,
				 .indirect = true };

	driver_negotiate(g);
	reg_write(g, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	reg_write(g, VIRTIO_PCI_COMMON_Q_SIZE, s.size, 2);
	reg_write(g, VIRTIO_PCI_COMMON_Q_DESCLO, desc, 4);
	reg_write(g, VIRTIO_PCI_COMMON_Q_DESCHI, desc >> 32, 4);
	reg_write(g, VIRTIO_PCI_COMMON_Q_AVAILLO, s.avail, 4);
	reg_write(g, VIRTIO_PCI_COMMON_Q_USEDLO, s.used, 4);
	reg_write(g, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	fake_driver_init(&g->ring, &g->host->vm.memory, &s);
	reg_write(g, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	reg_write(g, VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
}

static void driver_start(struct rng_guest *g)
{
	driver_start_at(g, RING);
	assert_int_equal(status(g), DRIVER_OK);
}

static void kick(struct rng_guest *g)
{
	fake_vm_mmio_write(g->host, g->notify, 0, 2);
}

static void publish(struct rng_guest *g)
{
	if (fake_driver_publish(&g->ring))
		kick(g);
}

static void submit(struct rng_guest *g, const struct virtio_seg *segs, unsigned int n_read,
		   unsigned int n_write)
{
	assert_true(fake_driver_add(&g->ring, segs, n_read, n_write) >= 0);
	publish(g);
}

static void ask(struct rng_guest *g, uint64_t at, uint32_t len)
{
	submit(g, &(struct virtio_seg){ at, len }, 0, 1);
}

/* Takes the next answer: its length, or -1 if none comes in time. */
static int64_t answer_in(struct rng_guest *g, int timeout_ms)
{
	struct pollfd irq = { .fd = g->rng->virtio.pci.vectors[1].irq.fd, .events = POLLIN };
	uint16_t head;
	uint32_t len;
	uint64_t count;

	for (;;) {
		int ret = fake_driver_get_used(&g->ring, &head, &len);

		if (ret == 0 && fake_driver_enable_interrupts(&g->ring))
			ret = fake_driver_get_used(&g->ring, &head, &len);
		assert_true(ret >= 0);
		if (ret == 1)
			return len;
		if (poll(&irq, 1, timeout_ms) != 1)
			return -1;
		assert_int_equal(read(irq.fd, &count, sizeof(count)), sizeof(count));
	}
}

static int64_t answer(struct rng_guest *g)
{
	return answer_in(g, FAKE_PATIENCE_MS);
}

static uint8_t *bytes_at(struct rng_guest *g, uint64_t gpa, uint64_t len)
{
	uint8_t *p = memory_at(&g->host->vm.memory, gpa, len);

	assert_non_null(p);
	return p;
}

/* Of 64 random bytes all are zero once in 2^512 times. */
static void assert_random(struct rng_guest *g, uint64_t at, uint32_t len)
{
	static const uint8_t zeroes[4096];

	assert_true(len >= 64 && len <= sizeof(zeroes));
	assert_memory_not_equal(bytes_at(g, at, len), zeroes, len);
}

static void assert_works(struct rng_guest *g)
{
	memset(bytes_at(g, DATA, 64), 0, 64);
	ask(g, DATA, 64);
	assert_int_equal(answer(g), 64);
	assert_random(g, DATA, 64);
}

/* Waits until the host has been asked once more than @n times. */
static void wait_for_call(unsigned int n)
{
	uint64_t end_ns = end_of(FAKE_PATIENCE_MS);

	while (n_calls <= n) {
		assert_true(now_ns() < end_ns);
		poll(NULL, 0, 1);
	}
}

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	fail_getrandom = 0;
	guest_init(&p->a);
	guest_init(&p->b);
	driver_start(&p->a);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	guest_exit(&p->a);
	guest_exit(&p->b);
	free(p);
	return 0;
}

static void a_driver_gets_other_bytes_each_time(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	uint8_t before[64];

	assert_works(g);
	memcpy(before, bytes_at(g, DATA, 64), 64);
	assert_works(g);
	assert_memory_not_equal(bytes_at(g, DATA, 64), before, 64);
}

static void bytes_come_where_the_buffers_are_and_nowhere_else(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	const struct virtio_seg segs[] = { { DATA + 100, 64 }, { DATA + 1000, 200 } };
	uint8_t *p = bytes_at(g, DATA, 4096);

	memset(p, 0, 4096);
	assert_true(fake_driver_add_indirect(&g->ring, segs, 0, 2, TABLES) >= 0);
	publish(g);
	assert_int_equal(answer(g), 264);
	assert_random(g, DATA + 100, 64);
	assert_random(g, DATA + 1000, 200);
	memset(p + 100, 0, 64);
	memset(p + 1000, 0, 200);
	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal(p[i], 0);
}

static void what_is_written_is_marked_for_a_migration(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	struct memory *m = &g->host->vm.memory;
	uint64_t bitmap[GUEST_MEM / PAGE_SIZE / 64] = { 0 };

	assert_int_equal(memory_log_start(m), 0);
	assert_works(g);
	fake_log_take(m, bitmap);
	memory_log_stop(m);
	assert_true(bitmap[DATA / PAGE_SIZE / 64] >> (DATA / PAGE_SIZE % 64) & 1);
}

static void a_long_buffer_gets_what_one_request_may_have(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	uint8_t *p = bytes_at(g, DATA, MIB(1));

	memset(p, 0, MIB(1));
	ask(g, DATA, MIB(1));
	assert_int_equal(answer(g), RNG_REQUEST_MAX);
	assert_random(g, DATA + RNG_REQUEST_MAX - 64, 64);
	for (uint64_t i = RNG_REQUEST_MAX; i < MIB(1); i++)
		assert_int_equal(p[i], 0);
}

static void a_buffer_that_cannot_be_written_comes_back_empty(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;

	memset(bytes_at(g, DATA, 64), 0x5a, 64);
	submit(g, &(struct virtio_seg){ DATA, 64 }, 1, 0);
	assert_int_equal(answer(g), 0);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(bytes_at(g, DATA, 64)[i], 0x5a);
	assert_works(g);
}

/* The whole budget of a period is gone at once; what comes then waits, and costs the host nothing. */
static void a_guest_that_always_asks_gets_so_much_and_no_more(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	uint64_t start_ns = now_ns();
	unsigned int before = n_calls;

	for (unsigned int i = 0; i < 3 * RNG_PERIOD_REQUESTS; i++) {
		ask(g, DATA, 1);
		assert_int_equal(answer(g), 1);
	}
	/* Of the three periods the first may have begun earlier, and the last is not waited for. */
	assert_true(now_ns() - start_ns >= 2 * RNG_PERIOD_MS * UINT64_C(1000000) - 1000000);
	assert_int_equal(n_calls - before, 3 * RNG_PERIOD_REQUESTS);
}

static void kicks_of_a_guest_that_has_had_its_share_wake_nobody(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	struct pollfd kicked = { .fd = g->rng->queue.kick.fd, .events = POLLIN };

	for (unsigned int i = 0; i < RNG_PERIOD_REQUESTS; i++) {
		ask(g, DATA, 1);
		assert_int_equal(answer(g), 1);
	}
	ask(g, DATA, 1);
	kick(g);
	/* The thread is asked, so that it has seen the request by now, if it ever looks at it. */
	rng_driver_stop(g->rng);
	kick(g);
	assert_int_equal(poll(&kicked, 1, 0), 1);
	rng_driver_start(g->rng);
	assert_int_equal(answer(g), 1);
	assert_works(g);
}

static void a_host_without_entropy_is_asked_again(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	unsigned int before = n_calls;

	fail_getrandom = EAGAIN;
	ask(g, DATA, 64);
	wait_for_call(before);
	wait_for_call(n_calls);
	assert_int_equal(answer_in(g, 0), -1);
	assert_int_equal(status(g), DRIVER_OK);
	fail_getrandom = 0;
	assert_int_equal(answer(g), 64);
	assert_works(g);
}

static void a_driver_that_breaks_the_ring_has_to_reset(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	struct pollfd irq = { .fd = g->rng->virtio.pci.vectors[0].irq.fd, .events = POLLIN };

	reg_write(g, VIRTIO_PCI_COMMON_MSIX, 0, 2);
	ask(g, GUEST_MEM - 32, 64);
	/* The change of configuration tells that the device needs a reset. */
	assert_int_equal(poll(&irq, 1, FAKE_PATIENCE_MS), 1);
	assert_int_equal(status(g), BROKEN);
	kick(g);
	driver_start(g);
	assert_works(g);
}

static void a_ring_outside_of_memory_does_not_start(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;

	driver_start_at(g, GUEST_MEM - 16);
	assert_int_equal(status(g), BROKEN);
	driver_start_at(g, UINT64_C(0xfffffffffffff000));
	assert_int_equal(status(g), BROKEN);
	driver_start(g);
	assert_works(g);
}

static void a_driver_without_a_queue_gets_nothing(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;

	driver_negotiate(g);
	reg_write(g, VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	assert_int_equal(status(g), DRIVER_OK);
	kick(g);
	driver_start(g);
	assert_works(g);
}

static void a_reset_machine_begins_anew(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;

	assert_int_equal(rng_device_ops.reset(&g->rng->device, 0), 0);
	assert_int_equal(status(g), 0);
	assert_false(g->rng->queue.has_ring);
	driver_start(g);
	assert_works(g);
}

/* Moving */

static struct tree write_tree(struct rng_guest *g, tree_write_fn *fn)
{
	return tree_write(&g->rng->device, fn);
}

static void copy_guest(struct rng_guest *to, struct rng_guest *from)
{
	memcpy(bytes_at(to, 0, GUEST_MEM), bytes_at(from, 0, GUEST_MEM), GUEST_MEM);
	fake_driver_exit(&to->ring);
	if (from->ring.mem)
		fake_driver_copy(&to->ring, &from->ring, &to->host->vm.memory);
}

static struct tree stop(struct pair *p)
{
	assert_tree_taken(&p->b.rng->device, rng_device_ops.accept,
			  write_tree(&p->a, rng_device_ops.describe));
	rng_device_ops.pause(&p->a.rng->device);
	copy_guest(&p->b, &p->a);
	return write_tree(&p->a, rng_device_ops.save);
}

static void requests_that_wait_move_with_the_guest(void **state)
{
	struct pair *p = *state;
	struct tree t;

	assert_works(&p->a);
	rng_device_ops.pause(&p->a.rng->device);
	for (unsigned int i = 0; i < 3; i++)
		ask(&p->a, DATA, 64);
	/* A kick does not end a pause. */
	kick(&p->a);
	t = stop(p);
	assert_tree_same(write_tree(&p->a, rng_device_ops.save), t);
	assert_tree_taken(&p->b.rng->device, rng_device_ops.load, t);
	t = write_tree(&p->a, rng_device_ops.save);
	assert_tree_same(write_tree(&p->b, rng_device_ops.save), t);
	free(t.fdt);
	rng_device_ops.resume(&p->b.rng->device, DEVICE_ARRIVED);
	rng_device_ops.release(&p->a.rng->device);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(answer(&p->b), 64);
	assert_works(&p->b);
	driver_start(&p->b);
	assert_works(&p->b);
}

static void a_paused_device_leaves_memory_alone(void **state)
{
	struct rng_guest *g = &((struct pair *)*state)->a;
	unsigned int before = n_calls;

	/* The queue rests, and a timer would bring it back. */
	fail_getrandom = EAGAIN;
	ask(g, DATA, 64);
	wait_for_call(before);
	rng_device_ops.pause(&g->rng->device);
	fail_getrandom = 0;
	assert_int_equal(answer_in(g, 2 * RNG_PERIOD_MS), -1);
	rng_device_ops.resume(&g->rng->device, DEVICE_STAYED);
	assert_int_equal(answer(g), 64);
	assert_works(g);
}

static void a_guest_without_a_driver_moves(void **state)
{
	struct pair *p = *state;

	driver_reset(&p->a);
	assert_tree_taken(&p->b.rng->device, rng_device_ops.load, stop(p));
	rng_device_ops.resume(&p->b.rng->device, DEVICE_ARRIVED);
	driver_start(&p->b);
	assert_works(&p->b);
}

static void a_broken_device_stays_broken_where_it_arrives(void **state)
{
	struct pair *p = *state;

	ask(&p->a, GUEST_MEM - 32, 64);
	while (status(&p->a) != BROKEN)
		poll(NULL, 0, 1);
	assert_tree_taken(&p->b.rng->device, rng_device_ops.load, stop(p));
	rng_device_ops.resume(&p->b.rng->device, DEVICE_ARRIVED);
	assert_int_equal(status(&p->b), BROKEN);
	kick(&p->b);
	driver_start(&p->b);
	assert_works(&p->b);
}

/* Changes a property of a node in @t, of 4 or 8 bytes. */
static struct tree spoil(struct tree t, const char *path, const char *name, uint64_t value)
{
	int node = fdt_path_offset(t.fdt, path), len;

	assert_true(node >= 0);
	assert_non_null(fdt_getprop(t.fdt, node, name, &len));
	if (len == 4)
		assert_int_equal(fdt_setprop_inplace_u32(t.fdt, node, name, (uint32_t)value), 0);
	else
		assert_int_equal(fdt_setprop_inplace_u64(t.fdt, node, name, value), 0);
	return t;
}

static void a_description_that_does_not_fit_is_refused(void **state)
{
	struct pair *p = *state;
	struct device *dev = &p->b.rng->device;
	const struct device_ops *ops = &rng_device_ops;

	assert_tree_refused(dev, ops->accept, spoil(write_tree(&p->a, ops->describe), "/", "queue-size", 16),
			    "here it takes 8");
	assert_tree_refused(dev, ops->accept, spoil(write_tree(&p->a, ops->describe), "/", "queue-size", 3),
			    "up to 3 entries");
	assert_tree_refused(dev, ops->accept, spoil(write_tree(&p->a, ops->describe), "/", "queue-size", 0),
			    "queue-size");
	assert_tree_refused(dev, ops->accept,
			    spoil(write_tree(&p->a, ops->describe), "/", "offered", UINT64_C(1) << 34),
			    "features 0x400000000");
	/* Fewer of either are what an older source may have. */
	assert_tree_taken(dev, ops->accept, spoil(write_tree(&p->a, ops->describe), "/", "queue-size", 4));
	assert_int_equal(reg_read(&p->b, VIRTIO_PCI_COMMON_Q_SIZE, 2), 4);
}

static void state_that_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *path, *name;
		uint64_t value;
		const char *reason;
	} wrong[] = {
		{ "/ring", "last-avail", 70000, "last-avail" },
		{ "/ring", "used-idx", 5, "used" },
		{ "/virtio/virtio-pci", "status", 0x100, "status" },
		{ "/virtio/virtio-pci/queue@0", "desc", UINT64_C(0xffffffffffff0000), "not in guest memory" },
	};
	struct pair *p = *state;
	struct tree t;

	assert_works(&p->a);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		t = spoil(stop(p), wrong[i].path, wrong[i].name, wrong[i].value);
		assert_tree_refused(&p->b.rng->device, rng_device_ops.load, t, wrong[i].reason);
	}
	t = stop(p);
	assert_int_equal(fdt_del_node(t.fdt, fdt_path_offset(t.fdt, "/ring")), 0);
	assert_int_equal(fdt_pack(t.fdt), 0);
	t.len = fdt_totalsize(t.fdt);
	assert_tree_refused(&p->b.rng->device, rng_device_ops.load, t, "ring");
}

static void requests_in_flight_are_refused(void **state)
{
	struct pair *p = *state;
	struct vring_chain chain;
	struct tree t;

	rng_device_ops.pause(&p->a.rng->device);
	ask(&p->a, DATA, 64);
	assert_int_equal(vring_pop(&p->a.rng->queue.vring, &chain), 1);
	t = stop(p);
	vring_unpop(&p->a.rng->queue.vring);
	assert_tree_refused(&p->b.rng->device, rng_device_ops.load, t, "in flight where none can be");
}

static void truncated_state_is_refused_at_every_length(void **state)
{
	struct pair *p = *state;
	struct tree t = stop(p);

	for (uint32_t len = 0; len < t.len; len++) {
		/* At its exact length, so that the sanitizer sees what is read behind it. */
		uint64_t *part = malloc(len ? len : 1);
		struct error err = { 0 };

		memcpy(part, t.fdt, len);
		assert_true(tree_read(&p->b.rng->device, rng_device_ops.load, part, len, &err) < 0);
		free(part);
	}
	assert_tree_taken(&p->b.rng->device, rng_device_ops.load, t);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_driver_gets_other_bytes_each_time),
		TEST(bytes_come_where_the_buffers_are_and_nowhere_else),
		TEST(what_is_written_is_marked_for_a_migration),
		TEST(a_long_buffer_gets_what_one_request_may_have),
		TEST(a_buffer_that_cannot_be_written_comes_back_empty),
		TEST(a_guest_that_always_asks_gets_so_much_and_no_more),
		TEST(kicks_of_a_guest_that_has_had_its_share_wake_nobody),
		TEST(a_host_without_entropy_is_asked_again),
		TEST(a_driver_that_breaks_the_ring_has_to_reset),
		TEST(a_ring_outside_of_memory_does_not_start),
		TEST(a_driver_without_a_queue_gets_nothing),
		TEST(a_reset_machine_begins_anew),
		TEST(requests_that_wait_move_with_the_guest),
		TEST(a_paused_device_leaves_memory_alone),
		TEST(a_guest_without_a_driver_moves),
		TEST(a_broken_device_stays_broken_where_it_arrives),
		TEST(a_description_that_does_not_fit_is_refused),
		TEST(state_that_cannot_be_is_refused),
		TEST(requests_in_flight_are_refused),
		TEST(truncated_state_is_refused_at_every_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
