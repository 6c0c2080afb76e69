/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software: rings, mappings, life, and what each control command does to packets. */
#include "tests/unit/devices/vdpa/soft/soft_fixture.h"

/* Everything but what changes the place of the control queue and the header. */
#define PLAIN (~(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_HASH_REPORT)))

static const uint8_t own[6] = SOFT_RIG_MAC, other[6] = { 0x52, 0x54, 0, 0, 0, 2 },
		     third[6] = { 0x52, 0x54, 0, 0, 0, 3 }, group[6] = { 0x33, 0x33, 0, 0, 0, 1 },
		     group2[6] = { 0x33, 0x33, 0, 0, 0, 2 }, all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static uint32_t make_frame(uint8_t *frame, const uint8_t *to, uint8_t mark)
{
	memset(frame, mark, 200);
	memcpy(frame, to, 6);
	memcpy(frame + 6, third, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	return 200;
}

/* An Ethernet frame from the network for @to, and whether the guest gets it at pair 0. */
static bool gets(struct soft_rig *r, const uint8_t *to)
{
	uint8_t frame[256], in[256];
	uint32_t len = make_frame(frame, to, 7);
	int got;

	soft_rig_post(r, 0, 1, 1024);
	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	got = soft_rig_received(r, 0, NULL, in, sizeof(in));
	if (got >= 0) {
		assert_int_equal(got, len);
		assert_memory_equal(in, frame, len);
	}
	return got >= 0;
}

static bool gets_vlan(struct soft_rig *r, uint16_t vid)
{
	uint8_t frame[256], in[256];
	uint32_t len = make_frame(frame, own, 9);

	frame[12] = 0x81;
	frame[13] = 0;
	frame[14] = (uint8_t)(0x20 | vid >> 8);
	frame[15] = (uint8_t)vid;
	soft_rig_post(r, 0, 1, 1024);
	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	return soft_rig_received(r, 0, NULL, in, sizeof(in)) == (int)len;
}

static int rx_mode(struct soft_rig *r, uint8_t cmd, uint8_t on)
{
	return command(r, VIRTIO_NET_CTRL_RX, cmd, &on, 1);
}

/* Data */

static void test_packets_go_both_ways_unchanged(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[256], in[256];
	uint32_t len = make_frame(frame, other, 5);

	soft_rig_start(r, PLAIN);
	assert_true(gets(r, own));
	assert_int_equal(soft_rig_calls(r, 0), 1);
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
	assert_memory_equal(in, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_reap(r, 0), 1);
}

/* Small rings, many rounds: indexes wrap, with and without event_idx. */
static void test_indexes_may_wrap(void **state)
{
	struct soft_rig *r = *state;

	for (unsigned int event_idx = 0; event_idx < 2; event_idx++) {
		r->size = 8;
		r->base[0] = r->base[1] = 65530;
		soft_rig_start(r, event_idx ? PLAIN : PLAIN & ~BIT(VIRTIO_RING_F_EVENT_IDX));
		for (unsigned int i = 0; i < 100; i++) {
			uint8_t frame[256], in[256];
			uint32_t len = make_frame(frame, other, (uint8_t)i);

			assert_true(gets(r, own));
			soft_rig_send(r, 0, NULL, frame, len);
			assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
			assert_memory_equal(in, frame, len);
			soft_settle(r);
			assert_int_equal(soft_rig_reap(r, 0), 1);
		}
		soft_rig_reset(r);
	}
}

static void test_a_long_packet_takes_several_buffers_where_the_driver_merges(void **state)
{
	struct soft_rig *r = *state;
	static uint8_t frame[9000], in[9000];

	soft_rig_start(r, PLAIN);
	memset(frame, 3, sizeof(frame));
	memcpy(frame, own, 6);
	/* The first is so small that the header lies in two. */
	soft_rig_post(r, 0, 20, 512);
	soft_net_send(&r->net, NULL, frame, sizeof(frame));
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), sizeof(frame));
	assert_memory_equal(in, frame, sizeof(frame));
	soft_rig_reset(r);

	/* Without the feature it has to fit in one; what does not is dropped, and the buffer stays. */
	soft_rig_start(r, PLAIN & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
	soft_rig_post(r, 0, 2, 1024);
	soft_net_send(&r->net, NULL, frame, sizeof(frame));
	soft_net_send(&r->net, NULL, frame, 300);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), 300);
}

