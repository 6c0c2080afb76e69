/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state that a device finds when it starts: the receive buffers that there are, before DRIVER_OK and
 * without a kick (which the fake device asserts at every start), and kicks after it. */
#include "tests/unit/devices/net/net_fixture.h"

#include <pthread.h>

#define N_BUFFERS 30u
#define N_SCRATCH 20u

/* A driver that has filled both receive rings before it says DRIVER_OK. */
static void start_filled(struct fixture *f, uint64_t features)
{
	assert_true(net_guest_negotiate(f->a, features) & VIRTIO_CONFIG_S_FEATURES_OK);
	net_guest_set_up_queues(f->a);
	for (unsigned int pair = 0; pair < 2; pair++)
		assert_int_equal(net_guest_post(f->a, pair, N_BUFFERS, 1600), N_BUFFERS);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

static unsigned int at_start(struct fake_vdpa *v, unsigned int queue)
{
	unsigned int n;

	fake_vdpa_lock(v);
	assert_true(v->queues[queue].live);
	n = v->queues[queue].n_at_start;
	fake_vdpa_unlock(v);
	return n;
}

/* Kicks of a queue that the device has not looked at. */
static unsigned int kicks(struct net_guest *g, unsigned int queue)
{
	uint64_t count;

	return read(g->net->queues[queue].device_kick, &count, sizeof(count)) == sizeof(count)
		       ? (unsigned int)count
		       : 0;
}

/* The device fills @n buffers of a pair, each with a packet of its own, and then there is no further one. */
static void assert_each_once(struct net_guest *g, struct fake_vdpa *v, unsigned int pair, unsigned int n)
{
	uint8_t out[100], in[1600];

	for (unsigned int i = 0; i < n; i++) {
		memset(out, (int)i, sizeof(out));
		assert_true(fake_vdpa_receive(v, pair, out, sizeof(out)));
		net_guest_settle(g);
		assert_int_equal(net_guest_received(g, pair, in, sizeof(in)), sizeof(out));
		assert_memory_equal(in, out, sizeof(out));
	}
	assert_false(fake_vdpa_receive(v, pair, out, sizeof(out)));
	assert_int_equal(g->queues[2 * pair].n_out, 0);
}

static void a_booted_device_has_its_receive_buffers_at_driver_ok(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		start_filled(f, ALL);
		for (unsigned int pair = 0; pair < 2; pair++) {
			assert_int_equal(at_start(f->va, 2 * pair), N_BUFFERS);
			assert_true(kicks(f->a, 2 * pair) > 0);
			assert_each_once(f->a, f->va, pair, N_BUFFERS);
		}
	}
}

