/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers that come back in order, whatever becomes of the device; how often either side is told of a batch;
 * and that what the device is about to send is waited for. */
#include "tests/unit/devices/net/net_fixture.h"

#include "devices/net/forward.h"

#define N_SENT 6u

static struct fake_vdpa_spec ordered_spec(void)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;

	spec.in_order = true;
	return spec;
}

static void build_ordered(struct fixture *f)
{
	const struct fake_vdpa_spec spec = ordered_spec();

	build_a(f, &spec);
	build_b(f, &spec);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_true(virtio_has(f->a->features, VIRTIO_F_IN_ORDER));
	/* The order is between the guest and Ferry: shadow rings do not keep the driver's part of it. */
	assert_false(virtio_has(f->va->features, VIRTIO_F_IN_ORDER));
}

/* The feature is not on offer where the device does not keep an order, or the user does not want it. */
static void order_is_offered_where_the_device_keeps_it(void **state)
{
	const struct fake_vdpa_spec spec = ordered_spec();
	struct fixture *f = *state;

	assert_false(virtio_has(net_guest_offered(f->a), VIRTIO_F_IN_ORDER));
	fixture_config.any_order = true;
	build_a(f, &spec);
	fixture_config.any_order = false;
	assert_false(virtio_has(net_guest_offered(f->a), VIRTIO_F_IN_ORDER));
	build_a(f, &spec);
	assert_true(virtio_has(net_guest_offered(f->a), VIRTIO_F_IN_ORDER));

	/* Who uses it does not come to a host without it. */
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	build_b(f, &fake_vdpa_default);
	assert_refused(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe),
		       "uses VIRTIO_F_IN_ORDER, which /dev/fake-vdpa does not offer");
}

/* N_SENT packets that the device has and has not used; @ids as it knows them. */
static void send_some(struct net_guest *g, struct fake_vdpa *v, uint32_t ids[N_SENT])
{
	struct fake_element e;
	uint8_t data[100];

	for (unsigned int i = 0; i < N_SENT; i++) {
		memset(data, (int)i, sizeof(data));
		assert_true(net_guest_send(g, 0, data, sizeof(data)));
	}
	for (unsigned int i = 0; i < N_SENT; i++) {
		assert_true(fake_vdpa_take(v, 1, &e));
		ids[i] = e.head;
	}
}

static void use(struct net_guest *g, struct fake_vdpa *v, uint32_t id)
{
	fake_vdpa_use(v, 1, id, 0);
	fake_vdpa_publish(v, 1);
	net_guest_settle(g);
}

/* Last first: the guest gets none before the first is done, and then all. Its driver looks at their order. */
static void a_guest_gets_its_buffers_back_in_order(void **state)
{
	struct fixture *f = *state;
	uint32_t ids[N_SENT];

	build_ordered(f);
	send_some(f->a, f->va, ids);
	for (unsigned int i = N_SENT - 1; i > 0; i--) {
		use(f->a, f->va, ids[i]);
		assert_int_equal(net_guest_reap(f->a, 0), 0);
	}
	net_guest_interrupts(f->a, 1);
	use(f->a, f->va, ids[0]);
	assert_int_equal(net_guest_interrupts(f->a, 1), 1);
	assert_int_equal(net_guest_reap(f->a, 0), N_SENT);
}

/* Such packets, of which some are done. */
static void begin(struct fixture *f, const unsigned int *done, unsigned int n)
{
	uint32_t ids[N_SENT];

	build_ordered(f);
	net_guest_post(f->a, 0, 30, 1600);
	send_some(f->a, f->va, ids);
	for (unsigned int i = 0; i < n; i++)
		use(f->a, f->va, ids[done[i]]);
}

