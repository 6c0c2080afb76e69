/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC from a driver's first register access to packets both ways, resets and what the guest sees. */
#define _GNU_SOURCE
#include "tests/unit/devices/net/net_fixture.h"

#include <fcntl.h>

#include "tests/fake/descriptors.h"
#include "tests/fake/log.h"

static void a_driver_brings_the_device_up(void **state)
{
	struct fixture *f = *state;
	uint64_t offered = net_guest_offered(f->a), at_device;

	assert_true(virtio_has(offered, VIRTIO_RING_F_INDIRECT_DESC) &&
		    virtio_has(offered, VIRTIO_RING_F_EVENT_IDX) &&
		    virtio_has(offered, VIRTIO_NET_F_GUEST_ANNOUNCE));
	assert_false(virtio_has(offered, VIRTIO_F_ACCESS_PLATFORM));
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_int_equal(f->a->features, offered);
	fake_vdpa_lock(f->va);
	at_device = f->va->features;
	assert_int_equal(f->va->status, DRIVER_OK);
	/* The MAC address is the device's own, so that there is nothing to say. */
	assert_int_equal(f->va->n_commands, 0);
	fake_vdpa_unlock(f->va);
	assert_int_equal(at_device, fake_vdpa_default.features);
	assert_int_equal(net_guest_ctrl(f->a), 4);
	assert_int_equal(net_guest_read(f->a, f->a->config + 6, 2), VIRTIO_NET_S_LINK_UP);
}

/* The kernel gives the file behind Ferry's rings to a VDUSE process, too. */
static void nobody_cuts_the_window_short(void **state)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct fixture *f = *state;
	int fd = f->a->net->path.window.fd;

	assert_int_equal(fcntl(fd, F_GET_SEALS) & want, want);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
}

static void packets_go_both_ways(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int pair = 0; pair < 2; pair++) {
		assert_int_equal(net_guest_post(f->a, pair, 100, 1600), 64);
		for (unsigned int i = 0; i < 200; i++) {
			exchange(f->a, f->va, pair, (uint8_t)(i + 100 * pair));
			assert_int_equal(net_guest_post(f->a, pair, 1, 1600), 1);
		}
	}
}

static void a_packet_of_many_buffers_arrives_whole(void **state)
{
	struct fixture *f = *state;
	uint8_t out[9000], in[9000];

	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1000);
	net_guest_settle(f->a);
	assert_true(fake_vdpa_receive(f->va, 0, out, sizeof(out)));
	net_guest_settle(f->a);
	assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
}

static void a_batch_takes_one_kick_and_one_interrupt(void **state)
{
	static const uint64_t rings[] = { ALL, ~BIT(VIRTIO_RING_F_EVENT_IDX) };
	struct fixture *f = *state;
	uint8_t data[64] = { 0 };

	for (unsigned int k = 0; k < 2; k++) {
		struct pollfd kick;
		uint64_t count;

		assert_int_equal(net_guest_start(f->a, rings[k]), DRIVER_OK);
		fake_vdpa_lock(f->va);
		kick.fd = f->va->queues[0].vring.kick_fd;
		fake_vdpa_unlock(f->va);
		while (read(kick.fd, &count, sizeof(count)) > 0)
			;
		assert_int_equal(net_guest_post(f->a, 0, 40, 1600), 40);
		net_guest_settle(f->a);
		assert_int_equal(read(kick.fd, &count, sizeof(count)), sizeof(count));
		assert_int_equal(count, 1);

		fake_driver_enable_interrupts(&f->a->queues[0]);
		for (unsigned int i = 0; i < 20; i++) {
			struct fake_element e;

			assert_true(fake_vdpa_take(f->va, 0, &e));
			fake_vdpa_write(f->va, e.segs, 1, data, 20);
			fake_vdpa_use(f->va, 0, e.head, 20);
		}
		fake_vdpa_publish(f->va, 0);
		net_guest_settle(f->a);
		assert_int_equal(net_guest_interrupts(f->a, 0), 1);
		for (unsigned int i = 0; i < 20; i++)
			assert_int_equal(net_guest_received(f->a, 0, data, sizeof(data)), 0);

		fake_driver_disable_interrupts(&f->a->queues[0]);
		assert_true(fake_vdpa_receive(f->va, 0, data, 30));
		net_guest_settle(f->a);
		assert_int_equal(net_guest_interrupts(f->a, 0), 0);
		assert_int_equal(net_guest_received(f->a, 0, data, sizeof(data)), 30);
	}
}

