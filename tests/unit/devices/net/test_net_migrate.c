/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration in miniature: two NICs, two devices, and a guest that must not notice. */
#include "tests/unit/devices/net/net_fixture.h"

static void vlan(struct net_guest *g, uint8_t number, uint16_t vid)
{
	uint8_t data[2];

	put_le16(data, vid);
	assert_command(g, VIRTIO_NET_CTRL_VLAN, number, data, sizeof(data));
}

static void set_everything(struct net_guest *g)
{
	static uint8_t macs[8 + 6 * 700];
	uint8_t rss[11 + 2 * 128 + 40] = { 0x3f, 0, 0, 0, 127 };
	const uint8_t hash[13 + 40] = { 0x7, [12] = 40, [20] = 7 };

	put_le32(macs, 300);
	put_le32(macs + 4 + 6 * 300, 400);
	for (unsigned int i = 0; i < 700; i++) {
		uint8_t *mac = macs + 4 + 6 * i + (i < 300 ? 0 : 4);

		memcpy(mac, i < 300 ? "\x02\1\1\1" : "\x01\0\x5e\1", 4);
		mac[4] = (uint8_t)(i >> 8);
		mac[5] = (uint8_t)i;
	}
	for (unsigned int i = 0; i < 128; i++)
		put_le16(rss + 8 + 2 * i, i % 2);
	rss[8 + 256] = 2;
	rss[8 + 258] = 40;
	memset(rss + 11 + 256, 0x6d, 40);
	for (uint8_t mode = 0; mode < 6; mode++)
		assert_command(g, VIRTIO_NET_CTRL_RX, mode, mode % 2 ? "\0" : "\1", 1);
	assert_command(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs, sizeof(macs));
	assert_command(g, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\7\7\7\7\7", 6);
	for (uint16_t vid = 0; vid < 4094; vid++)
		vlan(g, VIRTIO_NET_CTRL_VLAN_ADD, vid);
	assert_command(g, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, hash, sizeof(hash));
	assert_command(g, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2);
	assert_command(g, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss, sizeof(rss));
	assert_command(g, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\x82\0\0\0\0\0\0\0", 8);
	assert_command(g, VIRTIO_NET_CTRL_HASH_TUNNEL, 0, "\x11\1\0\0", 4);
	assert_command(g, VIRTIO_NET_CTRL_NOTF_COAL, 2, "\1\0\0\0\1\0\0\0\2\0\0\0", 12);
	assert_command(g, VIRTIO_NET_CTRL_NOTF_COAL, 0, "\3\0\0\0\4\0\0\0", 8);
	assert_command(g, VIRTIO_NET_CTRL_NOTF_COAL, 1, "\5\0\0\0\6\0\0\0", 8);
	assert_command(g, VIRTIO_NET_CTRL_NOTF_COAL, 2, "\2\0\0\0\7\0\0\0\x8\0\0\0", 12);
}

/* The device at @v has so many of the guest's own and of Ferry's buffers. */
static void assert_guest_works(struct fixture *f)
{
	uint8_t in[1600];

	drain_announcements(f->vb);
	net_guest_settle(f->b);
	/* What scratch buffers are still there for. */
	while (net_guest_received(f->b, 0, in, sizeof(in)) >= 0)
		;
	for (unsigned int i = 0; i < 60; i++) {
		net_guest_post(f->b, 0, 1, 1600);
		exchange(f->b, f->vb, 0, (uint8_t)i);
	}
	assert_command(f->b, VIRTIO_NET_CTRL_RX, 0, "\1", 1);
}

static void a_nic_with_defaults_moves(void **state)
{
	static const uint64_t features[] = { ALL,
					     ~BIT(VIRTIO_NET_F_MQ) & ~BIT(VIRTIO_NET_F_RSS),
					     ~BIT(VIRTIO_RING_F_EVENT_IDX),
					     ~BIT(VIRTIO_NET_F_HASH_REPORT),
					     ~BIT(VIRTIO_NET_F_MRG_RXBUF),
					     BIT(VIRTIO_F_VERSION_1) };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++) {
		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		start_a(f, features[i]);
		warm(f);
		stop_and_load(f);
		assert_same_device(f);
		commit(f);
		if (!virtio_has(f->a->features, VIRTIO_NET_F_CTRL_RX)) {
			exchange(f->b, f->vb, 0, 1);
			continue;
		}
		assert_guest_works(f);
	}
}

/* An interrupt may get lost on the way: the guest gets one where it has something to look at, and only there.
 */
static void a_guest_that_arrives_is_interrupted_where_it_has_something_to_see(void **state)
{
	struct fixture *f = *state;
	uint8_t data[64] = { 0 };

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL & ~BIT(VIRTIO_F_RING_PACKED));
	for (unsigned int pair = 0; pair < 2; pair++) {
		net_guest_post(f->a, pair, 1, 1600);
		net_guest_settle(f->a);
		assert_true(fake_vdpa_receive(f->va, pair, data, sizeof(data)));
		net_guest_settle(f->a);
	}
	assert_int_equal(net_guest_received(f->a, 0, data, sizeof(data)), sizeof(data));
	warm(f);
	stop_and_load(f);
	commit(f);
	assert_int_equal(net_guest_interrupts(f->b, 2), 1);
	/* But for the control queue's driver, which has never said for what it waits. */
	for (unsigned int queue = 0; queue < net_guest_ctrl(f->b); queue++)
		assert_int_equal(net_guest_interrupts(f->b, queue), 0);
}

