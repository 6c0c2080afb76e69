/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device's statistics through the NIC, and across migrations and ring resets: no counter that the guest
 * sees ever goes back. */
#include "tests/unit/devices/net/net_fixture.h"

#define ALL_TYPES UINT64_C(0x1000f000f)

static uint64_t query(struct net_guest *g)
{
	uint8_t reply[9];

	assert_int_equal(net_guest_ask(g, 8, 0, NULL, 0, reply, 9), 9);
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	return get_le64(reply + 1);
}

static uint32_t put_item(uint8_t *p, unsigned int queue, uint64_t types)
{
	memset(p, 0, 8);
	put_le16(p, (uint16_t)queue);
	put_le64(p + 8, types);
	return 16;
}

/* The first counter of a queue's first type, as the guest sees it. */
static uint64_t counter(struct net_guest *g, unsigned int queue)
{
	uint64_t type = queue == net_guest_ctrl(g) ? BIT(32) : queue % 2 ? BIT(16) : BIT(0);
	uint32_t len = queue == net_guest_ctrl(g) ? 24 : 56;
	uint8_t item[16], reply[64];

	put_item(item, queue, type);
	assert_int_equal(net_guest_ask(g, 8, 1, item, 16, reply, 1 + len), 1 + len);
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	assert_true(VIRTIO_BIT(reply[1]) == type);
	assert_int_equal(get_le16(reply + 1 + 2), queue);
	assert_int_equal(get_le16(reply + 1 + 6), len);
	return get_le64(reply + 1 + 8);
}

static void count(struct fake_vdpa *v, unsigned int queue, uint64_t n)
{
	fake_vdpa_lock(v);
	for (unsigned int i = 0; i < 16; i++)
		v->nic.counters[queue][i] += n;
	fake_vdpa_unlock(v);
}

/* Ferry asks the device nothing for it. */
static void what_the_guest_has_read_is_told(void **state)
{
	struct fixture *f = *state;
	char told[20480];
	struct error err = { 0 };
	unsigned int from = 0, n;
	struct facts facts;

	start_a(f, ALL);
	count(f->va, 0, 5);
	count(f->va, 2, 2);
	for (unsigned int pass = 0; pass < 2; pass++) {
		facts_begin(&facts, told, sizeof(told));
		n = commands(f->va);
		assert_int_equal(
			device_of(f->a)->ops->tell(device_of(f->a), &facts, &from, end_of(1000), &err), 0);
		assert_int_equal(commands(f->va), n);
		facts_end(&facts);
		if (pass == 1)
			break;
		assert_null(strstr(told, "deviceStatistics"));
		assert_int_equal(counter(f->a, 0), 5);
		assert_int_equal(counter(f->a, 2), 2);
	}
	assert_non_null(strstr(told,
			       "\"deviceStatistics\":{\"rxNotifications\":7,\"rxPackets\":7,\"rxBytes\":7,"
			       "\"rxInterrupts\":7,\"rxDrops\":7,\"rxDropOverruns\":7}"));
}

static void a_guest_reads_what_the_device_counts(void **state)
{
	struct fixture *f = *state;
	uint8_t items[16 * 5], reply[1024];
	uint32_t len = 0, total = 0;

	start_a(f, ALL);
	/* A type that Ferry does not know cannot be carried, and is not shown. */
	f->va->nic.stats_types |= BIT(5) | BIT(63);
	assert_true(query(f->a) == ALL_TYPES);
	assert_int_equal(net_guest_ask(f->a, 8, 0, NULL, 0, reply, 8), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	for (unsigned int queue = 0; queue < 5; queue++) {
		count(f->va, queue, 1000 * (queue + 1));
		len += put_item(items + len, queue,
				queue == 4       ? BIT(32)
				: queue % 2 == 0 ? UINT64_C(0xf)
						 : UINT64_C(0xf0000));
	}
	total = 1 + 4 * 160 + 24;
	assert_int_equal(net_guest_ask(f->a, 8, 1, items, len, reply, 1024), total);
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	for (uint32_t at = 1; at < total; at += get_le16(reply + at + 6))
		assert_true(get_le64(reply + at + 16) == 1000u * (get_le16(reply + at + 2) + 1));
	assert_int_equal(reply[total], 0xee);
	/* With less room the guest gets less, the device never notices. */
	assert_int_equal(net_guest_ask(f->a, 8, 1, items, len, reply, 100), 100);
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	assert_int_equal(net_guest_ask(f->a, 8, 1, items, len, reply, 1), 1);
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

static void a_wrong_request_for_statistics_never_reaches_the_device(void **state)
{
	static const struct {
		unsigned int queue;
		uint64_t types;
	} bad[] = {
		{ 5, BIT(0) }, { 6, BIT(0) },  { 0xffff, BIT(0) }, { 0, BIT(16) }, { 1, BIT(0) },
		{ 4, BIT(0) }, { 0, BIT(32) }, { 0, BIT(4) },      { 0, BIT(63) }, { 1, BIT(20) },
	};
	struct fixture *f = *state;
	uint8_t items[48], reply[512];
	unsigned int n;

	start_a(f, ALL);
	put_item(items, 0, 1);
	put_item(items + 32, 1, BIT(16));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		put_item(items + 16, bad[i].queue, bad[i].types);
		assert_int_equal(net_guest_ask(f->a, 8, 1, items, 48, reply, 512), 1);
		assert_int_equal(reply[0], VIRTIO_NET_ERR);
	}
	for (uint32_t len = 0; len < 48; len += 5) {
		assert_int_equal(net_guest_ask(f->a, 8, 1, items, len, reply, 512), 1);
		assert_int_equal(reply[0], VIRTIO_NET_ERR);
	}
	assert_int_equal(commands(f->va), 0);
	/* A type whose feature was not negotiated. */
	start_a(f, ~(BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6)));
	assert_true(query(f->a) == (ALL_TYPES & ~BIT(2)));
	put_item(items, 0, BIT(2));
	n = commands(f->va);
	assert_int_equal(net_guest_ask(f->a, 8, 1, items, 16, reply, 512), 1);
	assert_int_equal(commands(f->va), n);
}

