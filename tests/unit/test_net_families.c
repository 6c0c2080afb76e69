/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command families whose answer is more than an ack, and families in unusual company: through the NIC, and
 * across a migration. */
#include "tests/unit/net_fixture.h"

#define ALL_TYPES UINT64_C(0x1000f000f)

static void start(struct fixture *f, uint64_t features)
{
	assert_int_equal(net_guest_start(f->a, features), DRIVER_OK);
	net_guest_post(f->a, 0, 30, 1600);
	net_guest_settle(f->a);
}

static void command(struct net_guest *g, uint8_t class, uint8_t number, const void *data, uint32_t len)
{
	assert_int_equal(net_guest_command(g, class, number, data, len), VIRTIO_NET_OK);
}

/* Coalescing */

static void test_vq_get(void **state)
{
	static const uint8_t values[] = { 7, 0, 0, 0, 8, 0, 0, 0 };
	struct fixture *f = *state;
	uint8_t reply[64];

	start(f, ALL);
	command(f->a, 6, 2, "\1\0\0\0\7\0\0\0\x8\0\0\0", 12);
	assert_int_equal(net_guest_ask(f->a, 6, 3, "\1\0\0\0", 4, reply, 9), 9);
	assert_int_equal(reply[0], VIRTIO_NET_OK);
	assert_memory_equal(reply + 1, values, 8);
	/* More room than it needs stays as it was. */
	assert_int_equal(net_guest_ask(f->a, 6, 3, "\1\0\0\0", 4, reply, 64), 9);
	assert_memory_equal(reply + 1, values, 8);
	assert_int_equal(reply[9], 0xee);
	/* A device that reads the specification the other way: not one byte is changed. */
	f->va->nic.ack_last = true;
	assert_int_equal(net_guest_ask(f->a, 6, 3, "\1\0\0\0", 4, reply, 9), 9);
	assert_memory_equal(reply, values, 8);
	assert_int_equal(reply[8], VIRTIO_NET_OK);
	assert_int_equal(commands(f->va), 4);
	/* The control queue; too little room; and one that the device refuses. */
	assert_int_equal(net_guest_ask(f->a, 6, 3, "\4\0\0\0", 4, reply, 9), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	assert_int_equal(net_guest_ask(f->a, 6, 3, "\1\0\0\0", 4, reply, 8), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	assert_int_equal(commands(f->va), 4);
	f->va->nic.n_data = 1;
	assert_int_equal(net_guest_ask(f->a, 6, 3, "\1\0\0\0", 4, reply, 9), 1);
	assert_int_equal(reply[0], VIRTIO_NET_ERR);
	assert_int_equal(reply[1], 0xee);
	assert_int_equal(commands(f->va), 5);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

static void test_a_queue_that_is_not_enabled(void **state)
{
	struct fixture *f = *state;

	f->a->skipped = 3;
	start(f, ALL);
	assert_int_equal(net_guest_command(f->a, 6, 2, "\3\0\0\0\7\0\0\0\x8\0\0\0", 12), VIRTIO_NET_ERR);
	assert_int_equal(commands(f->va), 0);
	command(f->a, 6, 2, "\2\0\0\0\7\0\0\0\x8\0\0\0", 12);
	/* What holds for all holds for it too. */
	command(f->a, 6, 0, "\7\0\0\0\x8\0\0\0", 8);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_same_device(f);
	assert_int_equal(net_guest_command(f->b, 6, 2, "\3\0\0\0\7\0\0\0\x8\0\0\0", 12), VIRTIO_NET_ERR);
	command(f->b, 6, 2, "\1\0\0\0\7\0\0\0\x8\0\0\0", 12);
}

/* Its coalescing is that of its kind again, and the device behind it starts anew with the rest. */
static void test_a_queue_is_reset(void **state)
{
	struct fixture *f = *state;
	struct tree t;

	start(f, ALL);
	command(f->a, 6, 0, "\7\0\0\0\x8\0\0\0", 8);
	net_guest_reset_queue(f->a, 1);
	net_guest_enable_queue(f->a, 1);
	assert_int_equal(commands(f->va), 1);
	command(f->a, 6, 2, "\1\0\0\0\1\0\0\0\x2\0\0\0", 12);
	command(f->a, 6, 2, "\3\0\0\0\1\0\0\0\x2\0\0\0", 12);
	free(write_warm(f->a, true).fdt);
	net_guest_reset_queue(f->a, 1);
	t = write_warm(f->a, false);
	assert_non_null(t.fdt);
	free(t.fdt);
	assert_int_equal(commands(f->va), 2);
	assert_int_equal(f->va->nic.coal[1][0], 7);
	assert_int_equal(f->va->nic.coal[3][0], 1);
	assert_int_equal(net_guest_command(f->a, 6, 2, "\1\0\0\0\1\0\0\0\x2\0\0\0", 12), VIRTIO_NET_ERR);
	assert_int_equal(commands(f->va), 2);
	net_guest_enable_queue(f->a, 1);
	/* While a command about it is with the device. */
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_guest_command_begin(f->a, 6, 2, "\1\0\0\0\1\0\0\0\x2\0\0\0", 12);
	net_guest_settle(f->a);
	while (commands(f->va) < 3)
		poll(NULL, 0, 1);
	fake_vdpa_release(f->va);
	net_guest_reset_queue(f->a, 1);
	assert_int_equal(net_guest_command_end(f->a, 0), VIRTIO_NET_OK);
	assert_int_equal(f->va->nic.coal[1][0], 7);
	net_guest_enable_queue(f->a, 1);
	exchange(f->a, f->va, 0, 1);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_same_device(f);
	/* One that is reset where it has come to, and a device that refuses what the guest believes. */
	net_guest_reset_queue(f->b, 3);
	net_guest_enable_queue(f->b, 3);
	assert_int_equal(f->vb->nic.coal[3][0], 7);
	exchange(f->b, f->vb, 0, 2);
	f->vb->faults.refuse_class = 6;
	net_guest_reset_queue(f->b, 3);
	assert_int_equal(net_guest_status(f->b), BROKEN);
}

/* A command is with the device, and stays unanswered, while another queue is reset: the device that has begun
 * anew gets it again. About the queue itself it is refused then. */
static void test_a_queue_is_reset_under_a_command(void **state)
{
	static const struct {
		const char *data;
		int ack;
	} rows[] = {
		{ "\3\0\0\0\1\0\0\0\x2\0\0\0", VIRTIO_NET_OK },
		{ "\1\0\0\0\1\0\0\0\x2\0\0\0", VIRTIO_NET_ERR },
	};
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		start(f, ALL);
		fake_vdpa_lock(f->va);
		f->va->faults.hold = true;
		fake_vdpa_unlock(f->va);
		net_guest_command_begin(f->a, 6, 2, rows[i].data, 12);
		net_guest_settle(f->a);
		while (commands(f->va) < 1)
			poll(NULL, 0, 1);
		fake_vdpa_lock(f->va);
		f->va->faults.hold = false;
		fake_vdpa_unlock(f->va);
		net_guest_reset_queue(f->a, 1);
		assert_int_equal(net_guest_command_end(f->a, 2000), rows[i].ack);
		assert_int_equal(f->va->nic.coal[3][0], rows[i].ack == VIRTIO_NET_OK);
		assert_int_equal(f->va->nic.coal[1][0], 0);
		net_guest_enable_queue(f->a, 1);
		exchange(f->a, f->va, 0, 1);
	}
}

/* Statistics */

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

static void test_statistics(void **state)
{
	struct fixture *f = *state;
	uint8_t items[16 * 5], reply[1024];
	uint32_t len = 0, total = 0;

	start(f, ALL);
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

static void test_statistics_refused(void **state)
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

	start(f, ALL);
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
	start(f, ~(BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6)));
	assert_true(query(f->a) == (ALL_TYPES & ~BIT(2)));
	put_item(items, 0, BIT(2));
	n = commands(f->va);
	assert_int_equal(net_guest_ask(f->a, 8, 1, items, 16, reply, 512), 1);
	assert_int_equal(commands(f->va), n);
}

/* Linux walks through the answer by the lengths in it: one that is wrong never reaches it. */
static void test_statistics_that_make_no_sense(void **state)
{
	struct fixture *f = *state;
	uint8_t items[32], reply[512];

	start(f, ALL);
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
static void test_one_pair(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint8_t item[16], reply[64];

	spec.n_pairs = 4;
	start(f, ~(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS)));
	build_b(f, &spec);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(net_guest_ctrl(f->a), 2);
		assert_int_equal(net_guest_command(f->a, 6, 2, "\2\0\0\0\7\0\0\0\x8\0\0\0", 12),
				 VIRTIO_NET_ERR);
		command(f->a, 6, 2, "\1\0\0\0\7\0\0\0\x8\0\0\0", 12);
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
static void test_statistics_move(void **state)
{
	static const uint64_t counted[] = { 0, 1000000, 5, UINT64_MAX, 77 };
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint64_t before[5];

	start(f, ALL);
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
		/* What comes after the destination has started its device is counted at the source. */
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

static void test_statistics_that_the_destination_lacks(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	start(f, ALL);
	spec.stats_types &= ~BIT(3);
	build_b(f, &spec);
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	/* As long as the guest does not know it does not matter. */
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
		       "its answer to STATS_GET makes no sense");
	f->vb->nic.stats_fault = MODEL_STATS_GOOD;
	f->vb->faults.refuse_class = 8;
	assert_refused(f->b, net_device_ops.load, write_tree(f->a, net_device_ops.save),
		       "the device refused STATS_GET");
	net_device_ops.resume(device_of(f->a), false);
	exchange(f->a, f->va, 0, 1);
	assert_true(counter(f->a, 0) == 0);
}

/* A ring's reset is one of the device behind it, which counts from somewhere else then: the guest sees no
 * difference, whether or not it had looked before. */
static void test_statistics_over_a_ring_reset(void **state)
{
	static const uint64_t counted[] = { 0, 1000000, UINT64_MAX };
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(counted); i++) {
		uint64_t before[5];

		spec.counted = counted[i];
		build_a(f, &spec);
		start(f, ALL);
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
static void test_statistics_over_a_ring_reset_refused(void **state)
{
	struct fixture *f = *state;

	start(f, ALL);
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
static void test_statistics_that_come_late(void **state)
{
	struct fixture *f = *state;

	start(f, ALL);
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
	/* Not once more: the device still has the first question. */
	net_device_ops.resume(device_of(f->a), false);
	net_device_ops.pause(device_of(f->a));
	assert_int_equal(commands(f->va), 3);
	net_device_ops.resume(device_of(f->a), false);
	net_guest_command_begin(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x10\0", 2);
	net_guest_settle(f->a);
	fake_vdpa_release(f->va);
	assert_int_equal(net_guest_command_end(f->a, 2000), VIRTIO_NET_OK);
	assert_true(counter(f->a, 0) == 101);
	assert_true(f->va->nic.vlans[16]);
	/* And again, with the answer in the ring before the next command. */
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_device_ops.pause(device_of(f->a));
	fake_vdpa_release(f->va);
	net_device_ops.resume(device_of(f->a), false);
	command(f->a, VIRTIO_NET_CTRL_VLAN, 0, "\x11\0", 2);
	assert_true(counter(f->a, 0) == 101);

	net_device_ops.resume(device_of(f->b), true);
	assert_true(counter(f->b, 0) == 100);
}

/* Unusual company */

static void test_rss_without_mq(void **state)
{
	static const uint8_t rss[] = {
		0x3f, 0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 2, 0, 4, 1, 2, 3, 4
	};
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		/* The device has none, or the guest takes none. */
		if (i == 0)
			spec.features &= ~BIT(VIRTIO_NET_F_MQ);
		else
			spec = fake_vdpa_default;
		build_a(f, &spec);
		build_b(f, &spec);
		start(f, ~BIT(VIRTIO_NET_F_MQ));
		assert_int_equal(net_guest_ctrl(f->a), 4);
		assert_int_equal(net_guest_command(f->a, 4, 0, "\2\0", 2), VIRTIO_NET_ERR);
		command(f->a, 4, 1, rss, sizeof(rss));
		command(f->a, 6, 2, "\3\0\0\0\7\0\0\0\x8\0\0\0", 12);
		migrate(f);
		assert_same_device(f);
		assert_int_equal(f->vb->nic.steering, MODEL_RSS);
		net_guest_post(f->b, 1, 30, 1600);
		exchange(f->b, f->vb, 1, 1);
		command(f->b, 4, 1, rss, sizeof(rss));
	}
}

/* Its header has 20 bytes, with it or without RSS. */
static void test_hash_report(void **state)
{
	static const uint8_t hash[] = { 0x3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 7, 8 };
	const uint64_t sets[] = { ALL, ~BIT(VIRTIO_NET_F_RSS),
				  ~(BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_MQ)) };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(sets); i++) {
		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		start(f, sets[i]);
		assert_int_equal(fake_vdpa_header_len(f->va), 20);
		command(f->a, 4, 2, hash, sizeof(hash));
		command(f->a, 7, 0, "\x11\0\0\0", 4);
		exchange(f->a, f->va, 0, 1);
		migrate(f);
		assert_same_device(f);
		assert_int_equal(f->vb->nic.tunnel_types, 0x11);
		exchange(f->b, f->vb, 0, 2);
	}
}

static void test_segmentation_offloads(void **state)
{
	const uint64_t uso =
		BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) | BIT(VIRTIO_NET_F_HOST_USO);
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint8_t mask[8];

	spec.features |= uso;
	build_a(f, &spec);
	assert_true((net_guest_offered(f->a) & uso) == uso);
	/* None from 64 on. */
	net_guest_write(f->a, f->a->common + VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	assert_int_equal(net_guest_read(f->a, f->a->common + VIRTIO_PCI_COMMON_DF, 4), 0);
	start(f, ALL);
	put_le64(mask, BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_USO4));
	command(f->a, 5, 0, mask, 8);
	for (unsigned int bit = 46; bit < 48; bit++) {
		put_le64(mask, BIT(bit));
		assert_int_equal(net_guest_command(f->a, 5, 0, mask, 8), VIRTIO_NET_ERR);
	}
	build_b(f, &fake_vdpa_default);
	assert_refused(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe),
		       "uses VIRTIO_NET_F_GUEST_USO4");
	build_b(f, &spec);
	migrate(f);
	assert_same_device(f);
	exchange(f->b, f->vb, 0, 1);
}

