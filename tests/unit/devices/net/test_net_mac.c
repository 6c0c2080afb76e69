/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's MAC address: a device that has none, a guest that sets one, a stream that names one. */
#include <libfdt.h>

#include "tests/unit/devices/net/net_fixture.h"

/* Addresses that no interface can have. */
static const uint8_t bad_macs[][6] = {
	{ 0, 0, 0, 0, 0, 0 },
	{ 0x01, 0, 0x5e, 0, 0, 1 },
	{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	{ 0x53, 0x54, 0, 0, 0, 1 },
};

static bool is_bad(const uint8_t mac[6])
{
	return (mac[0] & 1) || memcmp(mac, bad_macs[0], 6) == 0;
}

static void read_mac(struct net_guest *g, uint8_t mac[6])
{
	for (unsigned int i = 0; i < 6; i++)
		mac[i] = (uint8_t)net_guest_read(g, g->config + i, 1);
}

static void device_mac(struct fake_vdpa *v, uint8_t mac[6])
{
	fake_vdpa_lock(v);
	memcpy(mac, v->nic.mac, 6);
	fake_vdpa_unlock(v);
}

static struct fake_vdpa_spec with_mac(const struct fake_vdpa_spec *spec, const uint8_t mac[6])
{
	struct fake_vdpa_spec with = *spec;

	memcpy(with.mac, mac, 6);
	return with;
}

static void a_device_without_an_address_gets_one(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad_macs); i++) {
		struct fake_vdpa_spec spec = with_mac(&fake_vdpa_default, bad_macs[i]);
		uint8_t shown[6], mac[6];

		build_a(f, &spec);
		start_a(f, ALL);
		assert_true(virtio_has(f->a->features, VIRTIO_NET_F_MAC));
		read_mac(f->a, shown);
		/* A local one. */
		assert_int_equal(shown[0] & 3, 2);
		device_mac(f->va, mac);
		assert_memory_equal(mac, shown, 6);
		exchange(f->a, f->va, 0, 1);
		/* The next driver finds the same, whatever this one has set. */
		assert_command(f->a, 1, 1, "\x52\7\7\7\7\7", 6);
		net_guest_reset(f->a);
		start_a(f, ALL);
		read_mac(f->a, mac);
		assert_memory_equal(mac, shown, 6);
		device_mac(f->va, mac);
		assert_memory_equal(mac, shown, 6);
	}
}

/* The interface comes up on a device that cannot be told, and with a driver that cannot tell it. */
static void a_device_that_cannot_be_told_starts_all_the_same(void **state)
{
	struct fake_vdpa_spec plain = with_mac(&fake_vdpa_plain, bad_macs[0]);
	struct fake_vdpa_spec spec = with_mac(&fake_vdpa_default, bad_macs[0]);
	struct fixture *f = *state;
	uint8_t mac[6];

	build_a(f, &plain);
	start_a(f, ALL);
	read_mac(f->a, mac);
	assert_false(is_bad(mac));
	exchange(f->a, f->va, 0, 1);

	build_a(f, &spec);
	start_a(f, ~BIT(VIRTIO_NET_F_CTRL_MAC_ADDR));
	read_mac(f->a, mac);
	assert_false(is_bad(mac));
	exchange(f->a, f->va, 0, 1);
}

/* Without VIRTIO_NET_F_MAC the driver takes one of its own, and the field says nothing. */
static void a_device_without_the_feature_leaves_the_address_to_the_driver(void **state)
{
	struct fake_vdpa_spec spec = with_mac(&fake_vdpa_default, bad_macs[1]);
	struct fixture *f = *state;
	uint8_t mac[6];

	spec.features &= ~BIT(VIRTIO_NET_F_MAC);
	build_a(f, &spec);
	start_a(f, ALL);
	read_mac(f->a, mac);
	assert_memory_equal(mac, bad_macs[0], 6);
	build_b(f, &spec);
	migrate(f);
	net_guest_settle(f->b);
	assert_command(f->b, 1, 1, "\x52\7\7\7\7\7", 6);
	swap(f);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_same_device(f);
	exchange(f->b, f->vb, 0, 1);
}

static void an_address_of_ferrys_choice_moves_with_the_guest(void **state)
{
	struct fake_vdpa_spec spec = with_mac(&fake_vdpa_default, bad_macs[0]);
	struct fixture *f = *state;
	uint8_t shown[6], mac[6];

	build_a(f, &spec);
	start_a(f, ALL);
	read_mac(f->a, shown);
	/* The guest moves to a device without an address, to one with its own, and back. */
	for (unsigned int i = 0; i < 3; i++) {
		build_b(f, i == 1 ? &fake_vdpa_default : &spec);
		migrate(f);
		read_mac(f->b, mac);
		assert_memory_equal(mac, shown, 6);
		device_mac(f->vb, mac);
		assert_memory_equal(mac, shown, 6);
		/* After its reset the guest has the same address. */
		start_a(&(struct fixture){ .a = f->b }, ALL);
		read_mac(f->b, mac);
		assert_memory_equal(mac, shown, 6);
		device_mac(f->vb, mac);
		assert_memory_equal(mac, shown, 6);
		swap(f);
	}
}

