/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ferry's own buffers at a destination's device: what arrives before the guest does, what after;
 * announcements. */
#include "tests/unit/devices/net/net_fixture.h"

#define N_SCRATCH 20u /* with mergeable buffers */

static void start(struct fixture *f, uint64_t features, unsigned int n_buffers, uint32_t len)
{
	build_b(f, &fake_vdpa_default);
	assert_int_equal(net_guest_start(f->a, features), DRIVER_OK);
	assert_int_equal(net_guest_post(f->a, 0, n_buffers, len), n_buffers);
	net_guest_settle(f->a);
	warm(f);
}

static void packet(uint8_t *data, uint32_t len, uint8_t mark)
{
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(mark + i * 3 + i / 251);
}

static void assert_next(struct net_guest *g, const uint8_t *data, uint32_t len)
{
	static uint8_t in[70000];

	assert_int_equal(net_guest_received(g, 0, in, sizeof(in)), len);
	assert_memory_equal(in, data, len);
}

static void assert_no_next(struct net_guest *g)
{
	uint8_t in[1600];

	assert_int_equal(net_guest_received(g, 0, in, sizeof(in)), -1);
}

static void packets_from_before_the_guest_are_dropped_and_later_ones_kept(void **state)
{
	struct fixture *f = *state;
	uint8_t data[300];

	start(f, ALL, 40, 1600);
	assert_int_equal(fake_vdpa_waiting(f->vb, 0), N_SCRATCH);
	/* Far more than there are buffers: they are used again and again. */
	for (unsigned int i = 0; i < 200; i++) {
		packet(data, sizeof(data), 1);
		assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
		net_guest_settle(f->b);
		assert_int_equal(fake_vdpa_waiting(f->vb, 0), N_SCRATCH);
	}
	stop_and_load(f);
	commit(f);
	net_guest_settle(f->b);
	assert_no_next(f->b);
	/* 20 chains are held for the scratch buffers, 20 are at the device behind them. */
	assert_int_equal(fake_vdpa_waiting(f->vb, 0), 40);
	for (uint8_t i = 0; i < 40; i++) {
		packet(data, sizeof(data), i);
		assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
		net_guest_settle(f->b);
		assert_next(f->b, data, sizeof(data));
		assert_no_next(f->b);
	}
	assert_int_equal(f->b->queues[0].n_out, 0);
	assert_int_equal(fake_vdpa_waiting(f->vb, 0), 0);
	net_guest_post(f->b, 0, 60, 1600);
	exchange(f->b, f->vb, 0, 4);
}

static void a_packet_between_load_and_resume_arrives(void **state)
{
	struct fixture *f = *state;
	uint8_t data[300];

	start(f, ALL, 40, 1600);
	stop_and_load(f);
	packet(data, sizeof(data), 7);
	assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
	net_guest_settle(f->b);
	assert_no_next(f->b);
	commit(f);
	net_guest_settle(f->b);
	assert_next(f->b, data, sizeof(data));
	assert_no_next(f->b);
}

static void packets_of_many_scratch_buffers_arrive_whole(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[60000];

	/* 60 KB take 15 scratch buffers, and 38 of the guest's. */
	start(f, ALL, 60, 1600);
	stop_and_load(f);
	commit(f);
	net_guest_post(f->b, 0, 4, 1600);
	packet(data, 9000, 1);
	assert_true(fake_vdpa_receive(f->vb, 0, data, 9000));
	net_guest_settle(f->b);
	assert_next(f->b, data, 9000);
	/* 17 are left, and the held ones must suffice: a packet for which they do not is dropped, once. */
	packet(data, sizeof(data), 2);
	assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
	net_guest_settle(f->b);
	assert_no_next(f->b);
	packet(data, 1000, 3);
	assert_true(fake_vdpa_receive(f->vb, 0, data, 1000));
	net_guest_settle(f->b);
	assert_next(f->b, data, 1000);
}

static void a_packet_in_scratch_and_own_buffers_is_dropped_whole(void **state)
{
	struct fixture *f = *state;
	uint8_t data[9000];

	/* The device has one scratch buffer left, then the guest's own: a packet goes across. */
	for (unsigned int n_posted = 25; n_posted <= 60; n_posted += 35) {
		build_a(f, &fake_vdpa_default);
		start(f, ALL, n_posted, 1600);
		stop_and_load(f);
		commit(f);
		for (uint8_t i = 0; i < N_SCRATCH - 1; i++) {
			packet(data, 100, i);
			assert_true(fake_vdpa_receive(f->vb, 0, data, 100));
			net_guest_settle(f->b);
			assert_next(f->b, data, 100);
		}
		net_guest_post(f->b, 0, 5, 1600);
		net_guest_settle(f->b);
		packet(data, sizeof(data), 0x77);
		assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
		net_guest_settle(f->b);
		/* One chain is held, of 1600 bytes, for the 4096 of the scratch buffer. */
		assert_no_next(f->b);
		/* The rest went back to the device; nothing is lost but the packet. */
		net_guest_post(f->b, 0, 5, 1600);
		for (uint8_t i = 0; i < 10; i++) {
			packet(data, 100, i);
			assert_true(fake_vdpa_receive(f->vb, 0, data, 100));
			net_guest_settle(f->b);
			assert_next(f->b, data, 100);
		}
	}
}

