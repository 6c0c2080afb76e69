/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDPA NIC in software: offloads, coalescing, statistics, announcements; and what it does wrong on
 * request. */
#include "tests/unit/devices/vdpa/soft/soft_fixture.h"

static void test_offloads_are_set_within_what_was_negotiated(void **state)
{
	struct soft_rig *r = *state;
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					 .gso_size = 20 };
	uint8_t frame[128], in[128], mask[8] = { 0 };
	uint32_t len = ipv4_frame(frame, 6, vector_ports);

	soft_rig_start(r, ALL);
	post_all(r, 8);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_OK);
	soft_net_send(&r->net, &hdr, frame, len);
	hdr.gso_type = 0;
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), -1);
	mask[0] = 2;
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_OK);
	soft_net_send(&r->net, &hdr, frame, len);
	soft_settle(r);
	assert_int_equal(soft_rig_received(r, 0, NULL, in, sizeof(in)), len);
	/* Linux sends the bit of GUEST_HDRLEN along; those that were not negotiated are refused. */
	put_le64(mask, BIT(VIRTIO_NET_F_GUEST_HDRLEN) | BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_OK);
	put_le64(mask, BIT(VIRTIO_NET_F_CSUM));
	assert_int_equal(command(r, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, mask, 8), VIRTIO_NET_ERR);
}

static uint32_t coal(uint8_t *p, uint32_t packets, uint32_t usecs)
{
	put_le32(p, packets);
	put_le32(p + 4, usecs);
	return 8;
}

static unsigned int interrupts_of(struct soft_rig *r, unsigned int pair, unsigned int n)
{
	uint8_t frame[128];
	uint32_t len = ipv4_frame(frame, 17, vector_ports);
	unsigned int calls = 0;

	while (n-- > 0) {
		assert_int_equal(arrives(r, frame, len, NULL), (int)pair);
		calls += soft_rig_calls(r, 2 * pair);
	}
	return calls;
}

static void test_interrupts_wait_for_packets_or_time(void **state)
{
	struct soft_rig *r = *state;
	struct pollfd pfd = { .fd = r->call[0], .events = POLLIN };
	uint8_t c[12] = { 0 }, reply[8192];
	uint32_t len;

	/* Without event_idx, so that the driver wants every one. */
	soft_rig_start(r, NO_EV);
	post_all(r, 32);
	assert_int_equal(interrupts_of(r, 0, 4), 4);
	assert_int_equal(command(r, COAL, 1, c, coal(c, 4, 60000000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 3), 0);
	assert_int_equal(interrupts_of(r, 0, 1), 1);
	/* Time alone. */
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 100000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 1), 0);
	assert_int_equal(poll(&pfd, 1, FAKE_PATIENCE_MS), 1);
	assert_int_equal(soft_rig_calls(r, 0), 1);
	/* One queue's own; what is held under the old rule is told at once. */
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 60000000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 1), 0);
	put_le32(c, 0);
	coal(c + 4, 2, 60000000);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_OK);
	soft_settle(r);
	assert_int_equal(soft_rig_calls(r, 0), 1);
	assert_int_equal(interrupts_of(r, 0, 4), 2);
	assert_int_equal(soft_rig_command(r, COAL, 3, c, 4, reply, &len), VIRTIO_NET_OK);
	assert_int_equal(len, 8);
	assert_int_equal(get_le32(reply), 2);
	assert_int_equal(get_le32(reply + 4), 60000000);
	/* Also of one that no packet is steered to at the moment, as Linux does; not of the control queue, or
	 * behind. */
	put_le32(c, 2);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_OK);
	put_le32(c, 9);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_ERR);
	put_le32(c, 8);
	assert_int_equal(command(r, COAL, 2, c, 12), VIRTIO_NET_ERR);
	assert_int_equal(soft_rig_command(r, COAL, 3, c, 4, reply, &len), VIRTIO_NET_ERR);
	/* For all, its own is gone. */
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 0)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 2), 2);
}

