/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread of the vDPA NIC in software looks instead of sleeping: what it asks to be told, that it misses
 * nothing on its way to sleep, and that it does sleep. */
#define _GNU_SOURCE
#include "tests/unit/devices/vdpa/soft/soft_fixture.h"

#include <stdio.h>

#define BOUND_US 50u
#define N_RACES  3000u

static void start_looking(struct soft_rig *r, uint32_t us, uint64_t features)
{
	r->vdpa->ops->look(r->vdpa, us, 1);
	soft_rig_start(r, features);
}

static void await_call(struct soft_rig *r, unsigned int queue)
{
	struct pollfd p = { .fd = r->call[queue], .events = POLLIN };

	if (fake_driver_enable_interrupts(&r->queues[queue]))
		return;
	assert_int_equal(poll(&p, 1, FAKE_PATIENCE_MS), 1);
	loop_take(p.fd);
}

/* One packet from the guest and one to it; the guest and the network are told nothing but by descriptors. */
static void there_and_back(struct soft_rig *r, unsigned int *seed)
{
	const uint64_t pause_ns = (uint64_t)(rand_r(seed) % (int)(2 * BOUND_US)) * 1000, start = now_ns();
	uint8_t frame[128], in[256];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_post(r, 0, 1, 1024);
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), FAKE_PATIENCE_MS), len);
	while (soft_rig_reap(r, 0) == 0)
		await_call(r, 1);
	while (now_ns() - start < pause_ns)
		;
	soft_net_send(&r->net, NULL, frame, len);
	while (soft_rig_received(r, 0, NULL, in, sizeof(in)) < 0)
		await_call(r, 0);
	while (now_ns() - start < 2 * pause_ns)
		;
}

static void race_to_sleep(struct soft_rig *r, uint32_t us, uint64_t features)
{
	unsigned int seed = 1;

	start_looking(r, us, features);
	for (unsigned int i = 0; i < N_RACES; i++)
		there_and_back(r, &seed);
}

static void test_no_packet_is_missed_by_a_thread_that_goes_to_sleep(void **state)
{
	race_to_sleep(*state, BOUND_US, ALL);
}

static void test_nor_without_an_event_index(void **state)
{
	race_to_sleep(*state, BOUND_US, NO_EV);
}

static void test_nor_by_one_that_decides_itself(void **state)
{
	race_to_sleep(*state, LOOK_AUTO, ALL);
}

/* The device comes to look between one packet and the next, and is told of some of the first at most. */
static void send_untold(struct soft_rig *r, uint64_t features)
{
	uint8_t frame[128], in[256];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);
	unsigned int n_told;

	start_looking(r, LOOK_MAX_US, features);
	for (unsigned int i = 0; i < 200; i++) {
		soft_rig_send(r, 0, NULL, frame, len);
		assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), FAKE_PATIENCE_MS), len);
		while (soft_rig_reap(r, 0) == 0)
			;
	}
	/* Another process may have had the CPU for longer than the device looks. */
	n_told = (unsigned int)soft_rig_counter(r, 1, SOFT_NOTIFICATIONS);
	assert_in_range(n_told, 1, 150);
	assert_int_equal(soft_rig_counter(r, 1, SOFT_PACKETS), 200);
	soft_rig_reset(r);
}

static void test_a_thread_that_looks_needs_no_kicks(void **state)
{
	send_untold(*state, ALL);
	send_untold(*state, NO_EV);
}

static int tid_call(void *arg)
{
	*(int *)arg = gettid();
	return 0;
}

/* How often the thread has slept, where it sleeps now: one that waits for a CPU may be about to. */
static unsigned long n_sleeps(int tid)
{
	char path[64], line[128], state = 0;
	unsigned long n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "State: %c", &state);
		sscanf(line, "voluntary_ctxt_switches: %lu", &n);
	}
	fclose(file);
	return state == 'S' ? n : 0;
}

static void test_a_device_whose_guest_is_idle_is_never_woken(void **state)
{
	static const uint32_t bounds[] = { LOOK_AUTO, LOOK_MAX_US, 0 };
	struct soft_rig *r = *state;
	unsigned int seed = 2;

	for (unsigned int i = 0; i < ARRAY_SIZE(bounds); i++) {
		uint64_t start = now_ns();
		unsigned long before;
		int tid;

		start_looking(r, bounds[i], ALL);
		for (unsigned int k = 0; k < 100; k++)
			there_and_back(r, &seed);
		loop_call(&soft_rig_device(r)->loop, tid_call, &tid);
		do {
			assert_true(now_ns() - start < FAKE_PATIENCE_MS * UINT64_C(1000000));
			before = n_sleeps(tid);
			poll(NULL, 0, 100);
		} while (before == 0 || n_sleeps(tid) != before);
		poll(NULL, 0, 500);
		assert_int_equal(n_sleeps(tid), before);
		soft_rig_reset(r);
	}
}

/* Calls come while it looks: what they change holds, and they find and leave rings that can go on. */
static void test_a_device_that_looks_takes_commands_and_is_suspended(void **state)
{
	struct soft_rig *r = *state;
	struct error err = { 0 };
	unsigned int seed = 3;

	start_looking(r, LOOK_MAX_US, ALL);
	for (unsigned int i = 0; i < 50; i++) {
		there_and_back(r, &seed);
		assert_int_equal(command(r, MQ, 0, i % 2 ? "\x01\0" : "\x02\0", 2), VIRTIO_NET_OK);
		there_and_back(r, &seed);
		assert_int_equal(r->vdpa->ops->suspend(r->vdpa, &err), 0);
		assert_int_equal(r->vdpa->ops->resume(r->vdpa, &err), 0);
	}
	there_and_back(r, &seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_packet_is_missed_by_a_thread_that_goes_to_sleep,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_nor_without_an_event_index, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nor_by_one_that_decides_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_thread_that_looks_needs_no_kicks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_device_whose_guest_is_idle_is_never_woken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_device_that_looks_takes_commands_and_is_suspended,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