/* Linux walks through the answer by the lengths in it: one that is wrong never reaches it. */
static void statistics_that_make_no_sense_never_reach_the_guest(void **state)
{
	struct fixture *f = *state;
	uint8_t items[32], reply[512];

	start_a(f, ALL);
	put_item(items, 0, 0xf);
	put_item(items + 16, 4, BIT(32));
	for (unsigned int i = 0; i < MODEL_STATS_N_FAULTS; i++) {
		f->va->nic.stats_fault = (enum model_stats_fault)i;
		assert_int_equal(net_guest_ask(f->a, 8, 1, items, 32, reply, 512),
				 i == MODEL_STATS_GOOD ? 1 + 160 + 24 : 1);
		assert_int_equal(reply[0], i == MODEL_STATS_GOOD ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
	f->va->nic.stats_fault = MODEL_STATS_GOOD;
	f->va->faults.bare_ack = true;
	assert_int_equal(net_guest_ask(f->a, 8, 1, items, 32, reply, 512), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	assert_int_equal(net_guest_ask(f->a, 8, 0, NULL, 0, reply, 9), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	f->va->faults.bare_ack = false;
	f->va->faults.refuse_class = 8;
	f->va->faults.bad_ack = 9;
	assert_int_equal(net_guest_ask(f->a, 8, 0, NULL, 0, reply, 9), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

/* Without MQ and RSS the control queue is where the second pair would begin. */
static void with_one_pair_the_control_queue_is_the_third(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint8_t item[16], reply[64];

	spec.n_pairs = 4;
	start_a(f, ~(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS)));
	build_b(f, &spec);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(net_guest_ctrl(f->a), 2);
		assert_int_equal(net_guest_command(f->a, 6, 2, "\2\0\0\0\7\0\0\0\x8\0\0\0", 12),
				 VIRTIO_NET_ERR);
		assert_command(f->a, 6, 2, "\1\0\0\0\7\0\0\0\x8\0\0\0", 12);
		assert_true(query(f->a) == ALL_TYPES);
		assert_true(counter(f->a, 2) > 0);
		put_item(item, 3, BIT(16));
		assert_int_equal(net_guest_ask(f->a, 8, 1, item, 16, reply, 64), 1);
		if (i == 1)
			break;
		migrate(f);
		assert_same_device(f);
		swap(f);
	}
}

/* From host to host, some with more queues, each counting from somewhere else: what the guest sees never goes
 * back, and nothing is lost but what it did not ask for. */
static void no_counter_goes_back_when_the_guest_moves(void **state)
{
	static const uint64_t counted[] = { 0, 1000000, 5, UINT64_MAX, 77 };
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint64_t before[5];

	start_a(f, ALL);
	assert_true(query(f->a) == ALL_TYPES);
	for (unsigned int queue = 0; queue < 4; queue++) {
		count(f->va, queue, 100 + queue);
		before[queue] = 100 + queue;
	}
	before[4] = counter(f->a, 4);
	for (unsigned int i = 0; i < ARRAY_SIZE(counted); i++) {
		spec.n_pairs = i % 2 ? 4 : 2;
		spec.counted = counted[i];
		build_b(f, &spec);
		warm(f);
		/* Packets after the start of the destination's device are counted at the source. */
		count(f->va, 1, 3);
		count(f->vb, 1, 50);
		before[1] += 3;
		stop_and_load(f);
		assert_saved_alike(f);
		commit(f);
		for (unsigned int queue = 0; queue < 4; queue++) {
			assert_true(counter(f->b, queue) == before[queue]);
			count(f->vb, queue, 10);
			before[queue] += 10;
			assert_true(counter(f->b, queue) == before[queue]);
		}
		/* Its own commands count in it. */
		assert_true(counter(f->b, 4) > before[4] && counter(f->b, 4) < before[4] + 100);
		before[4] = counter(f->b, 4);
		swap(f);
	}
	/* Begins anew with the driver. */
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_true(counter(f->a, 0) == 77);
}

static void a_destination_must_count_what_the_guest_knows_of(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	start_a(f, ALL);
	spec.stats_types &= ~BIT(3);
	build_b(f, &spec);
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	/* A type that the guest does not know of need not be there. */
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
	assert_true(query(f->a) == ALL_TYPES);
	assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, false),
		       "net0 (/dev/fake-vdpa): the device does not count statistics of types 0x8");
	/* One that does not answer when it comes to it. */
	build_b(f, &fake_vdpa_default);
	warm(f);
	net_device_ops.pause(device_of(f->a));
	net_guest_copy(f->b, f->a);
	f->vb->nic.stats_fault = MODEL_STATS_SHORT;
	assert_refused(f->b, net_device_ops.load, write_tree(f->a, net_device_ops.save),
		       "the device's answer to STATS_GET makes no sense");
	f->vb->nic.stats_fault = MODEL_STATS_GOOD;
	f->vb->faults.refuse_class = 8;
	assert_refused(f->b, net_device_ops.load, write_tree(f->a, net_device_ops.save),
		       "the device refused STATS_GET");
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	exchange(f->a, f->va, 0, 1);
	assert_true(counter(f->a, 0) == 0);
}

/* A ring's reset is one of the device behind it, which counts from somewhere else then: the guest sees no
 * difference, whether or not it had looked before. */
static void no_counter_goes_back_when_a_ring_is_reset(void **state)
{
	static const uint64_t counted[] = { 0, 1000000, UINT64_MAX };
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(counted); i++) {
		uint64_t before[5];

		spec.counted = counted[i];
		build_a(f, &spec);
		start_a(f, ALL);
		assert_true(query(f->a) == ALL_TYPES);
		before[4] = counter(f->a, 4);
		for (unsigned int queue = 0; queue < 4; queue++)
			before[queue] = counted[i];
		for (unsigned int reset = 0; reset < 5; reset++) {
			for (unsigned int queue = 0; queue < 4; queue++) {
				count(f->va, queue, 100 + queue);
				before[queue] += 100 + queue;
			}
			net_guest_reset_queue(f->a, reset);
			if (reset == 4)
				net_guest_enable_queue(f->a, reset);
			for (unsigned int queue = 0; queue < 4; queue++)
				assert_true(counter(f->a, queue) == before[queue]);
			assert_true(counter(f->a, 4) > before[4] && counter(f->a, 4) < before[4] + 100);
			before[4] = counter(f->a, 4);
			if (reset < 4)
				net_guest_enable_queue(f->a, reset);
		}
		build_b(f, &fake_vdpa_default);
		migrate(f);
		for (unsigned int queue = 0; queue < 4; queue++)
			assert_true(counter(f->b, queue) == before[queue]);
	}
}

/* The device does not say how far it has come, nor from where it counts then: what was shown is not taken
 * back. */
static void no_counter_goes_back_where_the_device_does_not_answer(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	assert_true(query(f->a) == ALL_TYPES);
	count(f->va, 0, 100);
	assert_true(counter(f->a, 0) == 100);
	count(f->va, 0, 5);
	f->va->faults.refuse_class = 8;
	net_guest_reset_queue(f->a, 1);
	net_guest_enable_queue(f->a, 1);
	f->va->faults.refuse_class = -1;
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
	count(f->va, 0, 7);
	assert_true(counter(f->a, 0) == 107);
	exchange(f->a, f->va, 0, 1);
}

/* The source's device does not answer in time: what the guest saw last is carried. It goes on, too, and the
 * late answer is nobody's. */
static void statistics_that_come_late_are_nobodys(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	assert_true(query(f->a) == ALL_TYPES);
	count(f->va, 0, 100);
	assert_true(counter(f->a, 0) == 100);
	count(f->va, 0, 1);
	build_b(f, &fake_vdpa_default);
	warm(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	stop_and_load(f);
	/* The device still has the first question, and gets no second one. */
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	net_device_ops.pause(device_of(f->a));
	assert_int_equal(commands(f->va), 3);
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
	net_guest_settle(f->a);
	fake_vdpa_release(f->va);
	assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), VIRTIO_NET_OK);
	assert_true(counter(f->a, 0) == 101);
	assert_true(f->va->nic.vlans[16]);
	/* The late answer may be in the ring before the next command. */
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_device_ops.pause(device_of(f->a));
	fake_vdpa_release(f->va);
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	assert_command(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x11\0", 2);
	assert_true(counter(f->a, 0) == 101);

	net_device_ops.resume(device_of(f->b), DEVICE_ARRIVED);
	net_device_ops.arrived(device_of(f->b));
	assert_true(counter(f->b, 0) == 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_guest_reads_what_the_device_counts),
		TEST(what_the_guest_has_read_is_told),
		TEST(a_wrong_request_for_statistics_never_reaches_the_device),
		TEST(statistics_that_make_no_sense_never_reach_the_guest),
		TEST(with_one_pair_the_control_queue_is_the_third),
		TEST(no_counter_goes_back_when_the_guest_moves),
		TEST(a_destination_must_count_what_the_guest_knows_of),
		TEST(no_counter_goes_back_when_a_ring_is_reset),
		TEST(no_counter_goes_back_where_the_device_does_not_answer),
		TEST(statistics_that_come_late_are_nobodys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