static void what_the_device_has_no_room_for_waits(void **state)
{
	struct fixture *f = *state;
	struct virtio_seg segs[20];
	uint8_t packet[400];

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	/* 30 chains of 20 segments each: the device's ring has 64 descriptors. */
	for (unsigned int i = 0; i < 30; i++) {
		uint64_t base = UINT64_C(0x300000) + 4096 * i;

		memset(memory_at(&f->a->vm->memory, base, 400), (int)i, 400);
		for (unsigned int k = 0; k < 20; k++)
			segs[k] = (struct virtio_seg){ base + 20 * k, 20 };
		assert_true(fake_driver_add_indirect(&f->a->queues[1], segs, 20, 0, base + 1024) >= 0);
	}
	assert_true(fake_driver_publish(&f->a->queues[1]));
	net_guest_kick(f->a, 1);
	net_guest_settle(f->a);
	assert_int_equal(fake_vdpa_waiting(f->va, 1), 3);
	for (unsigned int i = 0; i < 30; i++) {
		assert_int_equal(fake_vdpa_sent(f->va, 0, packet, sizeof(packet)), 380);
		assert_int_equal(packet[0], i);
		net_guest_settle(f->a);
	}
	assert_int_equal(fake_vdpa_waiting(f->va, 1), 0);
	assert_int_equal(net_guest_reap(f->a, 0), 30);
}

static void buffers_come_back_out_of_order(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;
	uint32_t ids[8];
	uint8_t in[64];

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 8, 1600);
	net_guest_settle(f->a);
	for (unsigned int i = 0; i < 8; i++) {
		uint8_t packet[24] = { [10] = 1, [20] = (uint8_t)i };

		assert_true(fake_vdpa_take(f->va, 0, &e));
		ids[i] = e.head;
		fake_vdpa_write(f->va, e.segs, 1, packet, sizeof(packet));
	}
	for (unsigned int i = 8; i-- > 0;)
		fake_vdpa_use(f->va, 0, ids[i], 24);
	fake_vdpa_publish(f->va, 0);
	net_guest_settle(f->a);
	for (unsigned int i = 8; i-- > 0;) {
		assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), 4);
		assert_int_equal(in[0], i);
	}
}

static bool page_dirty(struct net_guest *g, uint64_t gpa)
{
	uint64_t bitmap[NET_GUEST_MEM / PAGE_SIZE / 64] = { 0 };

	fake_log_take(&g->vm->memory, bitmap);
	return bitmap[gpa / PAGE_SIZE / 64] >> gpa / PAGE_SIZE % 64 & 1;
}

static void what_the_device_wrote_is_dirty(void **state)
{
	struct fixture *f = *state;
	const struct vring_setup *ring;
	uint8_t data[100] = { 1 };
	uint64_t buffer;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 4, 1600);
	net_guest_settle(f->a);
	buffer = f->a->buffer_of[0][0];
	assert_int_equal(memory_log_start(&f->a->vm->memory), 0);
	assert_false(page_dirty(f->a, buffer));
	assert_true(fake_vdpa_receive(f->va, 0, data, sizeof(data)));
	net_guest_settle(f->a);
	assert_true(page_dirty(f->a, buffer));
	assert_true(fake_vdpa_receive(f->va, 0, data, sizeof(data)));
	net_guest_settle(f->a);
	ring = &f->a->queues[0].setup;
	assert_true(page_dirty(f->a, ring->packed ? ring->desc : ring->used));
	memory_log_stop(&f->a->vm->memory);
}

static void a_reset_takes_back_buffers_in_flight(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint8_t data[100] = { 0 };

	for (unsigned int persist = 0; persist < 2; persist++) {
		spec.maps_persist = persist;
		build_a(f, &spec);
		for (unsigned int i = 0; i < 4; i++) {
			assert_int_equal(net_guest_start(f->a, i % 2 ? ALL : ~BIT(VIRTIO_NET_F_MQ)),
					 DRIVER_OK);
			net_guest_post(f->a, 0, 30, 1600);
			exchange(f->a, f->va, 0, (uint8_t)i);
			net_guest_post(f->a, 0, 5, 1600);
			net_guest_send(f->a, 0, data, sizeof(data));
			net_guest_reset(f->a);
			fake_vdpa_lock(f->va);
			assert_int_equal(f->va->status, 0);
			fake_vdpa_unlock(f->va);
		}
	}
}