/* More pieces than a port takes at once. */
static void test_a_packet_may_have_more_pieces_than_a_port_takes(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_seg segs[64];
	uint8_t frame[256], in[256];
	uint32_t len = make_frame(frame, other, 5);

	soft_rig_start(r, PLAIN);
	memset(segs, 0, sizeof(segs));
	assert_int_equal(memory_write(&r->mem, 0x800000, "\0\0\0\0\0\0\0\0\0\0\0", 12), 0);
	assert_int_equal(memory_write(&r->mem, 0x80000c, frame, len), 0);
	for (unsigned int i = 0; i < 64; i++)
		segs[i] = (struct virtio_seg){ 0x800000 + i, i < 63 ? 1 : len + 12 - 63 };
	assert_true(fake_driver_add(&r->queues[1], segs, 64, 0) >= 0);
	fake_driver_publish(&r->queues[1]);
	soft_rig_kick(r, 1);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
	assert_memory_equal(in, frame, len);
	/* 75 pieces behind the header, through a table. */
	r->size = 256;
	soft_rig_reset(r);
	soft_rig_start(r, PLAIN);
	for (unsigned int i = 0; i < 100; i++) {
		fake_driver_write_table(&r->queues[1], 0x900000, i, 0x800000 + i, i < 99 ? 1 : len + 12 - 99,
					i < 99 ? 1 : 0, (uint16_t)(i + 1));
	}
	fake_driver_write_desc(&r->queues[1], 0, 0x900000, 1600, 4, 0);
	fake_driver_offer(&r->queues[1], 0);
	fake_driver_publish(&r->queues[1]);
	soft_rig_kick(r, 1);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
	assert_memory_equal(in, frame, len);
}

/* A packet that finds no buffer waits for one. */
static void test_a_packet_that_finds_no_buffer_waits_for_one(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[256], in[256];
	uint32_t len = make_frame(frame, own, 1);

	soft_rig_start(r, PLAIN);
	/* Before there has been any nothing waits. */
	for (unsigned int i = 0; i < 100; i++) {
		soft_net_send(&r->net, NULL, frame, len);
		soft_settle(r);
	}
	soft_rig_post(r, 0, 1, 1024);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
	assert_true(len == make_frame(frame, own, 2));
	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	assert_memory_equal(in, frame, len);
	/* Then it does. */
	assert_true(len == make_frame(frame, own, 3));
	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	soft_rig_post(r, 0, 1, 1024);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	assert_memory_equal(in, frame, len);
}

/* Sends a frame of this length to the guest, and whether it comes. */
static bool gets_long(struct soft_rig *r, const uint8_t *to, uint32_t len)
{
	static uint8_t frame[65536], in[65536];
	int got;

	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + (i >> 8) + len);
	memcpy(frame, to, 6);
	soft_net_send(&r->net, NULL, frame, len);
	soft_settle(r);
	got = soft_rig_received(r, 0, NULL, in, sizeof(in));
	if (got >= 0) {
		assert_int_equal(got, len);
		assert_memory_equal(in, frame, len);
	}
	return got >= 0;
}

/* Long ones are read into the guest's buffers, which are taken for a packet as long as the last one. */
static void long_packets(struct soft_rig *r, uint64_t features, uint32_t buffer)
{
	static const uint32_t lengths[] = {
		9000, 9000, 60000, 60000, 100, 60000, 30000, 200, 200, 8300, 61000
	};

	soft_rig_start(r, features);
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		soft_rig_post(r, 0, (lengths[i] + 20 + buffer - 1) / buffer, buffer);
		/* What is not for the guest leaves its buffers for what is. */
		assert_false(gets_long(r, other, lengths[i]));
		assert_true(gets_long(r, own, lengths[i]));
	}
	/* One that finds too few is dropped, and they stay. */
	soft_rig_post(r, 0, 60000 / buffer - 1, buffer);
	assert_false(gets_long(r, own, 60000));
	assert_true(gets_long(r, own, 9000));
	assert_int_equal(soft_rig_counter(r, 0, SOFT_RX_OVERRUNS), 1);
	soft_rig_reset(r);
}

