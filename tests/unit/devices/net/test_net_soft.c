/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC on the vDPA device in software: packets, commands with their effect, migration, and faults of the
 * device as the guest sees them. */
#include "tests/unit/devices/vdpa/soft/soft_pair.h"

static void packets_and_commands_have_their_effect(void **state)
{
	struct pair *p = *state;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 16, 2048);
	for (uint8_t i = 0; i < 50; i++) {
		assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\1", i));
		assert_sends(p, &p->a, i);
		settle(&p->a);
		assert_int_equal(net_guest_reap(&p->a, 0), 1);
		net_guest_post(&p->a, 0, 1, 2048);
	}
	net_guest_reset(&p->a);
	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 16, 2048);
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\1", 1));
}

/* What the guest has set has its effect at the destination, and the device's own state is not in the way. */
static void what_the_guest_has_set_has_its_effect_at_the_destination(void **state)
{
	struct pair *p = *state;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 64, 2048);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MAC, 1, "\x52\x54\0\0\0\x42", 6), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_VLAN, 0, "\x64\0", 2), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MQ, 0, "\x02\0", 2), VIRTIO_NET_OK);
	assert_false(reaches(p, &p->a, "\x52\x54\0\0\0\1", 1));
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\x42", 2));
	migrate(&p->f);
	assert_true(reaches(p, &p->b, "\x52\x54\0\0\0\x42", 3));
	assert_false(reaches(p, &p->b, "\x52\x54\0\0\0\1", 4));
	assert_sends(p, &p->b, 5);
	assert_int_equal(command(&p->b, VIRTIO_NET_CTRL_VLAN, 1, "\x64\0", 2), VIRTIO_NET_OK);
}

static void rebuild_b(struct pair *p)
{
	net_guest_exit(&p->b);
	net_guest_init_on(&p->b, soft_net_device(&p->net, 2, CONFIG_DEFAULT_RING), &fixture_config);
	assert_taken(&p->b, net_device_ops.accept, write_tree(&p->a, net_device_ops.describe));
}

/* A NIC in software is not made with "vdpa dev add": what the operator can do about it is in Ferry's own
 * options. */
static void a_smaller_device_is_refused_with_ferrys_own_options(void **state)
{
	struct pair *p = *state;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_exit(&p->b);
	net_guest_init_on(&p->b, soft_net_device(&p->net, 1, CONFIG_MIN_RING), &fixture_config);
	assert_refused(&p->b, net_device_ops.accept, write_tree(&p->a, net_device_ops.describe),
		       "has 1 (give it queues=)");
	assert_refused(&p->b, net_device_ops.accept, write_tree(&p->a, net_device_ops.describe),
		       "takes 64, and 1 like it (give it ring=)");
	assert_null(strstr(p->b.net->backend.vdpa->advice.mtu, "vdpa dev"));
}

/* Nothing has happened to the source's guest. */
static void assert_unharmed(struct pair *p)
{
	net_guest_post(&p->a, 0, 1, 2048);
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\1", 1));
	assert_sends(p, &p->a, 2);
	settle(&p->a);
	assert_int_equal(net_guest_reap(&p->a, 0), 1);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "\1", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(net_guest_status(&p->a), DRIVER_OK);
}

/* What a destination's device can do wrong ahead of the guest is found out and named, or does not matter. */
static void faults_ahead_of_the_guest_are_named_or_do_not_matter(void **state)
{
	static const struct {
		struct soft_faults faults;
		const char *why; /* NULL: nothing is refused */
	} rows[] = {
		{ { .refuse_nth = 1 }, "the device refused RX_ALLMULTI 1" },
		{ { .refuse_nth = 3 }, "the device refused VLAN_ADD 101" },
		{ { .refuse_nth = 4 }, "the device refused MQ_VQ_PAIRS_SET 2" },
		{ { .refuse_nth = 4, .reverse = true, .delay_ms = 20 },
		  "the device refused MQ_VQ_PAIRS_SET 2" },
		{ { .bad_ctrl_id = true }, "control queue: a used id is outside the ring" },
		{ { .gone = true }, "the device is gone" },
		{ { .delay_ms = 50 }, NULL },
		{ { .reverse = true }, NULL },
		{ { .delay_ms = 20, .reverse = true }, NULL },
	};
	struct pair *p = *state;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 16, 2048);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_VLAN, 0, "\x64\0", 2), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_VLAN, 0, "\x65\0", 2), VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MQ, 0, "\x02\0", 2), VIRTIO_NET_OK);
	track(&p->a, true);
	assert_unharmed(p);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		rebuild_b(p);
		soft_vdpa_misbehave(p->b.net->backend.vdpa, &rows[i].faults);
		if (rows[i].why)
			assert_refused(&p->b, net_device_ops.warm_load, write_warm(&p->a, true), rows[i].why);
		else
			assert_taken(&p->b, net_device_ops.warm_load, write_warm(&p->a, true));
		assert_unharmed(p);
	}
	/* The last one has all of it. */
	soft_vdpa_misbehave(p->b.net->backend.vdpa, &(struct soft_faults){ 0 });
	stop_and_load(&p->f);
	commit(&p->f);
	assert_true(reaches(p, &p->b, "\x52\x54\0\0\0\1", 3));
}

