/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passthrough on a vDPA device that cannot be suspended and has no control queue: over to shadow rings and
 * back, in the order that its rings must be in; and which mode each kind of device gets. */
#include "tests/unit/devices/vdpa/soft/soft_pair.h"

static int build_plain(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fixture_config = (struct net_config){ .mode = NET_PASSTHROUGH, .split_only = true };
	build_a(f, &fake_vdpa_plain);
	*state = f;
	return 0;
}

static int demolish_plain(void **state)
{
	fixture_config = (struct net_config){ .split_only = true };
	return teardown(state);
}

static void start_plain(struct fixture *f)
{
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	assert_true(passing(f->a));
}

static void a_device_without_suspend_goes_to_and_fro(void **state)
{
	struct fixture *f = *state;
	uint8_t data[100] = { 0 }, in[1600];
	struct fake_element e;

	start_plain(f);
	exchange(f->a, f->va, 0, 1);
	for (unsigned int round = 0; round < 3; round++) {
		/* Two packets, one of which the device has taken and not used: the order is kept. */
		for (uint8_t i = 0; i < 2; i++) {
			data[0] = i;
			assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
		}
		assert_true(fake_vdpa_take(f->va, 1, &e));
		track(f->a, true);
		assert_false(passing(f->a));
		for (uint8_t i = 0; i < 2; i++) {
			assert_int_equal(fake_vdpa_sent(f->va, 0, in, sizeof(in)), sizeof(data));
			assert_int_equal(in[0], i);
		}
		net_guest_settle(f->a);
		assert_int_equal(net_guest_reap(f->a, 0), 2);
		exchange(f->a, f->va, 0, 2);
		track(f->a, false);
		assert_true(passing(f->a));
		exchange(f->a, f->va, 0, 3);
		net_guest_post(f->a, 0, 2, 1600);
	}
}

/* What a device has out of order stays with it, on shadow rings, until it has given it back. */
static void a_device_without_suspend_waits_for_order(void **state)
{
	struct fixture *f = *state;
	struct fake_element first, second;
	uint8_t data[100] = { 0 };
	unsigned int n_resets;

	start_plain(f);
	track(f->a, true);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
	assert_true(fake_vdpa_take(f->va, 1, &first) && fake_vdpa_take(f->va, 1, &second));
	fake_vdpa_use(f->va, 1, second.head, 0);
	fake_vdpa_publish(f->va, 1);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_reap(f->a, 0), 1);
	n_resets = f->va->n_resets;
	track(f->a, false);
	assert_false(passing(f->a));
	exchange(f->a, f->va, 0, 1);
	poll(NULL, 0, 300);
	assert_false(passing(f->a));
	fake_vdpa_use(f->va, 1, first.head, 0);
	fake_vdpa_publish(f->va, 1);
	assert_returns(f->a);
	assert_int_equal(f->va->n_resets, n_resets + 1);
	assert_int_equal(net_guest_reap(f->a, 0), 1);
	exchange(f->a, f->va, 0, 2);
}

/* What the guest, or Ferry, has written into the doorbell of queue 1 since the last call; -1: nothing. */
static int rung(struct fake_vdpa *v)
{
	uint16_t value, none = 0xffff;

	assert_int_equal(pread(v->doorbells, &value, 2, PAGE_SIZE), 2);
	assert_int_equal(pwrite(v->doorbells, &none, 2, PAGE_SIZE), 2);
	return value == none ? -1 : value;
}

/* A guest's kick goes straight to a device with doorbells, as long as the rings are the device's. */
static void kicks_go_to_the_doorbells_of_the_device(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_plain;
	struct fixture *f = *state;

	spec.doorbells = true;
	build_a(f, &spec);
	start_plain(f);
	rung(f->va);
	for (unsigned int i = 0; i < 2; i++) {
		net_guest_kick(f->a, 1);
		assert_int_equal(rung(f->va), 1);
		exchange(f->a, f->va, 0, 1);
		track(f->a, true);
		rung(f->va);
		net_guest_kick(f->a, 1);
		assert_int_equal(rung(f->va), -1);
		exchange(f->a, f->va, 0, 2);
		track(f->a, false);
		/* For what was made available meanwhile. */
		assert_int_equal(rung(f->va), 1);
	}
	net_guest_reset(f->a);
	net_guest_kick(f->a, 1);
	assert_int_equal(rung(f->va), -1);
}