static void test_long_packets_come_whole(void **state)
{
	struct soft_rig *r = *state;

	long_packets(r, PLAIN, 1500);
	long_packets(r, PLAIN, 4096);
	long_packets(r, PLAIN | BIT(VIRTIO_NET_F_HASH_REPORT), 2000);
}

/* The device reads several at once, and has only one buffer for them. */
static void test_packets_that_were_read_ahead_wait_for_buffers(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[256], in[256];
	uint32_t len = 0;

	soft_rig_start(r, PLAIN);
	/* The device has had buffers, and has none. */
	assert_true(gets(r, own));
	for (uint8_t i = 0; i < 8; i++) {
		len = make_frame(frame, own, i);
		soft_net_send(&r->net, NULL, frame, len);
	}
	soft_settle(r);
	for (uint8_t i = 0; i < 8; i++) {
		len = make_frame(frame, own, i);
		assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
		soft_rig_post(r, 0, 1, 1024);
		soft_settle(r);
		assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
		assert_memory_equal(in, frame, len);
	}
}

/* What goes out by one call keeps its order, a malformed packet in the middle included. */
static void test_packets_sent_at_once_keep_their_order(void **state)
{
	struct soft_rig *r = *state;
	uint8_t frame[256], in[256];
	uint32_t len;

	soft_rig_start(r, PLAIN);
	for (unsigned int round = 0; round < 20; round++) {
		for (uint8_t i = 0; i < 8; i++) {
			struct virtio_seg seg = { 0x800000 + 0x1000u * i, 0 };

			len = make_frame(frame, other, i);
			seg.len = i == 3 ? 5 : 12 + len;
			assert_int_equal(memory_write(&r->mem, seg.addr, "\0\0\0\0\0\0\0\0\0\0\0", 12), 0);
			assert_int_equal(memory_write(&r->mem, seg.addr + 12, frame, len), 0);
			assert_true(fake_driver_add(&r->queues[1], &seg, 1, 0) >= 0);
		}
		fake_driver_publish(&r->queues[1]);
		soft_rig_kick(r, 1);
		for (uint8_t i = 0; i < 8; i++) {
			len = make_frame(frame, other, i);
			if (i == 3)
				continue;
			assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
			assert_memory_equal(in, frame, len);
		}
		soft_settle(r);
		assert_int_equal(soft_rig_reap(r, 0), 8);
	}
	assert_int_equal(soft_rig_counter(r, 1, SOFT_PACKETS), 140);
	assert_int_equal(soft_rig_counter(r, 1, SOFT_TX_MALFORMED), 20);
}

static void assert_broken(struct soft_rig *r)
{
	struct error err = { 0 };
	uint8_t status;

	soft_settle(r);
	assert_int_equal(r->vdpa->ops->get_status(r->vdpa, &status, &err), 0);
	assert_int_equal(status, 0xf | VIRTIO_CONFIG_S_NEEDS_RESET);
	soft_rig_reset(r);
	soft_rig_start(r, PLAIN);
	assert_true(gets(r, own));
	soft_rig_reset(r);
}

/* Hostile rings: the device asks for a reset, and works after it. */
static void test_a_broken_ring_stops_the_device_until_a_reset(void **state)
{
	struct soft_rig *r = *state;

	soft_rig_start(r, PLAIN);
	fake_driver_write_desc(&r->queues[1], 0, UINT64_C(0xfff000), 0x2000, 0,
			       0); /* beyond what is mapped */
	fake_driver_offer(&r->queues[1], 0);
	fake_driver_publish(&r->queues[1]);
	soft_rig_kick(r, 1);
	assert_broken(r);

	soft_rig_start(r, PLAIN);
	fake_driver_set_avail_idx(&r->queues[1], 1000);
	soft_rig_kick(r, 1);
	assert_broken(r);

	soft_rig_start(r, PLAIN);
	fake_driver_offer(&r->queues[0], 900);
	fake_driver_publish(&r->queues[0]);
	soft_rig_kick(r, 0);
	soft_net_send(&r->net, NULL, "01234567890123456789", 20);
	assert_broken(r);
}