/* Also those of a pair that is not in use; and what is being sent is sent once. */
static void a_restarted_device_has_its_receive_buffers_at_driver_ok(void **state)
{
	struct fixture *f = *state;
	uint8_t out[100] = { 0 }, in[1600];

	start_filled(f, ALL);
	assert_command(f->a, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\1\0", 2);
	assert_true(net_guest_send(f->a, 1, out, sizeof(out)));
	net_guest_settle(f->a);
	net_guest_reset_queue(f->a, 1);
	assert_int_equal(at_start(f->va, 0), N_BUFFERS);
	assert_int_equal(at_start(f->va, 2), N_BUFFERS);
	assert_true(kicks(f->a, 0) > 0 && kicks(f->a, 2) > 0);
	assert_int_equal(fake_vdpa_waiting(f->va, 3), 1);
	assert_int_equal(sent(f->va, 1, in, sizeof(in)), sizeof(out));

	/* A ring that has been reset has none; the others have theirs. */
	net_guest_reset_queue(f->a, 0);
	assert_int_equal(at_start(f->va, 0), 0);
	assert_int_equal(at_start(f->va, 2), N_BUFFERS);
	net_guest_enable_queue(f->a, 0);
	assert_int_equal(net_guest_post(f->a, 0, N_BUFFERS, 1600), N_BUFFERS);
	net_guest_settle(f->a);
	net_guest_reset_queue(f->a, net_guest_ctrl(f->a));
	for (unsigned int pair = 0; pair < 2; pair++) {
		assert_int_equal(at_start(f->va, 2 * pair), N_BUFFERS);
		assert_each_once(f->a, f->va, pair, N_BUFFERS);
	}
}

static void assert_told(struct fixture *f, unsigned int n_buffers, unsigned int n_kicks)
{
	kicks(f->a, 0);
	kicks(f->a, 2);
	assert_int_equal(net_guest_post(f->a, 0, n_buffers, 1600), n_buffers);
	net_guest_settle(f->a);
	assert_int_equal(kicks(f->a, 0), n_kicks);
	assert_int_equal(kicks(f->a, 2), n_kicks);
}

/* Packets that the device holds back for the ring it may look at only when another one of them is kicked:
 * after a reset of the ring, and when all of its buffers are used. */
static void a_ring_that_has_run_low_is_told_by_all_receive_queues(void **state)
{
	struct fixture *f = *state;
	struct fake_vdpa_queue *q = &f->va->queues[0];

	start_filled(f, ALL);
	net_guest_reset_queue(f->a, 0);
	net_guest_enable_queue(f->a, 0);
	net_guest_settle(f->a);
	assert_told(f, N_BUFFERS, 1);
	assert_each_once(f->a, f->va, 0, N_BUFFERS);
	fake_vdpa_lock(f->va);
	assert_false(fake_device_enable_kicks(&q->ring));
	fake_vdpa_unlock(f->va);
	assert_told(f, N_BUFFERS, 1);
	/* But not a device that has enough. */
	fake_vdpa_lock(f->va);
	fake_device_disable_kicks(&q->ring);
	fake_vdpa_unlock(f->va);
	assert_told(f, N_BUFFERS, 0);
}

static void chains_without_a_byte_come_back_once_the_nic_runs(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg nothing = { UINT64_C(0x300000), 0 };

	assert_true(net_guest_negotiate(f->a, ALL) & VIRTIO_CONFIG_S_FEATURES_OK);
	net_guest_set_up_queues(f->a);
	while (fake_driver_add(&f->a->queues[0], &nothing, 0, 1) >= 0)
		;
	fake_driver_publish(&f->a->queues[0]);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
	assert_int_equal(at_start(f->va, 0), 0);
	net_guest_settle(f->a);
	for (unsigned int i = 0; i < 64; i++) {
		uint16_t head;
		uint32_t len;

		assert_int_equal(fake_driver_get_used(&f->a->queues[0], &head, &len), 1);
		assert_int_equal(len, 0);
	}
	net_guest_post(f->a, 0, N_BUFFERS, 1600);
	exchange(f->a, f->va, 0, 1);
}

/* A ring that the driver has broken before it says DRIVER_OK is no reason not to start: it is found out when
 * the ring is served, as at any other time. */
static void a_broken_ring_breaks_the_nic_once_it_is_served(void **state)
{
	struct fixture *f = *state;

	assert_true(net_guest_negotiate(f->a, ALL) & VIRTIO_CONFIG_S_FEATURES_OK);
	net_guest_set_up_queues(f->a);
	net_guest_post(f->a, 0, 1, 1600);
	/* Of the one descriptor, which is the first of either format, the address. */
	put_le64(f->a->queues[0].desc, UINT64_C(0xffff000000000000));
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	start_filled(f, ALL);
	exchange(f->a, f->va, 0, 1);
}

static void a_warm_device_has_scratch_buffers_at_driver_ok(void **state)
{
	struct fake_vdpa_spec ordered = fake_vdpa_default;
	struct fixture *f = *state;

	build_b(f, &fake_vdpa_default);
	start_filled(f, ALL);
	warm(f);
	assert_int_equal(at_start(f->vb, 0), N_SCRATCH);
	assert_int_equal(at_start(f->vb, 2), N_SCRATCH);
	/* The driver begins anew: the device starts once more, with all of it arrived or not. */
	start_filled(f, ALL);
	stop_and_load(f);
	assert_int_equal(at_start(f->vb, 0), N_SCRATCH);
	commit(f);
	net_guest_settle(f->b);
	for (unsigned int pair = 0; pair < 2; pair++)
		assert_each_once(f->b, f->vb, pair, N_BUFFERS);

	/* In order nothing may be before the guest's: that comes, and is told, when the guest arrives. */
	ordered.in_order = true;
	build_a(f, &ordered);
	build_b(f, &ordered);
	start_filled(f, ALL);
	warm(f);
	assert_int_equal(at_start(f->vb, 0), 0);
	stop_and_load(f);
	kicks(f->b, 0);
	kicks(f->b, 2);
	commit(f);
	net_guest_settle(f->b);
	for (unsigned int pair = 0; pair < 2; pair++) {
		/* Once more when all rings have theirs. */
		assert_true(kicks(f->b, 2 * pair) > 1);
		assert_each_once(f->b, f->vb, pair, N_BUFFERS);
	}
}

/* A packet that comes while the device's state is replayed, by a thread that waits for the first command. */
struct early {
	struct fake_vdpa *v;
	pthread_t thread;
};

static void *early_run(void *arg)
{
	static const uint8_t packet[100] = { 7 };
	struct early *e = arg;
	bool held = false;

	while (!held) {
		poll(NULL, 0, 1);
		fake_vdpa_lock(e->v);
		held = e->v->n_held > 0;
		fake_vdpa_unlock(e->v);
	}
	assert_true(fake_vdpa_receive(e->v, 0, packet, sizeof(packet)));
	fake_vdpa_release(e->v);
	return NULL;
}

static void restart_with_a_packet_between(struct fixture *f)
{
	struct early e = { .v = f->va };

	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	assert_int_equal(pthread_create(&e.thread, NULL, early_run, &e), 0);
	net_guest_reset_queue(f->a, 3);
	pthread_join(e.thread, NULL);
	net_guest_settle(f->a);
}

static void a_packet_that_comes_during_the_replay_arrives(void **state)
{
	struct fixture *f = *state;
	uint8_t in[1600];

	start_filled(f, ALL);
	assert_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\5\0", 2);
	restart_with_a_packet_between(f);
	assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), 100);
	assert_each_once(f->a, f->va, 0, N_BUFFERS - 1);
}