/* Without several pairs the control queue has the index of a receive queue. */
static void test_a_rule_for_receive_queues_holds_no_answer_back(void **state)
{
	struct soft_rig *r = *state;
	uint8_t c[8];

	soft_rig_start(r, NO_EV & ~BIT(VIRTIO_NET_F_MQ) & ~BIT(VIRTIO_NET_F_RSS));
	assert_int_equal(command(r, COAL, 1, c, coal(c, UINT32_MAX, UINT32_MAX)), VIRTIO_NET_OK);
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 0)), VIRTIO_NET_OK);
}

static void test_a_suspended_device_holds_no_interrupt_back(void **state)
{
	struct soft_rig *r = *state;
	struct error err = { 0 };
	uint8_t c[8];

	soft_rig_start(r, NO_EV);
	post_all(r, 8);
	assert_int_equal(command(r, COAL, 1, c, coal(c, 0, 60000000)), VIRTIO_NET_OK);
	assert_int_equal(interrupts_of(r, 0, 1), 0);
	assert_int_equal(r->vdpa->ops->suspend(r->vdpa, &err), 0);
	assert_int_equal(soft_rig_calls(r, 0), 1);
}

static void test_statistics_count_what_passed(void **state)
{
	struct soft_rig *r = *state;
	uint8_t reply[8192], request[48] = { 0 }, frame[128], in[128];
	uint32_t len, frame_len = ipv4_frame(frame, 17, vector_ports);

	soft_rig_start(r, NO_EV);
	assert_int_equal(soft_rig_command(r, STATS, 0, NULL, 0, reply, &len), VIRTIO_NET_OK);
	assert_int_equal(len, 8);
	assert_int_equal(get_le64(reply), 0x1000f000fULL);
	post_all(r, 8);
	assert_int_equal(interrupts_of(r, 0, 3), 3);
	soft_rig_send(r, 0, NULL, frame, frame_len);
	assert_int_equal(soft_net_receive(&r->net, NULL, in, sizeof(in), 2000), frame_len);
	assert_int_equal(command(r, 77, 0, NULL, 0), VIRTIO_NET_ERR);
	put_le64(request + 8, 1);
	put_le16(request + 16, 1);
	put_le64(request + 24, 1 << 16);
	put_le16(request + 32, 8);
	put_le64(request + 40, BIT(32));
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 48, reply, &len), VIRTIO_NET_OK);
	assert_int_equal(len, 56 + 56 + 24);
	assert_int_equal(reply[0], 0);
	assert_int_equal(get_le16(reply + 6), 56);
	assert_int_equal(get_le64(reply + 16), 3);             /* packets */
	assert_int_equal(get_le64(reply + 24), 3 * frame_len); /* bytes */
	assert_int_equal(get_le64(reply + 32), 3);             /* interrupts */
	assert_int_equal(get_le64(reply + 40), 0);             /* drops */
	assert_int_equal(reply[56], 16);
	assert_int_equal(get_le16(reply + 58), 1);
	assert_int_equal(get_le64(reply + 56 + 8), 1); /* kicks */
	assert_int_equal(get_le64(reply + 56 + 16), 1);
	assert_int_equal(get_le64(reply + 56 + 24), frame_len);
	assert_int_equal(reply[112], 32);
	assert_int_equal(get_le64(reply + 120), 3);
	assert_int_equal(get_le64(reply + 128), 1);
	/* As a whole, if anything in it is wrong: the type, the queue, the length. */
	put_le64(request + 24, 1);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 48, reply, &len), VIRTIO_NET_ERR);
	put_le16(request, 9);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 16, reply, &len), VIRTIO_NET_ERR);
	put_le16(request, 0);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 24, reply, &len), VIRTIO_NET_ERR);
	put_le64(request + 8, 16);
	assert_int_equal(soft_rig_command(r, STATS, 1, request, 16, reply, &len), VIRTIO_NET_ERR);
}

static uint16_t config_status(struct soft_rig *r)
{
	struct error err = { 0 };
	uint8_t status[2];

	assert_int_equal(r->vdpa->ops->get_config(r->vdpa, 6, status, 2, &err), 0);
	return get_le16(status);
}