static void test_malformed_packets_are_dropped_and_counted(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_net_hdr_v1 hdr = { .gso_type = 77 };
	uint8_t frame[256], in[256];
	struct virtio_seg seg = { 0x800000, 20 };
	uint32_t len = make_frame(frame, other, 5);

	soft_rig_start(r, PLAIN);
	soft_rig_send(r, 0, &hdr, frame, len);                        /* unknown segmentation */
	assert_true(fake_driver_add(&r->queues[1], &seg, 1, 0) >= 0); /* no frame */
	assert_true(fake_driver_add(&r->queues[1], &seg, 0, 1) >= 0); /* writable */
	soft_rig_send(r, 0, NULL, frame, len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 0), -1);
	soft_settle(r);
	assert_int_equal(soft_rig_reap(r, 0), 4);
	/* From the network as well: too short, too long, not what the guest takes. */
	hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	soft_rig_post(r, 0, 2, 1024);
	soft_net_send(&r->net, NULL, frame, 3);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_net_send(&r->net, NULL, frame, 100);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), 100);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
}

/* Life */

static void test_what_the_device_does_not_have_is_refused(void **state)
{
	struct soft_rig *r = *state;
	const struct vdpa_ops *ops = r->vdpa->ops;
	struct vdpa_vring vring = { .size = 48 };
	struct vdpa_region regions[] = { { 0x10000000, 0x1000, r->mem.regions[0].hva, 1 },
					 { 0x1000, 0x1000, r->mem.regions[0].hva, 0 } };
	struct error err = { 0 };
	uint16_t size;
	unsigned int number;

	assert_int_equal(ops->set_features(r->vdpa, BIT(VIRTIO_F_VERSION_1) | BIT(40), &err), -EINVAL);
	assert_int_equal(ops->set_status(r->vdpa, 15, &err), -EIO);
	assert_int_equal(ops->set_vring(r->vdpa, 0, &vring, &err), -EINVAL);
	assert_int_equal(ops->vring_size(r->vdpa, 9, &size, &err), -EINVAL);
	assert_int_equal(ops->enable_vring(r->vdpa, 9, true, &err), -EINVAL);
	assert_int_equal(ops->set_group_asid(r->vdpa, 2, 0, &err), -EINVAL);
	assert_int_equal(ops->set_group_asid(r->vdpa, 0, 2, &err), -EINVAL);
	assert_int_equal(ops->suspend(r->vdpa, &err), -EINVAL);
	assert_int_equal(ops->vring_group(r->vdpa, 8, &number, &err), 0);
	assert_int_equal(number, 1);
	assert_int_equal(ops->vring_group(r->vdpa, 7, &number, &err), 0);
	assert_int_equal(number, 0);
	/* The second lies in what is mapped: then the first is not mapped either. */
	assert_int_equal(ops->map(r->vdpa, regions, 2, &err), -EINVAL);
	assert_int_equal(ops->unmap(r->vdpa, regions, 1, &err), -ENOENT);
	assert_int_equal(ops->map(r->vdpa, regions, 1, &err), 0);
	assert_int_equal(ops->unmap(r->vdpa, regions, 1, &err), 0);
	regions[0].asid = 2;
	assert_int_equal(ops->map(r->vdpa, regions, 1, &err), -EINVAL);
	regions[0].asid = 0;
	regions[0].iova = UINT64_MAX - 10;
	assert_int_equal(ops->map(r->vdpa, regions, 1, &err), -EINVAL);
}