static void a_packet_in_scratch_and_own_buffers_arrives_where_it_fits(void **state)
{
	struct fixture *f = *state;
	uint8_t data[9000];

	/* Buffers as long as a scratch buffer. */
	build_b(f, &fake_vdpa_default);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int i = 0; i < 30; i++) {
		struct virtio_seg seg = { UINT64_C(0x600000) + 4096 * i, 4096 };
		int head = fake_driver_add(&f->a->queues[0], &seg, 0, 1);

		f->a->buffer_of[0][head] = seg.addr;
	}
	fake_driver_publish(&f->a->queues[0]);
	net_guest_kick(f->a, 0);
	net_guest_settle(f->a);
	migrate(f);
	for (uint8_t i = 0; i < N_SCRATCH - 1; i++) {
		packet(data, 100, i);
		assert_true(fake_vdpa_receive(f->vb, 0, data, 100));
		net_guest_settle(f->b);
		assert_next(f->b, data, 100);
	}
	packet(data, sizeof(data), 0x77);
	assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
	net_guest_settle(f->b);
	assert_next(f->b, data, sizeof(data));
	assert_no_next(f->b);
}

static void packets_arrive_without_mergeable_buffers(void **state)
{
	struct fixture *f = *state;
	uint8_t data[1400];

	start(f, ~BIT(VIRTIO_NET_F_MRG_RXBUF), 10, 1600);
	assert_int_equal(fake_vdpa_waiting(f->vb, 0), 1);
	stop_and_load(f);
	commit(f);
	net_guest_settle(f->b);
	for (uint8_t i = 0; i < 10; i++) {
		packet(data, sizeof(data), i);
		assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
		net_guest_settle(f->b);
		assert_next(f->b, data, sizeof(data));
	}
	assert_int_equal(f->b->queues[0].n_out, 0);
}

static void packets_for_a_guest_without_buffers_are_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100];

	start(f, ALL, 0, 1600);
	stop_and_load(f);
	commit(f);
	packet(data, sizeof(data), 1);
	assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data))); /* nobody has room for it */
	net_guest_settle(f->b);
	net_guest_post(f->b, 0, 10, 1600);
	net_guest_settle(f->b);
	assert_no_next(f->b);
	for (uint8_t i = 0; i < 10; i++) {
		packet(data, sizeof(data), i);
		assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
		net_guest_settle(f->b);
		assert_next(f->b, data, sizeof(data));
	}
}

static void a_reset_takes_scratch_buffers_back(void **state)
{
	struct fixture *f = *state;

	start(f, ALL, 10, 1600);
	stop_and_load(f);
	commit(f);
	assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	net_guest_settle(f->b);
	assert_int_equal(fake_vdpa_waiting(f->vb, 0), 0);
	net_guest_post(f->b, 0, 10, 1600);
	exchange(f->b, f->vb, 0, 4);
	assert_int_equal(fake_vdpa_waiting(f->vb, 1), 0);
}

static void a_guest_moves_on_with_scratch_at_the_device(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100], whole[120] = { [10] = 1 };
	struct fake_element e;

	start(f, ALL, 40, 1600);
	stop_and_load(f);
	commit(f);
	swap(f);
	/* Without a call: pausing finds it. */
	packet(data, sizeof(data), 1);
	memcpy(whole + 20, data, sizeof(data));
	assert_true(fake_vdpa_take(f->va, 0, &e));
	fake_vdpa_write(f->va, e.segs, 1, whole, sizeof(whole));
	fake_vdpa_use(f->va, 0, e.head, sizeof(whole));
	fake_vdpa_lock(f->va);
	fake_device_publish(&f->va->queues[0].ring);
	fake_vdpa_unlock(f->va);
	net_device_ops.pause(device_of(f->a));
	assert_next(f->a, data, sizeof(data));
	/* Given up once: what came while it stood still is delivered. */
	packet(data, sizeof(data), 2);
	assert_true(fake_vdpa_receive(f->va, 0, data, sizeof(data)));
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	net_guest_settle(f->a);
	assert_next(f->a, data, sizeof(data));

	build_b(f, &fake_vdpa_default);
	migrate(f);
	net_guest_settle(f->b);
	for (uint8_t i = 0; i < 38; i++) {
		packet(data, sizeof(data), i);
		assert_true(fake_vdpa_receive(f->vb, 0, data, sizeof(data)));
		net_guest_settle(f->b);
		assert_next(f->b, data, sizeof(data));
	}
	assert_int_equal(f->b->queues[0].n_out, 0);
}