static void all_that_commands_have_set_moves(void **state)
{
	struct fixture *f = *state;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	set_everything(f->a);
	warm(f);
	stop_and_load(f);
	assert_same_device(f);
	assert_saved_alike(f);
	commit(f);
	assert_guest_works(f);
}

static void what_changes_while_the_guest_runs_follows(void **state)
{
	struct fixture *f = *state;
	unsigned int n;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	for (uint16_t vid = 1; vid < 1000; vid++)
		vlan(f->a, VIRTIO_NET_CTRL_VLAN_ADD, vid);
	warm(f);
	assert_same_device(f);
	assert_null(write_warm(f->a, false).fdt);
	fake_vdpa_lock(f->vb);
	n = f->vb->n_commands;
	fake_vdpa_unlock(f->vb);

	vlan(f->a, VIRTIO_NET_CTRL_VLAN_DEL, 7);
	vlan(f->a, VIRTIO_NET_CTRL_VLAN_ADD, 2000);
	assert_command(f->a, VIRTIO_NET_CTRL_RX, 0, "\1", 1);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, false));
	assert_same_device(f);
	assert_int_equal(f->vb->n_commands, n + 3);

	/* And one that is told with the rest. */
	assert_command(f->a, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\7\7\7\7\7", 6);
	stop_and_load(f);
	assert_same_device(f);
	assert_int_equal(f->vb->n_commands, n + 4);
	commit(f);
	assert_int_equal(net_guest_read(f->b, f->b->config + 5, 1), 7);
	assert_guest_works(f);
}

static void a_driver_may_begin_anew_meanwhile(void **state)
{
	struct fixture *f = *state;
	unsigned int n_resets;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	vlan(f->a, VIRTIO_NET_CTRL_VLAN_ADD, 3);
	warm(f);
	n_resets = f->vb->n_resets;
	/* With other features; with none, as after a reboot; and again. */
	start_a(f, ~BIT(VIRTIO_NET_F_MQ));
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, false));
	assert_same_device(f);
	assert_int_equal(f->vb->n_resets, n_resets + 1);
	net_guest_reset(f->a);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, false));
	assert_int_equal(f->vb->status, 0);
	start_a(f, ALL);
	vlan(f->a, VIRTIO_NET_CTRL_VLAN_ADD, 5);
	stop_and_load(f);
	assert_same_device(f);
	commit(f);
	assert_guest_works(f);
}

static void a_nic_without_driver_moves(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		if (i == 1) {
			assert_int_equal(net_guest_negotiate(f->a, ALL), 0xb);
			net_guest_set_up_queues(f->a);
		}
		net_guest_offered(f->a);
		migrate(f);
		if (i == 1) {
			net_guest_write(f->b, f->b->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
			assert_int_equal(net_guest_status(f->b), DRIVER_OK);
		} else {
			assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
		}
		net_guest_post(f->b, 0, 10, 1600);
		exchange(f->b, f->vb, 0, 3);
	}
}