/* The device has packet @i next; when it is done the guest gets @n_back. */
static void assert_next(struct net_guest *g, struct fake_vdpa *v, uint8_t i, unsigned int n_back)
{
	uint8_t data[100];

	assert_int_equal(sent(v, 0, data, sizeof(data)), sizeof(data));
	assert_int_equal(data[0], i);
	net_guest_settle(g);
	assert_int_equal(net_guest_reap(g, 0), n_back);
}

/* A buffer that is done and waits for an older one is carried: the next device gets the others alone. */
static void the_order_outlives_a_migration(void **state)
{
	struct fixture *f = *state;

	begin(f, (const unsigned int[]){ 5, 2, 1 }, 3);
	warm(f);
	/* Nothing of Ferry's own is before the guest's buffers. */
	assert_int_equal(fake_vdpa_waiting(f->vb, 0), 0);
	stop_and_load(f);
	assert_saved_alike(f);
	commit(f);
	net_guest_settle(f->b);
	assert_int_equal(net_guest_reap(f->b, 0), 0);
	assert_next(f->b, f->vb, 0, 3);
	assert_next(f->b, f->vb, 3, 1);
	assert_next(f->b, f->vb, 4, 2);
	for (uint8_t i = 0; i < 60; i++) {
		exchange(f->b, f->vb, 0, i);
		net_guest_post(f->b, 0, 1, 1600);
	}
}

/* A ring's reset gives everything else in flight to the device again, in the order that it had. */
static void the_order_outlives_a_rings_reset(void **state)
{
	struct fixture *f = *state;

	begin(f, (const unsigned int[]){ 3 }, 1);
	net_guest_reset_queue(f->a, 0);
	assert_next(f->a, f->va, 0, 1);
	assert_next(f->a, f->va, 1, 1);
	assert_next(f->a, f->va, 2, 2);
	assert_next(f->a, f->va, 4, 1);
	assert_next(f->a, f->va, 5, 1);
	net_guest_enable_queue(f->a, 0);
	net_guest_post(f->a, 0, 30, 1600);
	exchange(f->a, f->va, 0, 7);
}

/* Kicks that the device has got. */
static unsigned int kicks(struct net_guest *g, unsigned int queue)
{
	uint64_t count;

	return read(g->net->queues[queue].device_kick, &count, sizeof(count)) == sizeof(count)
		       ? (unsigned int)count
		       : 0;
}

/* @n buffers of a queue in one go, with a kick if one is wanted. */
static void add_batch(struct net_guest *g, unsigned int queue, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct virtio_seg seg = { UINT64_C(0x600000) + 2048 * i, 1600 };

		assert_true(fake_driver_add(&g->queues[queue], &seg, queue % 2, queue % 2 ? 0 : 1) >= 0);
	}
	if (fake_driver_publish(&g->queues[queue]))
		net_guest_kick(g, queue);
	net_guest_settle(g);
}

/* The device uses @n of them and says so once. */
static void use_batch(struct net_guest *g, struct fake_vdpa *v, unsigned int queue, unsigned int n)
{
	struct fake_element e;

	for (unsigned int i = 0; i < n; i++) {
		assert_true(fake_vdpa_take(v, queue, &e));
		fake_vdpa_use(v, queue, e.head, queue % 2 ? 0 : 12);
	}
	fake_vdpa_publish(v, queue);
	net_guest_settle(g);
}

static unsigned int take_batch(struct net_guest *g, unsigned int queue)
{
	unsigned int n = 0;
	uint16_t head;
	uint32_t len;

	while (fake_driver_get_used(&g->queues[queue], &head, &len) == 1)
		n++;
	return n;
}

static void want_kicks(struct fake_vdpa *v, unsigned int queue, bool want)
{
	fake_vdpa_lock(v);
	if (want)
		assert_false(fake_device_enable_kicks(&v->queues[queue].ring));
	else
		fake_device_disable_kicks(&v->queues[queue].ring);
	fake_vdpa_unlock(v);
}

/* One kick for a batch and one interrupt, if that is what the other side wants; else none. Whichever rule
 * the guest's ring and the device's follow: both, one of them, none by event index. */