/* The link is the host's: the guest is told of changes, and of the one that a migration is. */
static void test_link(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.features |= BIT(VIRTIO_NET_F_SPEED_DUPLEX);
	build_a(f, &spec);
	start(f, ALL);
	net_guest_interrupts(f->a, NET_GUEST_CONFIG);
	put_le32(f->va->config + 12, 25000);
	f->va->config[16] = 1;
	put_le16(f->va->config + 10, 9000); /* which the specification does not let it do */
	fake_vdpa_set_config_status(f->va, VIRTIO_NET_S_LINK_UP);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_interrupts(f->a, NET_GUEST_CONFIG), 1);
	assert_int_equal(net_guest_read(f->a, f->a->config + 12, 4), 25000);
	assert_int_equal(net_guest_read(f->a, f->a->config + 16, 1), 1);
	assert_int_equal(net_guest_read(f->a, f->a->config + 10, 2), 1500);
	/* No change, no interrupt. */
	fake_vdpa_set_config_status(f->va, VIRTIO_NET_S_LINK_UP);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_interrupts(f->a, NET_GUEST_CONFIG), 0);
	fake_vdpa_set_config_status(f->va, 0);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_interrupts(f->a, NET_GUEST_CONFIG), 1);
	assert_int_equal(net_guest_read(f->a, f->a->config + 6, 2), 0);
	/* The destination's link is up, and slower. */
	build_b(f, &spec);
	put_le32(f->vb->config + 12, 10000);
	fake_vdpa_set_config_status(f->vb, VIRTIO_NET_S_LINK_UP);
	net_guest_settle(f->b);
	migrate(f);
	assert_true(net_guest_interrupts(f->b, NET_GUEST_CONFIG) > 0);
	assert_true(net_guest_read(f->b, f->b->config + 6, 2) & VIRTIO_NET_S_LINK_UP);
	assert_int_equal(net_guest_read(f->b, f->b->config + 12, 4), 10000);
}