/* What a device does until the reset that takes a ring back from it is done: no packet goes out twice. */
static void a_ring_reset_sends_no_packet_twice(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;
	uint8_t data[100] = { 5 };

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 20, 1600);
	for (unsigned int i = 0; i < 3; i++)
		net_guest_send(f->a, 0, data, sizeof(data));
	net_guest_settle(f->a);
	assert_true(fake_vdpa_take(f->va, 1, &e));
	fake_vdpa_use(f->va, 1, e.head, 0);
	fake_vdpa_lock(f->va);
	f->va->faults.last_moment = true;
	fake_vdpa_unlock(f->va);
	net_guest_reset_queue(f->a, 0);
	assert_int_equal(fake_vdpa_waiting(f->va, 1), 2);
}

/* A ring that is reset with buffers in flight: the device has none of them any more, the other rings and what
 * commands have set are as before, and it works again where it is put then. */
static void a_ring_reset_leaves_the_other_rings_as_they_were(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = { 5 }, in[1600];

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_int_equal(net_guest_command(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\7\0", 2), VIRTIO_NET_OK);
	net_guest_post(f->a, 0, 20, 1600);
	for (unsigned int i = 0; i < 5; i++)
		net_guest_send(f->a, 0, data, sizeof(data));
	net_guest_settle(f->a);
	assert_int_equal(fake_vdpa_waiting(f->va, 1), 5);
	net_guest_reset_queue(f->a, 1);
	assert_int_equal(fake_vdpa_waiting(f->va, 1), 0);
	assert_int_equal(fake_vdpa_waiting(f->va, 0), 20);
	fake_vdpa_lock(f->va);
	assert_true(f->va->nic.vlans[7]);
	fake_vdpa_unlock(f->va);
	assert_true(fake_vdpa_receive(f->va, 0, data, sizeof(data)));
	net_guest_settle(f->a);
	assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), sizeof(data));
	f->a->size = 16;
	net_guest_enable_queue(f->a, 1);
	exchange(f->a, f->va, 0, 1);

	/* The receive ring, whose buffers must not be written to any more. */
	net_guest_reset_queue(f->a, 0);
	assert_int_equal(fake_vdpa_waiting(f->va, 0), 0);
	assert_false(fake_vdpa_receive(f->va, 0, data, sizeof(data)));
	net_guest_enable_queue(f->a, 0);
	net_guest_post(f->a, 0, 10, 1600);
	exchange(f->a, f->va, 0, 2);

	/* The control ring, with a command that is never answered. */
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
	net_guest_settle(f->a);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = false; /* or the state could not be replayed */
	f->va->n_held = 0;
	fake_vdpa_unlock(f->va);
	net_guest_reset_queue(f->a, net_guest_ctrl(f->a));
	net_guest_enable_queue(f->a, net_guest_ctrl(f->a));
	assert_int_equal(net_guest_command(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x11\0", 2), VIRTIO_NET_OK);
	exchange(f->a, f->va, 0, 3);

	/* One that is not there, and one that is put nowhere. */
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_SELECT, 200, 2);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	exchange(f->a, f->va, 0, 4);
	net_guest_reset_queue(f->a, 1);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_DESCLO, 0xfffff000, 4);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 5, 1600);
	exchange(f->a, f->va, 0, 5);
}

/* A device that takes tables gets a long chain as one descriptor; what it wrote by it is known as well. */
static void a_long_chain_goes_to_the_device_as_one_descriptor(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	struct virtio_seg segs[20];
	struct fake_element e;

	spec.features |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
	build_a(f, &spec);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int k = 0; k < 20; k++)
		segs[k] = (struct virtio_seg){ 0xc00000 + 8192 * k, 20 };
	for (unsigned int i = 0; i < 64; i++)
		assert_true(fake_driver_add_indirect(&f->a->queues[0], segs, 0, 20, 0xd00000 + 4096 * i) >=
			    0);
	fake_driver_publish(&f->a->queues[0]);
	net_guest_kick(f->a, 0);
	net_guest_settle(f->a);
	assert_int_equal(fake_vdpa_waiting(f->va, 0), 64);
	assert_int_equal(memory_log_start(&f->a->vm->memory), 0);
	assert_true(fake_vdpa_take(f->va, 0, &e));
	for (unsigned int k = 0; k < 20; k++)
		assert_true(e.segs[k].addr == segs[k].addr && e.segs[k].len == 20);
	assert_int_equal(f->va->queues[0].ring.n_tables, 64 + 1); /* with those that were counted */
	fake_vdpa_use(f->va, 0, e.head, 50);                      /* two and a half of them */
	fake_vdpa_publish(f->va, 0);
	net_guest_settle(f->a);
	assert_true(page_dirty(f->a, segs[2].addr));
	memory_log_stop(&f->a->vm->memory);
}