static void a_batch_has_one_kick_and_one_interrupt(void **state)
{
	const uint64_t event_idx = BIT(VIRTIO_RING_F_EVENT_IDX);
	struct fixture *f = *state;

	for (unsigned int rules = 0; rules < 4; rules++) {
		struct fake_vdpa_spec spec = fake_vdpa_default;

		spec.features = rules & 1 ? spec.features | event_idx : spec.features & ~event_idx;
		build_a(f, &spec);
		assert_int_equal(net_guest_start(f->a, rules & 2 ? ALL : ~event_idx), DRIVER_OK);
		for (unsigned int queue = 0; queue < 2; queue++) {
			for (unsigned int wanted = 0; wanted < 4; wanted++) {
				bool kick = wanted & 1, interrupt = wanted & 2;
				struct fake_driver *driver = &f->a->queues[queue];

				want_kicks(f->va, queue, kick);
				kicks(f->a, queue);
				add_batch(f->a, queue, 40);
				assert_int_equal(kicks(f->a, queue), kick);
				assert_int_equal(fake_vdpa_waiting(f->va, queue), 40);
				if (interrupt)
					assert_false(fake_driver_enable_interrupts(driver));
				else
					fake_driver_disable_interrupts(driver);
				net_guest_interrupts(f->a, queue);
				use_batch(f->a, f->va, queue, 40);
				assert_int_equal(net_guest_interrupts(f->a, queue), interrupt);
				assert_int_equal(take_batch(f->a, queue), 40);
			}
		}
	}
}

static void send_packet(struct fake_vdpa *v)
{
	struct fake_element e;

	assert_true(fake_vdpa_take(v, 1, &e));
	fake_vdpa_use(v, 1, e.head, 0);
	fake_vdpa_publish(v, 1);
}

static void *send_late(void *arg)
{
	poll(NULL, 0, 20);
	send_packet(arg);
	return NULL;
}

/* Returns how many packets the device has then. */
static int flush(struct net *net, void *arg)
{
	net_queue_flush(&net->queues[1], end_of(*(int *)arg));
	return (int)net->queues[1].svq.n_in_flight;
}

static void a_flush_ends_once_the_device_has_sent_its_packets(void **state)
{
	struct fixture *f = *state;
	int ms = FAKE_PATIENCE_MS, none = 0;
	pthread_t thread;

	start_a(f, ALL);
	assert_true(net_guest_send(f->a, 0, "packet", 6));
	net_guest_settle(f->a);
	assert_int_equal(net_call(f->a->net, flush, &none), 1);
	assert_int_equal(pthread_create(&thread, NULL, send_late, f->va), 0);
	assert_int_equal(net_call(f->a->net, flush, &ms), 0);
	pthread_join(thread, NULL);
	assert_int_equal(net_guest_reap(f->a, 0), 1);
}

/* What the device has sent by then does not go out once more where the guest goes. */
static void a_pause_gives_the_device_twenty_milliseconds_to_send_its_packets(void **state)
{
	struct fixture *f = *state;
	uint64_t start_ns;

	start_a(f, ALL);
	track(f->a, true);
	assert_true(net_guest_send(f->a, 0, "packet", 6));
	net_guest_settle(f->a);
	start_ns = now_ns();
	net_device_ops.pause(device_of(f->a));
	assert_true(now_ns() - start_ns >= 20000000);
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	send_packet(f->va);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_reap(f->a, 0), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(order_is_offered_where_the_device_keeps_it),
		TEST(a_guest_gets_its_buffers_back_in_order),
		TEST(the_order_outlives_a_migration),
		TEST(the_order_outlives_a_rings_reset),
		TEST(a_batch_has_one_kick_and_one_interrupt),
		TEST(a_flush_ends_once_the_device_has_sent_its_packets),
		TEST(a_pause_gives_the_device_twenty_milliseconds_to_send_its_packets),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