static void test_an_announcement_is_asked_for_until_it_is_acknowledged(void **state)
{
	struct soft_rig *r = *state;
	uint64_t count;

	soft_rig_start(r, ALL);
	assert_int_equal(config_status(r), 1);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_ERR);
	soft_vdpa_announce(r->vdpa);
	assert_int_equal(read(r->config_call, &count, sizeof(count)), 8);
	assert_int_equal(config_status(r), 3);
	assert_int_equal(command(r, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), VIRTIO_NET_OK);
	assert_int_equal(config_status(r), 1);
	soft_vdpa_set_link(r->vdpa, false);
	assert_int_equal(config_status(r), 0);
}

/* Commands of any form: answered, whatever they are. */
static void test_commands_of_any_form_are_answered(void **state)
{
	struct soft_rig *r = *state;
	struct fake_driver *q = &r->queues[8];
	struct virtio_seg segs[3] = { { 0xe00000, 1 }, { 0xf00000, 1 }, { 0x800000, 200000 } };
	uint16_t head;
	uint32_t len;

	soft_rig_start(r, NO_EV);
	assert_true(fake_driver_add(q, segs, 1, 1) >= 0);     /* half a header */
	assert_true(fake_driver_add(q, segs + 1, 0, 1) >= 0); /* none */
	assert_true(fake_driver_add(q, segs, 1, 0) >= 0);     /* nowhere to answer */
	segs[0] = segs[2];
	assert_true(fake_driver_add(q, segs, 1, 1) >= 0); /* longer than any */
	fake_driver_publish(q);
	soft_rig_kick(r, 8);
	soft_settle(r);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(fake_driver_get_used(q, &head, &len), 1);
		assert_int_equal(len, i == 2 ? 0 : 1);
	}
	assert_int_equal(command(r, 0, 0, "\0", 1), VIRTIO_NET_OK);
}

static void test_faults_are_shown_as_asked(void **state)
{
	struct soft_rig *r = *state;
	struct fake_driver *q = &r->queues[8];
	struct virtio_seg segs[2] = { { 0xe00000, 3 }, { 0xf00000, 1 } };
	struct error err = { 0 };
	uint8_t status;
	uint16_t head;
	uint32_t len;
	uint64_t start;
	int heads[3];

	soft_rig_start(r, NO_EV);
	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .refuse_nth = 2 });
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_OK);
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_OK);

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .delay_ms = 100 });
	start = now_ns();
	assert_int_equal(command(r, 0, 0, "\1", 1), VIRTIO_NET_OK);
	assert_true(now_ns() - start >= 99000000);

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .reverse = true });
	for (unsigned int i = 0; i < 3; i++)
		heads[i] = fake_driver_add(q, segs, 1, 1);
	fake_driver_publish(q);
	soft_rig_kick(r, 8);
	soft_settle(r);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(fake_driver_get_used(q, &head, &len), 1);
		assert_int_equal(head, heads[2 - i]);
	}

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .bad_ctrl_id = true });
	assert_true(fake_driver_add(q, segs, 1, 1) >= 0);
	fake_driver_publish(q);
	soft_rig_kick(r, 8);
	soft_settle(r);
	assert_int_equal(fake_driver_get_used(q, &head, &len), -1);

	soft_vdpa_misbehave(r->vdpa, &(struct soft_faults){ .gone = true });
	assert_int_equal(r->vdpa->ops->get_status(r->vdpa, &status, &err), -ENODEV);
	assert_int_equal(r->vdpa->ops->set_status(r->vdpa, 0, &err), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_offloads_are_set_within_what_was_negotiated, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_interrupts_wait_for_packets_or_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_rule_for_receive_queues_holds_no_answer_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_suspended_device_holds_no_interrupt_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_statistics_count_what_passed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_announcement_is_asked_for_until_it_is_acknowledged,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_commands_of_any_form_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults_are_shown_as_asked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