/* And so is what goes wrong between that and the guest's arrival: before it is given up at the source. */
static void faults_before_arrival_keep_the_guest_at_the_source(void **state)
{
	struct pair *p = *state;
	uint8_t frame[100];

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 16, 2048);
	for (unsigned int i = 0; i < 3; i++) {
		rebuild_b(p);
		assert_taken(&p->b, net_device_ops.warm_load, write_warm(&p->a, true));
		soft_vdpa_misbehave(p->b.net->backend.vdpa,
				    &(struct soft_faults){ .gone = i == 0, .bad_data_id = i > 0 });
		if (i > 0) {
			/* One of Ferry's own buffers comes back with a name that it does not have. In order
			 * there is none: the packet is dropped. */
			make(frame, "\x52\x54\0\0\0\1", 9);
			soft_net_send(&p->net, NULL, frame, sizeof(frame));
			settle(&p->b);
			settle(&p->a);
			assert_true(net_guest_received(&p->a, 0, frame, sizeof(frame)) > 0);
		}
		track(&p->a, true);
		net_device_ops.pause(device_of(&p->a));
		net_guest_copy(&p->b, &p->a);
		if (i == 0 || fixture_config.any_order)
			assert_refused(&p->b, net_device_ops.load, write_tree(&p->a, net_device_ops.save),
				       i == 0 ? "the device is gone" : "has stopped working");
		else
			assert_taken(&p->b, net_device_ops.load, write_tree(&p->a, net_device_ops.save));
		net_device_ops.resume(device_of(&p->a), DEVICE_STAYED);
		track(&p->a, false);
		assert_unharmed(p);
	}
}

/* A guest whose device is gone can still go where there is one, with the packets that it has not sent. */
static void a_guest_leaves_a_device_that_is_gone_with_its_packets(void **state)
{
	struct pair *p = *state;
	uint8_t frame[100], in[1600];

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 16, 2048);
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\1", 1));
	soft_vdpa_misbehave(p->a.net->backend.vdpa, &(struct soft_faults){ .gone = true });
	make(frame, "\x52\x54\0\0\0\x77", 0x21);
	assert_true(net_guest_send(&p->a, 0, frame, sizeof(frame)));
	settle(&p->a);
	assert_int_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 20), -1);
	migrate(&p->f);
	do {
		assert_int_not_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 2000), -1);
	} while (in[12] == 0x80 && in[13] == 0x35);
	assert_memory_equal(in, frame, sizeof(frame));
	assert_true(reaches(p, &p->b, "\x52\x54\0\0\0\1", 2));
	assert_int_equal(net_guest_reap(&p->b, 0), 1);
}

/* On shadow rings: what a device writes into the guest's own rings, nobody checks. */
static int build_on_shadow_rings(void **state)
{
	enum net_mode mode = fixture_config.mode;

	fixture_config.mode = NET_SHADOW;
	build(state);
	fixture_config.mode = mode;
	return 0;
}

/* What a device can do wrong ends in a NIC that asks for a reset, or in an error, never in more. */
static void faults_of_the_device_end_in_a_reset_or_an_error(void **state)
{
	struct pair *p = *state;
	struct vdpa *vdpa = p->a.net->backend.vdpa;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 64, 2048);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .delay_ms = 50 });
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_VLAN, 0, "\x64\0", 2), VIRTIO_NET_OK);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .bad_ctrl_id = true });
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_VLAN, 0, "\x65\0", 2), VIRTIO_NET_ERR);
	assert_int_equal(net_guest_status(&p->a), BROKEN);

	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ 0 });
	net_guest_reset(&p->a);
	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 64, 2048);
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\1", 1));
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .bad_data_id = true });
	assert_false(reaches(p, &p->a, "\x52\x54\0\0\0\1", 2));
	assert_int_equal(net_guest_status(&p->a), BROKEN);

	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ .gone = true });
	net_guest_reset(&p->a);
	assert_true(net_guest_start(&p->a, ALL) & VIRTIO_CONFIG_S_NEEDS_RESET);
	soft_vdpa_misbehave(vdpa, &(struct soft_faults){ 0 });
	net_guest_reset(&p->a);
	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 64, 2048);
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\1", 3));
}