/* What such a device has, when it has not kept the order, nobody knows: the guest stays, and goes on. */
static void a_device_that_kept_no_order_keeps_its_guest(void **state)
{
	struct fixture *f = *state;
	struct fake_element first, second;
	uint8_t data[100] = { 0 }, in[1600];
	unsigned int n_resets;
	uint16_t head;
	uint32_t len;

	start_plain(f);
	n_resets = f->va->n_resets;
	for (unsigned int i = 0; i < 2; i++)
		assert_true(net_guest_send(f->a, 0, data, sizeof(data)));
	assert_true(fake_vdpa_take(f->va, 1, &first) && fake_vdpa_take(f->va, 1, &second));
	fake_vdpa_use(f->va, 1, second.head, 0);
	fake_vdpa_publish(f->va, 1);
	assert_not_tracked(f->a, "buffers of queue 1 in order");
	fake_vdpa_use(f->va, 1, first.head, 0);
	fake_vdpa_publish(f->va, 1);
	assert_int_equal(net_guest_reap(f->a, 0), 2);
	exchange(f->a, f->va, 0, 3);
	assert_int_equal(f->va->n_resets, n_resets);

	/* A full ring no longer shows what was used of it; but a buffer that is in it twice. */
	start_plain(f);
	net_guest_post(f->a, 0, 54, 1600);
	assert_true(fake_vdpa_take(f->va, 0, &first) && fake_vdpa_take(f->va, 0, &second));
	fake_vdpa_use(f->va, 0, second.head, 12);
	fake_vdpa_publish(f->va, 0);
	assert_int_equal(fake_driver_get_used(&f->a->queues[0], &head, &len), 1);
	assert_int_equal(net_guest_post(f->a, 0, 1, 1600), 1);
	assert_not_tracked(f->a, "buffers of queue 0 in order");
	fake_vdpa_use(f->va, 0, first.head, 12);
	fake_vdpa_publish(f->va, 0);
	assert_int_equal(net_guest_received(f->a, 0, in, sizeof(in)), 0);
}

static void create(struct vdpa *vdpa, enum net_mode mode, bool packed, bool may_pass, const char *reason)
{
	struct net_config config = { .mode = mode, .split_only = !packed, .packed_wanted = packed };
	struct fake_vm *host = fake_vm_new();
	struct error err = { 0 };
	struct pci_bus bus;
	struct net *net;
	int ret;

	assert_int_equal(memory_init(&host->vm.memory, NET_GUEST_MEM, &err), 0);
	assert_int_equal(pci_bus_init(&bus, &host->vm, &err), 0);
	ret = net_create(&net, &host->vm, &bus, vdpa, 0, &config, &err);
	if (reason) {
		assert_int_equal(ret, -ENOTSUP);
		assert_non_null(strstr(err.text, reason));
	} else {
		assert_int_equal(ret, 0);
		assert_int_equal(!(net->pins & NET_PIN_DEVICE), may_pass);
		net_destroy(net);
	}
	pci_bus_exit(&bus);
	memory_exit(&host->vm.memory);
	free(host);
}

static void the_mode_follows_from_device_and_options(void **state)
{
	static const struct {
		const struct fake_vdpa_spec *spec;
		enum net_mode mode;
		bool packed, may_pass;
		const char *reason;
	} rows[] = {
		{ &fake_vdpa_default, NET_AUTO, false, false, NULL },
		{ &fake_vdpa_default, NET_PASSTHROUGH, false, false,
		  "one address space for data and control queues" },
		{ &fake_vdpa_plain, NET_AUTO, false, false, NULL },
		{ &fake_vdpa_plain, NET_PASSTHROUGH, false, true, NULL },
		{ &fake_vdpa_plain, NET_PASSTHROUGH, true, false, "packed rings" },
		{ NULL, NET_AUTO, false, true, NULL },
		{ NULL, NET_AUTO, true, false, NULL },
		{ NULL, NET_SHADOW, false, false, NULL },
		{ NULL, NET_PASSTHROUGH, false, true, NULL },
	};
	struct soft_net net;

	soft_net_init(&net);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_vdpa *fake = rows[i].spec ? fake_vdpa_new(rows[i].spec) : NULL;

		create(fake ? &fake->vdpa : soft_net_device(&net, 1, CONFIG_DEFAULT_RING), rows[i].mode,
		       rows[i].packed, rows[i].may_pass, rows[i].reason);
		if (fake)
			fake_vdpa_free(fake);
	}
	soft_net_exit(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_device_without_suspend_goes_to_and_fro, build_plain,
						demolish_plain),
		cmocka_unit_test_setup_teardown(a_device_without_suspend_waits_for_order, build_plain,
						demolish_plain),
		cmocka_unit_test_setup_teardown(kicks_go_to_the_doorbells_of_the_device, build_plain,
						demolish_plain),
		cmocka_unit_test_setup_teardown(a_device_that_kept_no_order_keeps_its_guest, build_plain,
						demolish_plain),
		cmocka_unit_test(the_mode_follows_from_device_and_options),
	};

	fixture_config.split_only = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
