/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's thread looks at the rings instead of sleeping: who is told of what meanwhile, that nothing is
 * missed when it goes to sleep, and that it does sleep. */
#define _GNU_SOURCE
#include "tests/unit/devices/net/net_fixture.h"

#include <stdio.h>

#include "devices/net/turn.h"

#define NO_EVENT_IDX (ALL & ~BIT(VIRTIO_RING_F_EVENT_IDX))

/* Packets of the race: each waits for its own kick, and pauses around the bound follow them. */
#define N_RACES  2000u
#define BOUND_US 20u

/* Ferry has the rings. */
static int setup_shadow(void **state)
{
	fixture_config.mode = NET_SHADOW;
	return setup(state);
}

static int begin_call(struct net *net, void *arg)
{
	net_turn_begin(net);
	return 0;
}

static int turn_call(struct net *net, void *arg)
{
	return net_turn(net);
}

static int end_call(struct net *net, void *arg)
{
	net_turn_end(net);
	return 0;
}

static bool add_packet(struct net_guest *g)
{
	struct virtio_seg seg = { 0x200000, 100 };

	assert_true(fake_driver_add(&g->queues[1], &seg, 1, 0) >= 0);
	return fake_driver_publish(&g->queues[1]);
}

/* The device uses what it has; whether the driver wants to be told. */
static bool use_all(struct fake_vdpa *v, unsigned int n)
{
	struct fake_device *ring = &v->queues[1].ring;
	struct fake_element e;

	for (; n > 0; n--) {
		assert_int_equal(fake_device_take(ring, &e), 1);
		fake_device_complete(ring, e.head, 0);
	}
	assert_int_equal(fake_device_take(ring, &e), 0);
	return fake_device_publish(ring);
}

static void look_untold(struct fixture *f, uint64_t features)
{
	start_a(f, features);
	net_guest_settle(f->a);
	assert_int_equal(net_call(f->a->net, begin_call, NULL), 0);
	/* The event index that asks for the next is passed with it: from then on none is asked for. */
	add_packet(f->a);
	assert_int_equal(net_call(f->a->net, turn_call, NULL), 1);
	use_all(f->va, 1);
	assert_int_equal(net_call(f->a->net, turn_call, NULL), 1);
	assert_int_equal(net_call(f->a->net, turn_call, NULL), 0);
	for (unsigned int i = 0; i < 200; i++) {
		assert_false(add_packet(f->a));
		assert_int_equal(net_call(f->a->net, turn_call, NULL), 1);
		assert_false(use_all(f->va, 1));
		assert_int_equal(net_call(f->a->net, turn_call, NULL), 1);
		assert_int_equal(net_guest_reap(f->a, 0), i == 0 ? 2 : 1);
	}
	/* And then again. */
	assert_int_equal(net_call(f->a->net, end_call, NULL), 0);
	assert_true(add_packet(f->a));
	assert_int_equal(net_call(f->a->net, turn_call, NULL), 1);
	assert_true(use_all(f->va, 1));
}

static void nobody_is_asked_to_tell_a_thread_that_looks(void **state)
{
	look_untold(*state, ALL);
}

static void nor_where_there_is_no_event_index(void **state)
{
	look_untold(*state, NO_EVENT_IDX);
}

static void what_comes_before_the_end_of_looking_is_seen_to_by_it(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	net_guest_settle(f->a);
	net_call(f->a->net, begin_call, NULL);
	add_packet(f->a);
	net_call(f->a->net, turn_call, NULL);
	assert_false(add_packet(f->a));
	net_call(f->a->net, end_call, NULL);
	use_all(f->va, 2);

	net_call(f->a->net, begin_call, NULL);
	net_call(f->a->net, turn_call, NULL);
	add_packet(f->a);
	net_call(f->a->net, turn_call, NULL);
	use_all(f->va, 1);
	net_call(f->a->net, end_call, NULL);
	assert_int_equal(net_guest_reap(f->a, 0), 3);
}

static void build_looking(struct fixture *f, uint32_t us, uint64_t features)
{
	fixture_config.poll_us = us;
	build_a(f, &fake_vdpa_default);
	fixture_config.poll_us = 0;
	start_a(f, features);
	net_guest_settle(f->a);
}

static void wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, FAKE_PATIENCE_MS), 1);
	loop_take(fd);
}

/* One packet to the device and back, where everybody sleeps until told. */
static void told_and_told_back(struct fixture *f, unsigned int *seed)
{
	struct fake_vdpa_queue *q = &f->va->queues[1];
	const uint64_t pause_ns = (uint64_t)(rand_r(seed) % (int)(2 * BOUND_US)) * 1000;
	struct fake_element e;
	uint64_t start;

	assert_false(fake_device_enable_kicks(&q->ring));
	if (add_packet(f->a))
		net_guest_kick(f->a, 1);
	while (fake_device_take(&q->ring, &e) == 0)
		wait_readable(q->vring.kick_fd);
	for (start = now_ns(); now_ns() - start < pause_ns / 4;)
		;
	fake_device_complete(&q->ring, e.head, 0);
	if (fake_device_publish(&q->ring))
		loop_signal(q->vring.call_fd);
	while (net_guest_reap(f->a, 0) == 0)
		wait_readable(f->a->net->virtio.pci.vectors[2].irq.fd);
	for (start = now_ns(); now_ns() - start < pause_ns;)
		;
}