/* Whether its filter would let the guest's packets pass nobody knows. */
static void a_destination_without_an_address_must_be_told_the_guests(void **state)
{
	struct fake_vdpa_spec spec = with_mac(&fake_vdpa_default, bad_macs[0]);
	struct fixture *f = *state;

	build_b(f, &spec);
	start_a(f, ~BIT(VIRTIO_NET_F_CTRL_MAC_ADDR));
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, true),
		       "the guest's MAC address is 52:54:00:00:00:01, the device's is 00:00:00:00:00:00 and "
		       "cannot be set by this driver (move the switch)");
	exchange(f->a, f->va, 0, 1);
}

static void a_guest_cannot_set_what_no_interface_has(void **state)
{
	struct fixture *f = *state;
	unsigned int n;
	uint8_t mac[6];

	start_a(f, ALL);
	n = commands(f->va);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_macs); i++)
		assert_int_equal(net_guest_command(f->a, 1, 1, bad_macs[i], 6), VIRTIO_NET_ERR);
	/* The device has not seen it, and all is as it was. */
	assert_int_equal(commands(f->va), n);
	read_mac(f->a, mac);
	assert_memory_equal(mac, fake_vdpa_default.mac, 6);
	assert_command(f->a, 1, 1, "\x52\7\7\7\7\7", 6);
	/* Tables are filters: a guest may look for whatever it likes. */
	assert_command(f->a, 1, 0, "\1\0\0\0\1\0\x5e\0\0\1\1\0\0\0\0\0\0\0\0\0", 20);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_same_device(f);
}

/* Streams that no source wrote. The property at @path becomes @mac, or its first bytes do. */
static struct tree put_mac(struct tree t, const char *path, const char *name, const uint8_t mac[6])
{
	int node = fdt_path_offset(t.fdt, path), len;
	uint8_t *p = fdt_getprop_w(t.fdt, node, name, &len);

	assert_true(node >= 0 && p && len >= 6);
	memcpy(p, mac, 6);
	return t;
}

static void assert_no_mac(struct fixture *f, int (*fn)(struct device *, struct state_node *), struct tree t)
{
	unsigned int n = commands(f->vb);

	assert_refused(f->b, fn, t, "no");
	assert_int_equal(commands(f->vb), n);
}

static void a_stream_cannot_bring_what_no_interface_has(void **state)
{
	static const struct {
		const char *path, *name;
	} warm_places[] = { { "/", "mac" }, { "/cvq", "mac" } },
	  load_places[] = { { "/warm", "mac" }, { "/warm/cvq", "mac" } };
	struct fixture *f = *state;

	start_a(f, ALL);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad_macs); i++) {
		build_b(f, &fake_vdpa_default);
		assert_refused(f->b, net_device_ops.accept,
			       put_mac(write_tree(f->a, net_device_ops.describe), "/", "provisioned-mac",
				       bad_macs[i]),
			       "the guest's provisioned MAC address is ");
		assert_refused(f->b, net_device_ops.accept,
			       put_mac(write_tree(f->a, net_device_ops.describe), "/", "config", bad_macs[i]),
			       "which no interface can have");
		assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
		for (unsigned int p = 0; p < ARRAY_SIZE(warm_places); p++)
			assert_no_mac(f, net_device_ops.warm_load,
				      put_mac(write_warm(f->a, true), warm_places[p].path,
					      warm_places[p].name, bad_macs[i]));
		assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
		net_device_ops.pause(device_of(f->a));
		for (unsigned int p = 0; p < ARRAY_SIZE(load_places); p++)
			assert_no_mac(f, net_device_ops.load,
				      put_mac(write_tree(f->a, net_device_ops.save), load_places[p].path,
					      load_places[p].name, bad_macs[i]));
		net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
		exchange(f->a, f->va, 0, 1);
	}
	build_b(f, &fake_vdpa_default);
	migrate(f);
	exchange(f->b, f->vb, 0, 1);
}

/* Zero stands for none where the guest was not offered one; a group's address stands for nothing. */
static void a_stream_brings_no_address_where_none_was_offered(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.features &= ~BIT(VIRTIO_NET_F_MAC);
	build_a(f, &spec);
	start_a(f, ALL);
	build_b(f, &spec);
	assert_refused(
		f->b, net_device_ops.accept,
		put_mac(write_tree(f->a, net_device_ops.describe), "/", "provisioned-mac", bad_macs[1]),
		"01:00:5e:00:00:01, which no interface can have");
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	assert_refused(f->b, net_device_ops.warm_load,
		       put_mac(write_warm(f->a, true), "/", "mac", bad_macs[1]),
		       "01:00:5e:00:00:01, which no interface can have");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_device_without_an_address_gets_one),
		T(a_device_that_cannot_be_told_starts_all_the_same),
		T(a_device_without_the_feature_leaves_the_address_to_the_driver),
		T(an_address_of_ferrys_choice_moves_with_the_guest),
		T(a_destination_without_an_address_must_be_told_the_guests),
		T(a_guest_cannot_set_what_no_interface_has),
		T(a_stream_cannot_bring_what_no_interface_has),
		T(a_stream_brings_no_address_where_none_was_offered),
	};

	log_level = LOG_ERROR;
	return run_formats(tests, ARRAY_SIZE(tests));
}