static void a_reset_does_no_harm_twice_or_before_driver_ok(void **state)
{
	struct fixture *f = *state;

	net_guest_offered(f->a);
	net_guest_reset(f->a);
	net_guest_reset(f->a);
	assert_int_equal(net_guest_negotiate(f->a, ALL), DRIVER_OK & ~VIRTIO_CONFIG_S_DRIVER_OK);
	net_guest_set_up_queues(f->a);
	net_guest_kick(f->a, 0);
	net_guest_settle(f->a);
	net_guest_reset(f->a);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
}

static void features_that_do_not_go_together_are_refused(void **state)
{
	static const uint64_t without[] = {
		BIT(VIRTIO_NET_F_GUEST_CSUM), BIT(VIRTIO_NET_F_CTRL_VQ), BIT(VIRTIO_NET_F_STATUS),
		BIT(VIRTIO_NET_F_CSUM),       BIT(VIRTIO_F_VERSION_1),
	};
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(without); i++)
		assert_false(net_guest_negotiate(f->a, ~without[i]) & VIRTIO_CONFIG_S_FEATURES_OK);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
}

static void a_driver_may_accept_fewer_features(void **state)
{
	static const uint64_t sets[] = {
		BIT(VIRTIO_F_VERSION_1),
		BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CTRL_VQ),
		~(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS)),
		~BIT(VIRTIO_NET_F_MRG_RXBUF),
		~BIT(VIRTIO_NET_F_HASH_REPORT),
		~BIT(VIRTIO_RING_F_EVENT_IDX),
	};
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.ctrl_ring_size = spec.ring_size / 4;
	build_a(f, &spec);
	for (unsigned int i = 0; i < ARRAY_SIZE(sets); i++) {
		assert_int_equal(net_guest_start(f->a, sets[i]), DRIVER_OK);
		net_guest_post(f->a, 0, 10, 1600);
		exchange(f->a, f->va, 0, (uint8_t)i);
		if (virtio_has(f->a->features, VIRTIO_NET_F_CTRL_RX))
			assert_int_equal(net_guest_command(f->a, 0, 0, "\1", 1), VIRTIO_NET_OK);
	}
}

static void a_device_needs_no_control_queue(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.features &= ~BIT(VIRTIO_NET_F_CTRL_VQ) & ~BIT(VIRTIO_NET_F_MQ) & ~BIT(VIRTIO_NET_F_RSS);
	spec.n_pairs = 1;
	build_a(f, &spec);
	assert_int_equal(net_guest_offered(f->a) & cvq_features(), 0);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	exchange(f->a, f->va, 0, 1);
}

static void rings_outside_guest_memory_break_the_nic(void **state)
{
	struct fixture *f = *state;

	net_guest_negotiate(f->a, ALL);
	net_guest_set_up_queues(f->a);
	net_guest_reset(f->a);
	net_guest_negotiate(f->a, ALL);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_DESCLO, NET_GUEST_MEM - 16, 4);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_STATUS, DRIVER_OK, 1);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	exchange(f->a, f->va, 0, 1);
}

static void read_mac(struct net_guest *g, uint8_t mac[6])
{
	for (unsigned int i = 0; i < 6; i++)
		mac[i] = (uint8_t)net_guest_read(g, g->config + i, 1);
}