static void race_to_sleep(struct fixture *f, uint32_t us, uint64_t features)
{
	unsigned int seed = 1;

	build_looking(f, us, features);
	net_guest_reap(f->a, 0);
	for (unsigned int i = 0; i < N_RACES; i++)
		told_and_told_back(f, &seed);
}

static void no_packet_is_missed_by_a_thread_that_goes_to_sleep(void **state)
{
	race_to_sleep(*state, BOUND_US, ALL);
}

static void nor_without_an_event_index(void **state)
{
	race_to_sleep(*state, BOUND_US, NO_EVENT_IDX);
}

static void nor_by_one_that_decides_itself(void **state)
{
	race_to_sleep(*state, LOOK_AUTO, ALL);
}

static int tid_call(struct net *net, void *arg)
{
	*(int *)arg = gettid();
	return 0;
}

/* How often the thread has slept. */
static unsigned long n_sleeps(int tid)
{
	char path[64], line[128];
	unsigned long n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		sscanf(line, "voluntary_ctxt_switches: %lu", &n);
	fclose(file);
	return n;
}

static uint64_t thread_ns(pthread_t thread)
{
	struct timespec t;
	clockid_t clock;

	assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
	assert_int_equal(clock_gettime(clock, &t), 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* In a while in which nothing comes it is not woken once, and uses no time. */
static void goes_to_sleep(struct fixture *f, uint32_t us)
{
	unsigned int seed = 2;
	uint64_t start_ns, ns;
	unsigned long before;
	int tid;

	build_looking(f, us, ALL);
	net_guest_reap(f->a, 0);
	for (unsigned int i = 0; i < 100; i++)
		told_and_told_back(f, &seed);
	net_call(f->a->net, tid_call, &tid);
	start_ns = now_ns();
	do {
		assert_true(now_ns() - start_ns < FAKE_PATIENCE_MS * UINT64_C(1000000));
		before = n_sleeps(tid);
		ns = thread_ns(f->a->net->loop.thread);
		poll(NULL, 0, 100);
	} while (n_sleeps(tid) != before || thread_ns(f->a->net->loop.thread) != ns);
	poll(NULL, 0, 500);
	assert_int_equal(n_sleeps(tid), before);
	assert_int_equal(thread_ns(f->a->net->loop.thread), ns);
}

static void a_nic_whose_guest_is_idle_is_never_woken(void **state)
{
	goes_to_sleep(*state, LOOK_AUTO);
	goes_to_sleep(*state, LOOK_MAX_US);
	goes_to_sleep(*state, 0);
}

static int looking_call(struct net *net, void *arg)
{
	return net->path.looking;
}

/* With a bound so long that each call but the first comes while it looks. */
static void a_call_finds_kicks_and_calls_asked_for(void **state)
{
	struct fixture *f = *state;
	unsigned int seed = 3;

	build_looking(f, LOOK_MAX_US, ALL);
	net_guest_reap(f->a, 0);
	for (unsigned int i = 0; i < 100; i++) {
		told_and_told_back(f, &seed);
		assert_int_equal(net_call(f->a->net, looking_call, NULL), 0);
	}
	net_guest_reset(f->a);
	start_a(f, ALL);
	net_guest_settle(f->a);
	exchange(f->a, f->va, 0, 7);
}

static void a_guest_moves_from_a_nic_that_looks_to_another(void **state)
{
	struct fixture *f = *state;

	fixture_config.poll_us = LOOK_MAX_US;
	build_a(f, &fake_vdpa_default);
	build_b(f, &fake_vdpa_default);
	fixture_config.poll_us = 0;
	start_a(f, ALL);
	exchange(f->a, f->va, 0, 1);
	migrate(f);
	exchange(f->b, f->vb, 0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_is_asked_to_tell_a_thread_that_looks, setup_shadow,
						teardown),
		cmocka_unit_test_setup_teardown(nor_where_there_is_no_event_index, setup_shadow, teardown),
		cmocka_unit_test_setup_teardown(what_comes_before_the_end_of_looking_is_seen_to_by_it,
						setup_shadow, teardown),
		cmocka_unit_test_setup_teardown(no_packet_is_missed_by_a_thread_that_goes_to_sleep,
						setup_shadow, teardown),
		cmocka_unit_test_setup_teardown(nor_without_an_event_index, setup_shadow, teardown),
		cmocka_unit_test_setup_teardown(nor_by_one_that_decides_itself, setup_shadow, teardown),
		cmocka_unit_test_setup_teardown(a_nic_whose_guest_is_idle_is_never_woken, setup_shadow,
						teardown),
		cmocka_unit_test_setup_teardown(a_call_finds_kicks_and_calls_asked_for, setup_shadow,
						teardown),
		cmocka_unit_test_setup_teardown(a_guest_moves_from_a_nic_that_looks_to_another, setup_shadow,
						teardown),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