/* A ring whose memory goes while it is served. */
static void test_a_ring_whose_memory_goes_is_served_no_more(void **state)
{
	struct soft_rig *r = *state;
	struct vdpa_region region = { 0, MIB(16), r->mem.regions[0].hva, 0 };
	struct error err = { 0 };
	uint8_t status;

	soft_rig_start(r, PLAIN);
	assert_int_equal(r->vdpa->ops->unmap(r->vdpa, &region, 1, &err), 0);
	assert_int_equal(r->vdpa->ops->get_status(r->vdpa, &status, &err), 0);
	assert_true(status & VIRTIO_CONFIG_S_NEEDS_RESET);
	soft_rig_kick(r, 0);
	soft_rig_kick(r, 2);
	soft_settle(r);
	assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 0, &err), 0);
	assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 1, &err), 0);
	assert_int_equal(r->vdpa->ops->map(r->vdpa, &region, 1, &err), 0);
}

/* The control queue in an address space of its own sees nothing of the other. */
static void test_a_control_queue_apart_sees_nothing_of_the_other_space(void **state)
{
	struct soft_rig *r = *state;
	struct vdpa_region regions[] = { { 0x100000, 0x100000, r->mem.regions[0].hva + 0x100000, 1 },
					 { 0xe00000, 0x200000, r->mem.regions[0].hva + 0xe00000, 1 } };
	struct error err = { 0 };

	assert_int_equal(r->vdpa->ops->map(r->vdpa, regions, 2, &err), 0);
	assert_int_equal(r->vdpa->ops->set_group_asid(r->vdpa, 1, 1, &err), 0);
	soft_rig_start(r, ALL);
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	assert_int_equal(r->vdpa->ops->set_group_asid(r->vdpa, 1, 0, &err), -EBUSY);
	/* Commands and replies are not reachable any more, the ring is. */
	assert_int_equal(r->vdpa->ops->unmap(r->vdpa, regions + 1, 1, &err), 0);
	{
		struct virtio_seg segs[2] = { { 0xe00000, 3 }, { 0xf00000, 1 } };

		assert_true(fake_driver_add(&r->queues[8], segs, 1, 1) >= 0);
		fake_driver_publish(&r->queues[8]);
		soft_rig_kick(r, 8);
	}
	assert_broken(r);
	/* A reset has put it back to the other. */
	soft_rig_start(r, PLAIN);
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
}

/* A suspended device moves nothing and says by its base where it stopped; then other rings go on from there.
 */
static void test_a_suspended_device_goes_on_from_its_base_on_other_rings(void **state)
{
	struct soft_rig *r = *state;
	const struct vdpa_ops *ops = r->vdpa->ops;
	struct error err = { 0 };
	uint8_t frame[256], in[256];
	uint32_t len = make_frame(frame, own, 4);
	uint16_t base;

	soft_rig_start(r, PLAIN);
	for (unsigned int i = 0; i < 5; i++)
		assert_true(gets(r, own));
	assert_int_equal(ops->get_vring_base(r->vdpa, 0, &base, &err), -EBUSY);
	soft_rig_post(r, 0, 1, 1024);
	assert_int_equal(ops->suspend(r->vdpa, &err), 0);
	soft_net_send(&r->net, NULL, frame, len);
	soft_rig_send(r, 0, NULL, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 0), -1);
	assert_int_equal(ops->get_vring_base(r->vdpa, 0, &base, &err), 0);
	assert_int_equal(base, 5);
	r->base[0] = base;
	soft_rig_set_vring(r, 0);
	assert_int_equal(ops->resume(r->vdpa, &err), 0);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), len);
	assert_int_equal(ops->resume(r->vdpa, &err), -EINVAL);
}

/* Filters */

static void test_modes_decide_which_packets_pass(void **state)
{
	struct soft_rig *r = *state;

	soft_rig_start(r, PLAIN);
	assert_true(gets(r, other)); /* before any command, promiscuous */
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_false(gets(r, other));
	assert_false(gets(r, group));
	assert_true(gets(r, own) && gets(r, all));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_ALLMULTI, 1), VIRTIO_NET_OK);
	assert_true(gets(r, group));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_NOMULTI, 1), VIRTIO_NET_OK);
	assert_false(gets(r, group));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_ALLUNI, 1), VIRTIO_NET_OK);
	assert_true(gets(r, other));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_NOUNI, 1), VIRTIO_NET_OK);
	assert_false(gets(r, other) || gets(r, own));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_OK);
	assert_false(gets(r, all));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 1), VIRTIO_NET_OK);
	assert_true(gets(r, all) && gets(r, own) && gets(r, group));
	assert_int_equal(rx_mode(r, 6, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_RX, 0, "\0\0", 2), VIRTIO_NET_ERR);
	soft_rig_reset(r);
	soft_rig_start(r, PLAIN & ~BIT(VIRTIO_NET_F_CTRL_RX_EXTRA));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_ALLUNI, 1), VIRTIO_NET_ERR);
}