/* A packet of up to as many pieces as the ring has entries, each way: what is more than two goes to the
 * device as one descriptor and a table, as far as tables go. */
static void packets_of_many_pieces_go_both_ways(void **state)
{
	static const unsigned int rows[] = { 3, 20, 32, 33, 60 };
	struct pair *p = *state;
	struct virtio_seg segs[64];
	uint8_t packet[64 * 20] = { 0 }, in[1600];
	const uint32_t header = 20; /* with HASH_REPORT */
	uint16_t head;
	uint32_t used;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t len = rows[i] * 20 - header;

		memset(packet + header, (int)(i + 1), len);
		memcpy(packet + header, "\x52\x54\0\0\0\1\x52\x54\0\0\0\x77\x88\xb5", 14);
		for (unsigned int k = 0; k < rows[i]; k++) {
			segs[k] = (struct virtio_seg){ UINT64_C(0xc00000) + 4096 * k, 20 };
			memcpy(memory_at(&p->a.vm->memory, segs[k].addr, 20), packet + 20 * k, 20);
		}
		assert_true(fake_driver_add_indirect(&p->a.queues[1], segs, rows[i], 0, 0xd00000) >= 0);
		fake_driver_publish(&p->a.queues[1]);
		net_guest_kick(&p->a, 1);
		assert_int_equal(soft_net_receive(&p->net, NULL, in, sizeof(in), 2000), len);
		assert_memory_equal(in, packet + header, len);
		settle(&p->a);
		assert_int_equal(net_guest_reap(&p->a, 0), 1);

		for (unsigned int k = 0; k < rows[i]; k++)
			memset(memory_at(&p->a.vm->memory, segs[k].addr, 20), 0xee, 20);
		assert_true(fake_driver_add_indirect(&p->a.queues[0], segs, 0, rows[i], 0xd00000) >= 0);
		fake_driver_publish(&p->a.queues[0]);
		net_guest_kick(&p->a, 0);
		settle(&p->a);
		soft_net_send(&p->net, NULL, packet + header, len);
		settle(&p->a);
		assert_int_equal(fake_driver_get_used(&p->a.queues[0], &head, &used), 1);
		assert_int_equal(used, len + header);
		for (unsigned int k = 1; k < rows[i]; k++)
			assert_memory_equal(memory_at(&p->a.vm->memory, segs[k].addr, 20), packet + 20 * k,
					    20);
	}
}

/* Frames that the device has put into a receive queue, as the guest counts them. */
static uint64_t n_received(struct net_guest *g)
{
	uint8_t item[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 1 }, reply[57];

	assert_int_equal(net_guest_ask(g, 8, 1, item, 16, reply, sizeof(reply)), sizeof(reply));
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	return get_le64(reply + 1 + 8 + 8);
}

/* The device begins anew behind a ring's reset: filters and counters are as they were. */
static void a_ring_reset_keeps_filters_and_counters(void **state)
{
	struct pair *p = *state;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_post(&p->a, 0, 64, 2048);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1),
			 VIRTIO_NET_OK);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_MAC, 1, "\x52\x54\0\0\0\x42", 6), VIRTIO_NET_OK);
	for (uint8_t i = 0; i < 5; i++)
		assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\x42", i));
	assert_int_equal(n_received(&p->a), 5);
	assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\x42", 6));
	p->a.size = 32;
	for (unsigned int queue = 0; queue < 2; queue++) {
		net_guest_reset_queue(&p->a, queue);
		assert_int_equal(n_received(&p->a), 6 + queue);
		net_guest_enable_queue(&p->a, queue);
		if (queue == 0)
			net_guest_post(&p->a, 0, 32, 2048);
		settle(&p->a);
		assert_true(reaches(p, &p->a, "\x52\x54\0\0\0\x42", 7));
		assert_false(reaches(p, &p->a, "\x52\x54\0\0\0\1", 8));
		assert_sends(p, &p->a, 9);
		assert_int_equal(n_received(&p->a), 7 + queue);
	}
	migrate(&p->f);
	assert_true(reaches(p, &p->b, "\x52\x54\0\0\0\x42", 3));
	assert_int_equal(n_received(&p->b), 9);
}