/* Such a packet may be of a kind that the guest has told the device not to bring: its buffer goes to the
 * device again. */
static void a_packet_that_came_before_offloads_were_off_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t in[1600];

	start_filled(f, ALL);
	assert_command(f->a, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\0\0\0\0\0\0\0\0", 8);
	restart_with_a_packet_between(f);
	assert_int_equal(at_start(f->va, 0), N_BUFFERS);
	assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), -1);
	assert_each_once(f->a, f->va, 0, N_BUFFERS);
}

static void a_device_off_the_guests_rings_has_their_buffers_at_driver_ok(void **state)
{
	const struct net_config before = fixture_config;
	struct fixture *f = *state;

	fixture_config = (struct net_config){ .mode = NET_PASSTHROUGH, .split_only = true };
	build_a(f, &fake_vdpa_plain);
	fixture_config = before;
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_int_equal(net_guest_post(f->a, 0, N_BUFFERS, 1600), N_BUFFERS);
	exchange(f->a, f->va, 0, 1);
	assert_int_equal(f->a->net->phase, NET_PHASE_PASS);
	track(f->a, true);
	assert_int_equal(f->a->net->phase, NET_PHASE_SHADOW);
	assert_int_equal(at_start(f->va, 0), N_BUFFERS - 1);
	assert_true(kicks(f->a, 0) > 0);
	/* And back onto them, where the guest's own kicks are the device's. */
	track(f->a, false);
	assert_int_equal(f->a->net->phase, NET_PHASE_PASS);
	assert_int_equal(at_start(f->va, 0), N_BUFFERS - 1);
	assert_each_once(f->a, f->va, 0, N_BUFFERS - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_booted_device_has_its_receive_buffers_at_driver_ok),
		TEST(a_restarted_device_has_its_receive_buffers_at_driver_ok),
		TEST(a_ring_that_has_run_low_is_told_by_all_receive_queues),
		TEST(chains_without_a_byte_come_back_once_the_nic_runs),
		TEST(a_broken_ring_breaks_the_nic_once_it_is_served),
		TEST(a_warm_device_has_scratch_buffers_at_driver_ok),
		TEST(a_packet_that_comes_during_the_replay_arrives),
		TEST(a_packet_that_came_before_offloads_were_off_is_dropped),
		TEST(a_device_off_the_guests_rings_has_their_buffers_at_driver_ok),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