static void test_only_addresses_of_the_guest_pass(void **state)
{
	struct soft_rig *r = *state;
	uint8_t table[8 + 4 * 6] = { 2 };
	uint8_t mac[6];
	struct error err = { 0 };

	soft_rig_start(r, PLAIN);
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	memcpy(table + 4, third, 6);
	memcpy(table + 10, other, 6);
	put_le32(table + 16, 2);
	memcpy(table + 20, group2, 6);
	memcpy(table + 26, group, 6);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_MAC, 0, table, sizeof(table)), VIRTIO_NET_OK);
	assert_true(gets(r, other) && gets(r, third) && gets(r, group) && gets(r, group2));
	/* A command that is refused changes nothing. */
	assert_int_equal(command(r, VIRTIO_NET_CTRL_MAC, 0, table, sizeof(table) - 1), VIRTIO_NET_ERR);
	table[3] = 0xff;
	assert_int_equal(command(r, VIRTIO_NET_CTRL_MAC, 0, table, sizeof(table)), VIRTIO_NET_ERR);
	assert_true(gets(r, other));
	memset(table, 0, 8);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_MAC, 0, table, 8), VIRTIO_NET_OK);
	assert_false(gets(r, other) || gets(r, group));

	assert_int_equal(command(r, VIRTIO_NET_CTRL_MAC, 1, other, 6), VIRTIO_NET_OK);
	assert_true(gets(r, other));
	assert_false(gets(r, own));
	assert_int_equal(r->vdpa->ops->get_config(r->vdpa, 0, mac, 6, &err), 0);
	assert_memory_equal(mac, other, 6);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_MAC, 1, group, 6), VIRTIO_NET_ERR);
	soft_rig_reset(r);
	soft_rig_start(r, PLAIN);
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_true(gets(r, own));
	assert_false(gets(r, other));
}

static void test_only_vlans_that_were_added_pass(void **state)
{
	struct soft_rig *r = *state;

	soft_rig_start(r, PLAIN);
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_false(gets_vlan(r, 100));
	assert_true(gets(r, own));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_VLAN, 0, "\x64\0", 2), VIRTIO_NET_OK);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_VLAN, 0, "\x64\0", 2), VIRTIO_NET_OK);
	assert_true(gets_vlan(r, 100));
	assert_false(gets_vlan(r, 101) || gets_vlan(r, 0x164));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_VLAN, 1, "\x64\0", 2), VIRTIO_NET_OK);
	assert_false(gets_vlan(r, 100));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_VLAN, 0, "\0\x10", 2), VIRTIO_NET_ERR);
	soft_rig_reset(r);
	soft_rig_start(r, PLAIN & ~BIT(VIRTIO_NET_F_CTRL_VLAN));
	assert_int_equal(rx_mode(r, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_true(gets_vlan(r, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_packets_go_both_ways_unchanged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_indexes_may_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_long_packet_takes_several_buffers_where_the_driver_merges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_packet_may_have_more_pieces_than_a_port_takes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_packet_that_finds_no_buffer_waits_for_one, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_long_packets_come_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packets_that_were_read_ahead_wait_for_buffers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_packets_sent_at_once_keep_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_broken_ring_stops_the_device_until_a_reset, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_malformed_packets_are_dropped_and_counted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_the_device_does_not_have_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_ring_whose_memory_goes_is_served_no_more, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_control_queue_apart_sees_nothing_of_the_other_space,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_suspended_device_goes_on_from_its_base_on_other_rings,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_modes_decide_which_packets_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_addresses_of_the_guest_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_vlans_that_were_added_pass, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