/* Where a buffer of a long ring lies. */
static struct virtio_seg long_seg(unsigned int head)
{
	return (struct virtio_seg){ UINT64_C(0xa00000) + 128 * head, 128 };
}

/* The next packet is the one with this mark. */
static void assert_long_next(struct pair *p, struct net_guest *g, uint8_t mark)
{
	uint8_t frame[100];
	uint16_t head;
	uint32_t len;

	make(frame, "\x52\x54\0\0\0\1", mark);
	soft_net_send(&p->net, NULL, frame, sizeof(frame));
	settle(g);
	assert_int_equal(fake_driver_get_used(&g->queues[0], &head, &len), 1);
	assert_int_equal(len, 20 + sizeof(frame));
	assert_memory_equal(memory_at(&g->vm->memory, long_seg(head).addr + 20, sizeof(frame)), frame,
			    sizeof(frame));
}

/* Rings of the greatest length, full of buffers: forwarded, and carried. */
static void rings_of_the_greatest_length_are_carried(void **state)
{
	/* What is in flight in packed ones of 32,768 does not fit into the state. */
	const uint16_t size = fixture_config.split_only ? 32768 : 16384;
	struct net_config config = fixture_config;
	struct pair *p = *state;
	struct fake_driver *driver;
	uint8_t frame[100];

	net_guest_exit(&p->a);
	net_guest_exit(&p->b);
	config.mode = NET_SHADOW;
	net_guest_init_on(&p->a, soft_net_device(&p->net, 1, size), &config);
	net_guest_init_on(&p->b, soft_net_device(&p->net, 1, size), &config);
	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	assert_int_equal(virtio_has(p->a.features, VIRTIO_F_RING_PACKED), !fixture_config.split_only);
	driver = &p->a.queues[0];
	assert_int_equal(driver->setup.size, size);
	for (unsigned int i = 0; i < size; i++) {
		struct virtio_seg seg = long_seg(driver->free_head);

		assert_true(fake_driver_add(driver, &seg, 0, 1) >= 0);
	}
	assert_int_equal(driver->n_free, 0);
	fake_driver_publish(driver);
	net_guest_kick(&p->a, 0);
	for (unsigned int i = 0; i < 256; i++)
		settle(&p->a);
	assert_int_equal(p->a.net->queues[0].svq.n_in_flight, size);
	for (uint8_t i = 0; i < 50; i++)
		assert_long_next(p, &p->a, i);
	/* More than once around the other one. */
	make(frame, "\x52\x54\0\0\0\x77", 1);
	for (unsigned int i = 0; i < size + 100u; i += 100) {
		struct virtio_seg seg = { UINT64_C(0x600000), 64 };

		memset(memory_at(&p->a.vm->memory, seg.addr, seg.len), 0, seg.len);
		for (unsigned int k = 0; k < 100; k++)
			assert_true(fake_driver_add(&p->a.queues[1], &seg, 1, 0) >= 0);
		fake_driver_publish(&p->a.queues[1]);
		net_guest_kick(&p->a, 1);
		settle(&p->a);
		assert_int_equal(net_guest_reap(&p->a, 0), 100);
	}
	migrate(&p->f);
	for (unsigned int i = 0; i < 256; i++)
		settle(&p->b);
	for (uint8_t i = 50; i < 100; i++)
		assert_long_next(p, &p->b, i);
}

/* What is offered of rings does not depend on what is wanted, but for that: a destination takes what a source
 * of its kind has offered. */