static void a_hostile_number_of_buffers_is_bounded(void **state)
{
	static const uint16_t numbers[] = { 0, 2, 21, 64, 65, UINT16_MAX };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint8_t header[40] = { 0 }, data[100];
		struct fake_element e;

		build_a(f, &fake_vdpa_default);
		start(f, ALL, 40, 1600);
		stop_and_load(f);
		commit(f);
		put_le16(header + 10, numbers[i]);
		assert_true(fake_vdpa_take(f->vb, 0, &e));
		fake_vdpa_write(f->vb, e.segs, 1, header, sizeof(header));
		fake_vdpa_use(f->vb, 0, e.head, sizeof(header));
		fake_vdpa_publish(f->vb, 0);
		for (unsigned int k = 0; k < 30; k++) {
			packet(data, sizeof(data), 1);
			fake_vdpa_receive(f->vb, 0, data, sizeof(data));
			net_guest_settle(f->b);
		}
		assert_int_equal(net_guest_status(f->b), DRIVER_OK);
		assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	}
}

static void an_arrival_is_announced(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[100];

	start(f, ALL, 10, 1600);
	assert_int_equal(net_guest_command(f->a, 1, 1, "\x52\7\7\7\7\7", 6), VIRTIO_NET_OK);
	stop_and_load(f);
	assert_int_equal(fake_vdpa_waiting(f->vb, 1), 0);
	net_guest_interrupts(f->b, NET_GUEST_CONFIG);
	commit(f);
	/* Five frames. */
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(fake_vdpa_sent(f->vb, 0, frame, sizeof(frame)), 60);
		assert_memory_equal(frame,
				    "\xff\xff\xff\xff\xff\xff\x52\7\7\7\7\7\x80\x35\0\1\x08\0\6\4\0\3"
				    "\x52\7\7\7\7\7\0\0\0\0\x52\7\7\7\7\7\0\0\0\0",
				    42);
	}
	/* And the guest is asked to do its part, until it has. */
	assert_true(net_guest_interrupts(f->b, NET_GUEST_CONFIG) > 0);
	assert_int_equal(net_guest_read(f->b, f->b->config + 6, 2),
			 VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	swap(f);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_int_equal(net_guest_read(f->b, f->b->config + 6, 2),
			 VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(net_guest_command(f->b, 3, 0, NULL, 0), VIRTIO_NET_OK);
	assert_int_equal(net_guest_read(f->b, f->b->config + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(f->vb->n_commands, 1); /* the address: the device never hears of it */
	/* A reset ends it. */
	assert_int_equal(fake_vdpa_sent(f->vb, 0, frame, sizeof(frame)), 60);
	net_guest_reset(f->b);
	assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	assert_int_equal(net_guest_read(f->b, f->b->config + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(fake_vdpa_waiting(f->vb, 1), 0);
}

/* Own address and one of the table's, without a tag and on VLAN 100. */
static void all_addresses_of_an_arrival_are_announced_on_all_its_vlans(void **state)
{
	struct fixture *f = *state;
	unsigned int n[2][2] = { 0 };
	uint8_t frame[100];

	start(f, ALL, 10, 1600);
	assert_command(f->a, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\7\7\7\7\0", 6);
	assert_command(f->a, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
		       "\1\0\0\0\x52\7\7\7\7\1\0\0\0\0", 14);
	assert_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x64\0", 2);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, false));
	stop_and_load(f);
	commit(f);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(fake_vdpa_sent(f->vb, 0, frame, sizeof(frame)), 60);
		assert_true(is_announcement(frame, 60));
		assert_in_range(frame[11], 0, 1);
		n[frame[11]][frame[12] == 0x81]++;
	}
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(n[i / 2][i % 2], 2);
}

static void a_guest_that_arrives_sees_the_link_of_its_new_host(void **state)
{
	struct fixture *f = *state;

	start(f, ~BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), 10, 1600);
	fake_vdpa_set_config_status(f->vb, 0);
	net_guest_settle(f->b);
	stop_and_load(f);
	net_guest_interrupts(f->b, NET_GUEST_CONFIG);
	commit(f);
	assert_true(net_guest_interrupts(f->b, NET_GUEST_CONFIG) > 0);
	assert_int_equal(net_guest_read(f->b, f->b->config + 6, 2), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(packets_from_before_the_guest_are_dropped_and_later_ones_kept),
		TEST(a_packet_between_load_and_resume_arrives),
		TEST(packets_of_many_scratch_buffers_arrive_whole),
		TEST(a_packet_in_scratch_and_own_buffers_is_dropped_whole),
		TEST(a_packet_in_scratch_and_own_buffers_arrives_where_it_fits),
		TEST(packets_arrive_without_mergeable_buffers),
		TEST(packets_for_a_guest_without_buffers_are_dropped),
		TEST(a_reset_takes_scratch_buffers_back),
		TEST(a_guest_moves_on_with_scratch_at_the_device),
		TEST(a_hostile_number_of_buffers_is_bounded),
		TEST(an_arrival_is_announced),
		TEST(all_addresses_of_an_arrival_are_announced_on_all_its_vlans),
		TEST(a_guest_that_arrives_sees_the_link_of_its_new_host),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