static void the_guest_sets_its_mac_address(void **state)
{
	const uint8_t other[6] = { 0x52, 1, 2, 3, 4, 5 };
	struct fixture *f = *state;
	uint8_t mac[6];

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	read_mac(f->a, mac);
	assert_memory_equal(mac, fake_vdpa_default.mac, 6);
	assert_int_equal(net_guest_command(f->a, 1, 1, other, 6), VIRTIO_NET_OK);
	read_mac(f->a, mac);
	assert_memory_equal(mac, other, 6);
	assert_memory_equal(f->va->nic.mac, other, 6);
	net_guest_reset(f->a);
	read_mac(f->a, mac);
	assert_memory_equal(mac, fake_vdpa_default.mac, 6);

	/* A device that keeps the last one through a reset is told. */
	memcpy(f->va->spec.mac, other, 6);
	memcpy(f->va->config, other, 6);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	read_mac(f->a, mac);
	assert_memory_equal(mac, fake_vdpa_default.mac, 6);
	fake_vdpa_lock(f->va);
	assert_memory_equal(f->va->nic.mac, fake_vdpa_default.mac, 6);
	assert_int_equal(f->va->n_commands, 1);
	fake_vdpa_unlock(f->va);
}

static void the_guest_sees_the_link(void **state)
{
	struct fixture *f = *state;
	uint8_t generation;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	generation = (uint8_t)net_guest_read(f->a, f->a->common + VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	net_guest_interrupts(f->a, NET_GUEST_CONFIG);
	fake_vdpa_set_config_status(f->va, 0);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_interrupts(f->a, NET_GUEST_CONFIG), 1);
	assert_int_not_equal(net_guest_read(f->a, f->a->common + VIRTIO_PCI_COMMON_CFGGENERATION, 1),
			     generation);
	assert_int_equal(net_guest_read(f->a, f->a->config + 6, 2), 0);
	fake_vdpa_set_config_status(f->va, 0);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_interrupts(f->a, NET_GUEST_CONFIG), 0);
}

/* The number is asked for before the NIC is built. */
static void a_nic_takes_no_more_descriptors_than_it_says(void **state)
{
	struct fixture *f = *state;
	struct fake_vdpa *vdpa;
	unsigned int before;

	free_guest(&f->a, &f->va);
	vdpa = fake_vdpa_new(&fake_vdpa_default);
	before = fake_count_descriptors();
	f->a = calloc(1, sizeof(*f->a));
	assert_non_null(f->a);
	f->va = vdpa;
	net_guest_init(f->a, vdpa, &fixture_config);
	start_a(f, ALL);
	assert_in_range(fake_count_descriptors() - before, net_descriptors(&vdpa->vdpa) / 2,
			net_descriptors(&vdpa->vdpa));
}

static void a_nic_is_as_built_after_a_reset_of_the_machine(void **state)
{
	struct fixture *f = *state;
	struct tree t = write_tree(f->a, net_device_ops.save);

	for (unsigned int i = 0; i < 2; i++) {
		start_a(f, ALL);
		assert_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x64\0", 2);
		assert_command(f->a, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\x52\7\7\7\7\7", 6);
		exchange(f->a, f->va, 0, 1);
		assert_int_equal(net_device_ops.reset(device_of(f->a), 0), 0);
		assert_int_equal(f->va->status, 0);
		assert_tree_same(write_tree(f->a, net_device_ops.save), t);
	}
	free(t.fdt);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_driver_brings_the_device_up),
		TEST(nobody_cuts_the_window_short),
		TEST(packets_go_both_ways),
		TEST(a_packet_of_many_buffers_arrives_whole),
		TEST(a_batch_takes_one_kick_and_one_interrupt),
		TEST(what_the_device_has_no_room_for_waits),
		TEST(buffers_come_back_out_of_order),
		TEST(what_the_device_wrote_is_dirty),
		TEST(a_reset_takes_back_buffers_in_flight),
		TEST(a_ring_reset_leaves_the_other_rings_as_they_were),
		TEST(a_ring_reset_sends_no_packet_twice),
		TEST(a_long_chain_goes_to_the_device_as_one_descriptor),
		TEST(a_reset_does_no_harm_twice_or_before_driver_ok),
		TEST(features_that_do_not_go_together_are_refused),
		TEST(a_driver_may_accept_fewer_features),
		TEST(a_device_needs_no_control_queue),
		TEST(rings_outside_guest_memory_break_the_nic),
		TEST(the_guest_sets_its_mac_address),
		TEST(the_guest_sees_the_link),
		TEST(a_nic_takes_no_more_descriptors_than_it_says),
		TEST(a_nic_is_as_built_after_a_reset_of_the_machine),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