/* A device that offers what depends on more than it has, or whose configuration is too short. */
static void test_what_is_not_offered(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	const uint64_t stats = BIT(VIRTIO_NET_F_DEVICE_STATS) | BIT(VIRTIO_NET_F_NOTF_COAL) |
			       BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | BIT(VIRTIO_NET_F_HASH_TUNNEL);
	struct fake_vdpa *v;
	struct net_guest *g = calloc(1, sizeof(*g));

	assert_true((net_guest_offered(f->a) & stats) == stats);
	spec.features &= ~BIT(VIRTIO_NET_F_CTRL_VQ);
	build_a(f, &spec);
	assert_true((net_guest_offered(f->a) & stats) == 0);
	spec = fake_vdpa_default;
	spec.features &= ~(BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_HASH_REPORT));
	build_a(f, &spec);
	assert_true((net_guest_offered(f->a) & stats) == (stats & ~BIT(VIRTIO_NET_F_HASH_TUNNEL)));
	/* As linux/virtio_net.h has it. */
	v = fake_vdpa_new(&fake_vdpa_default);
	v->vdpa.config_len = 24;
	net_guest_init(g, v, &fixture_config);
	assert_true((net_guest_offered(g) & stats) == (stats & ~BIT(VIRTIO_NET_F_HASH_TUNNEL)));
	free_guest(&g, &v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_vq_get),
		TEST(test_a_queue_that_is_not_enabled),
		TEST(test_statistics),
		TEST(test_statistics_refused),
		TEST(test_statistics_that_make_no_sense),
		TEST(test_a_queue_is_reset),
		TEST(test_a_queue_is_reset_under_a_command),
		TEST(test_one_pair),
		TEST(test_statistics_move),
		TEST(test_statistics_that_the_destination_lacks),
		TEST(test_statistics_over_a_ring_reset),
		TEST(test_statistics_over_a_ring_reset_refused),
		TEST(test_statistics_that_come_late),
		TEST(test_rss_without_mq),
		TEST(test_hash_report),
		TEST(test_segmentation_offloads),
		TEST(test_link),
		TEST(test_what_is_not_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