/* Every buffer that was in flight is used once, with what the destination's device wrote. */
static void buffers_in_flight_are_used_once(void **state)
{
	struct fixture *f = *state;
	bool seen[64] = { false };
	struct fake_element e;
	uint8_t data[100] = { 0 }, in[1600];
	uint16_t head, order[64];
	uint32_t len;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL); /* 30 receive buffers */
	for (unsigned int i = 0; i < 20; i++) {
		data[0] = (uint8_t)i;
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
	}
	/* Of the transmit ring the device has done every other, out of order, and of the receive ring three.
	 */
	for (unsigned int i = 0; i < 20; i++) {
		assert_true(fake_vdpa_take(f->va, 1, &e));
		order[i] = e.head;
	}
	for (unsigned int i = 20; i-- > 0;) {
		if (i % 2)
			fake_vdpa_use(f->va, 1, order[i], 0);
	}
	fake_vdpa_publish(f->va, 1);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(fake_vdpa_receive(f->va, 0, data, 50 + i));
	warm(f);
	stop_and_load(f);
	assert_saved_alike(f);
	commit(f);

	net_guest_settle(f->b);
	assert_int_equal(net_guest_reap(f->b, 0), 10);
	/* Those that are left are sent once more, in their order. */
	for (unsigned int i = 0; i < 20; i += 2) {
		assert_int_equal(sent(f->vb, 0, in, sizeof(in)), sizeof(data));
		assert_int_equal(in[0], i);
	}
	drain_announcements(f->vb);
	net_guest_settle(f->b);
	assert_int_equal(net_guest_reap(f->b, 0), 10);
	assert_int_equal(f->b->queues[1].n_out, 0);

	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(net_guest_received(f->b, 0, in, sizeof(in)), 50 + i);
	for (unsigned int i = 0; i < 27; i++) {
		assert_true(fake_vdpa_receive(f->vb, 0, data, 60));
		net_guest_settle(f->b);
		assert_int_equal(fake_driver_get_used(&f->b->queues[0], &head, &len), 1);
		assert_int_equal(len, 60 + 20);
		assert_false(seen[head]);
		seen[head] = true;
	}
	assert_int_equal(f->b->queues[0].n_out, 0);
	net_guest_post(f->b, 0, 60, 1600);
	exchange(f->b, f->vb, 0, 9);
}

static void more_buffers_in_flight_than_fit_are_used_once(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[20];
	uint8_t packet[400];

	build_b(f, &fake_vdpa_default);
	start_a(f, ~BIT(VIRTIO_F_RING_PACKED)); /* whose descriptors are read again where they are */
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t base = UINT64_C(0xc00000) + 4096 * i;

		memset(memory_at(&f->a->vm->memory, base, 400), (int)i, 400);
		for (unsigned int k = 0; k < 20; k++)
			segs[k] = (struct virtio_seg){ base + 20 * k, 20 };
		assert_true(fake_driver_add_indirect(&f->a->queues[1], segs, 20, 0, base + 1024) >= 0);
	}
	fake_driver_publish(&f->a->queues[1]);
	net_guest_kick(f->a, 1);
	net_guest_settle(f->a);
	assert_int_equal(fake_vdpa_waiting(f->va, 1), 3);
	warm(f);
	stop_and_load(f);
	/* The guest has made them longer since: 30 segments each. */
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t base = UINT64_C(0xc00000) + 4096 * i, table = base + 1024;

		for (unsigned int k = 0; k < 30; k++)
			fake_driver_write_table(&f->b->queues[1], table, k, base + 10 * k, 10, k < 29,
						(uint16_t)(k + 1));
		for (uint16_t d = 0; d < 64; d++) {
			if (get_le64(f->b->queues[1].desc + 16 * d) == table)
				put_le32(f->b->queues[1].desc + 16 * d + 8, 30 * 16);
		}
	}
	commit(f);
	net_guest_settle(f->b);
	assert_int_equal(fake_vdpa_waiting(f->vb, 1), 3); /* two, and the announcement */
	for (unsigned int i = 0, n = 0; n < 3; i++) {
		assert_true(i < 10);
		if (fake_vdpa_sent(f->vb, 0, packet, sizeof(packet)) == 280)
			assert_int_equal(packet[0], n++);
		net_guest_settle(f->b);
	}
	assert_int_equal(net_guest_reap(f->b, 0), 3);
}

static void a_guest_moves_to_and_fro(void **state)
{
	struct fixture *f = *state;
	uint8_t in[1600];

	start_a(f, ALL);
	net_guest_post(f->a, 0, 100, 1600);
	vlan(f->a, VIRTIO_NET_CTRL_VLAN_ADD, 77);
	for (unsigned int i = 0; i < 10; i++) {
		build_b(f, &fake_vdpa_default);
		warm(f);
		/* Scratch buffers of the last one are still there, and are used one by one. */
		exchange(f->a, f->va, 0, (uint8_t)i);
		assert_true(net_guest_send(f->a, 0, in, 100));
		stop_and_load(f);
		assert_same_device(f);
		assert_saved_alike(f);
		commit(f);
		assert_int_equal(sent(f->vb, 0, in, sizeof(in)), 100);
		drain_announcements(f->vb);
		net_guest_settle(f->b);
		assert_int_equal(net_guest_reap(f->b, 0), 1);
		swap(f);
	}
	assert_int_equal(f->a->queues[0].n_out, 54);
}