static void what_is_offered_depends_on_the_kind_of_host_alone(void **state)
{
	const uint64_t both = BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER);
	const struct net_config wanted = fixture_config;
	struct pair *p = *state;

	fixture_config.mode = NET_SHADOW;
	for (uint32_t size = 4096; size <= CONFIG_MAX_RING; size *= 2) {
		for (unsigned int n_pairs = 1; n_pairs <= 3; n_pairs += 2) {
			uint64_t all = 0, want = 0;

			for (unsigned int i = 0; i < 4; i++) {
				struct net_guest *g = calloc(1, sizeof(*g));

				fixture_config.split_only = i & 1;
				fixture_config.any_order = i & 2;
				net_guest_init_on(g, soft_net_device(&p->net, n_pairs, (uint16_t)size),
						  &fixture_config);
				want = both & ~(i & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0) &
				       ~(i & 2 ? BIT(VIRTIO_F_IN_ORDER) : 0);
				if (i == 0)
					all = net_guest_offered(g) & both;
				assert_true((net_guest_offered(g) & both) == (all & want));
				net_guest_exit(g);
				free(g);
			}
			assert_true(size > 4096 || all == both);
		}
	}
	fixture_config = wanted;
}

/* So many that not even what is in flight in split ones could be carried are offered shorter. */
static void rings_too_long_to_be_carried_are_offered_shorter(void **state)
{
	struct pair *p = *state;
	struct net_guest *g = calloc(1, sizeof(*g));

	net_guest_init_on(g, soft_net_device(&p->net, CONFIG_MAX_QUEUES, CONFIG_MAX_RING), &fixture_config);
	assert_false(virtio_has(net_guest_offered(g), VIRTIO_F_RING_PACKED));
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	assert_int_equal(net_guest_read(g, g->common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 8192);
	net_guest_write(g, g->common + VIRTIO_PCI_COMMON_Q_SELECT, 32, 2);
	assert_int_equal(net_guest_read(g, g->common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	net_guest_exit(g);
	free(g);
}

static void the_guest_sees_the_link_and_the_announcement_of_the_device(void **state)
{
	struct pair *p = *state;

	assert_int_equal(net_guest_start(&p->a, ALL), DRIVER_OK);
	net_guest_interrupts(&p->a, NET_GUEST_CONFIG);
	soft_vdpa_set_link(p->a.net->backend.vdpa, false);
	settle(&p->a);
	assert_int_equal(net_guest_interrupts(&p->a, NET_GUEST_CONFIG), 1);
	assert_int_equal(net_guest_read(&p->a, p->a.config + 6, 2), 0);
	soft_vdpa_set_link(p->a.net->backend.vdpa, true);
	settle(&p->a);
	assert_int_equal(net_guest_read(&p->a, p->a.config + 6, 2), VIRTIO_NET_S_LINK_UP);
	/* The device's own wish for an announcement is passed on, and so is the guest's answer. */
	soft_vdpa_announce(p->a.net->backend.vdpa);
	settle(&p->a);
	assert_int_equal(net_guest_read(&p->a, p->a.config + 6, 2), 3);
	assert_int_equal(command(&p->a, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(packets_and_commands_have_their_effect, build, demolish),
		cmocka_unit_test_setup_teardown(what_the_guest_has_set_has_its_effect_at_the_destination,
						build, demolish),
		cmocka_unit_test_setup_teardown(a_smaller_device_is_refused_with_ferrys_own_options, build,
						demolish),
		cmocka_unit_test_setup_teardown(packets_of_many_pieces_go_both_ways, build, demolish),
		cmocka_unit_test_setup_teardown(a_ring_reset_keeps_filters_and_counters, build, demolish),
		cmocka_unit_test_setup_teardown(faults_ahead_of_the_guest_are_named_or_do_not_matter, build,
						demolish),
		cmocka_unit_test_setup_teardown(faults_before_arrival_keep_the_guest_at_the_source, build,
						demolish),
		cmocka_unit_test_setup_teardown(a_guest_leaves_a_device_that_is_gone_with_its_packets,
						build_on_shadow_rings, demolish),
		cmocka_unit_test_setup_teardown(rings_of_the_greatest_length_are_carried, build, demolish),
		cmocka_unit_test_setup_teardown(rings_too_long_to_be_carried_are_offered_shorter, build,
						demolish),
		cmocka_unit_test_setup_teardown(what_is_offered_depends_on_the_kind_of_host_alone, build,
						demolish),
		cmocka_unit_test_setup_teardown(faults_of_the_device_end_in_a_reset_or_an_error,
						build_on_shadow_rings, demolish),
		cmocka_unit_test_setup_teardown(the_guest_sees_the_link_and_the_announcement_of_the_device,
						build, demolish),
	};

	int n_failed;

	/* Guests whose buffers come back in order, and others. */
	n_failed = run_formats(tests, ARRAY_SIZE(tests));
	fixture_config.any_order = true;
	return n_failed + run_formats(tests, ARRAY_SIZE(tests));
}