/* A guest that is moved between a ring's reset and its being enabled again, elsewhere and shorter. */
static void a_ring_in_reset_moves(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = { 0 }, in[1600];

	for (unsigned int queue = 0; queue < 2; queue++) {
		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		start_a(f, ALL);
		vlan(f->a, VIRTIO_NET_CTRL_VLAN_ADD, 3);
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
		warm(f);
		net_guest_reset_queue(f->a, queue);
		stop_and_load(f);
		assert_same_device(f);
		assert_saved_alike(f);
		commit(f);
		if (queue == 0) {
			assert_int_equal(sent(f->vb, 0, in, sizeof(in)), sizeof(data));
			net_guest_settle(f->b);
			assert_int_equal(net_guest_reap(f->b, 0), 1);
		}
		f->b->size = 32;
		net_guest_enable_queue(f->b, queue);
		net_guest_post(f->b, 0, 30, 1600);
		assert_guest_works(f);
	}
}

static void a_command_in_flight_is_answered_at_the_destination(void **state)
{
	struct fixture *f = *state;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	warm(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
	/* The source's device never answers: the destination's does. */
	stop_and_load(f);
	assert_saved_alike(f);
	commit(f);
	assert_int_equal(net_guest_command_end(f->b, FAKE_PATIENCE_MS), VIRTIO_NET_OK);
	fake_vdpa_lock(f->vb);
	assert_true(f->vb->nic.vlans[16]);
	assert_int_equal(f->vb->n_commands, 1);
	fake_vdpa_unlock(f->vb);
	assert_guest_works(f);
}

static void *answer_late(void *arg)
{
	struct fake_vdpa *v = arg;

	poll(NULL, 0, 50);
	fake_vdpa_release(v);
	return NULL;
}

static void a_command_that_is_answered_while_pausing_is_recorded(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	warm(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
	net_guest_settle(f->a);
	assert_int_equal(pthread_create(&thread, NULL, answer_late, f->va), 0);
	stop_and_load(f);
	pthread_join(thread, NULL);
	assert_same_device(f);
	commit(f);
	assert_int_equal(net_guest_command_end(f->b, 0), VIRTIO_NET_OK);
}

static void a_given_up_migration_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = { 0 }, in[1600];
	struct fake_element e;

	start_a(f, ALL);
	for (unsigned int i = 0; i < 5; i++) {
		struct tree t;

		free(write_warm(f->a, true).fdt);
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
		net_guest_settle(f->a);
		fake_vdpa_lock(f->va);
		f->va->faults.hold = i % 2;
		fake_vdpa_unlock(f->va);
		if (i % 2)
			net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
		net_guest_settle(f->a);
		net_device_ops.pause(device_of(f->a));
		t = write_tree(f->a, net_device_ops.save);
		free(t.fdt);
		/* What happens while nothing is looked at is not lost. */
		assert_true(fake_vdpa_receive(f->va, 0, data, 80));
		assert_true(fake_vdpa_take(f->va, 1, &e));
		fake_vdpa_use(f->va, 1, e.head, 0);
		fake_vdpa_publish(f->va, 1);
		if (i % 2)
			fake_vdpa_release(f->va);
		if (i % 2 == 0)
			net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
		net_guest_settle(f->a);
		fake_vdpa_lock(f->va);
		assert_int_equal(f->va->n_commands, i + i % 2); /* an even one is not sent on yet */
		fake_vdpa_unlock(f->va);
		assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), -1);
		net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
		net_guest_settle(f->a);
		assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), 80);
		assert_int_equal(net_guest_reap(f->a, 0), 1);
		assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), VIRTIO_NET_OK);
		exchange(f->a, f->va, 0, (uint8_t)i);
		assert_int_equal(fake_vdpa_waiting(f->va, 1), 0); /* nobody is told of an arrival */
	}
}

static void a_nic_that_is_broken_moves_broken(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	warm(f);
	assert_true(fake_vdpa_take(f->va, 0, &e));
	fake_vdpa_use(f->va, 0, 64, 0);
	fake_vdpa_publish(f->va, 0);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	stop_and_load(f);
	commit(f);
	assert_int_equal(net_guest_status(f->b), BROKEN);
	assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	net_guest_post(f->b, 0, 5, 1600);
	exchange(f->b, f->vb, 0, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_nic_with_defaults_moves),
		TEST(a_guest_that_arrives_is_interrupted_where_it_has_something_to_see),
		TEST(all_that_commands_have_set_moves),
		TEST(what_changes_while_the_guest_runs_follows),
		TEST(a_driver_may_begin_anew_meanwhile),
		TEST(a_nic_without_driver_moves),
		TEST(buffers_in_flight_are_used_once),
		TEST(more_buffers_in_flight_than_fit_are_used_once),
		TEST(a_guest_moves_to_and_fro),
		TEST(a_ring_in_reset_moves),
		TEST(a_command_in_flight_is_answered_at_the_destination),
		TEST(a_command_that_is_answered_while_pausing_is_recorded),
		TEST(a_given_up_migration_loses_nothing),
		TEST(a_nic_that_is_broken_moves_broken),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
