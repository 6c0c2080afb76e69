/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A destination on the source's switch: what attracts traffic waits for the guest, and comes in one batch
 * before anything is decided. */
#include "tests/unit/devices/net/net_fixture.h"

static const uint8_t guest_mac[6] = { 0x52, 1, 2, 3, 4, 5 };
static const uint8_t macs[] = { 1, 0, 0, 0,    2, 0, 0, 0, 0, 9,    2, 0, 0,
				0, 1, 0, 0x5e, 0, 0, 1, 1, 0, 0x5e, 0, 0, 2 };

/* A guest that has set everything that attracts traffic, and more; a destination whose device has @mac. */
static void start(struct fixture *f, const uint8_t mac[6])
{
	struct fake_vdpa_spec spec = fake_vdpa_default;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 30, 1600);
	assert_command(f->a, 1, 1, guest_mac, 6);
	assert_command(f->a, 1, 0, macs, sizeof(macs));
	for (uint8_t mode = 0; mode < 3; mode++)
		assert_command(f->a, 0, mode, "\1", 1);
	assert_command(f->a, 2, 0, "\x64\0", 2);
	assert_command(f->a, 4, 0, "\2\0", 2);
	memcpy(spec.mac, mac, 6);
	fixture_config.shared_switch = true;
	build_b(f, &spec);
	fixture_config.shared_switch = false;
}

static const uint8_t other_mac[6] = { 0x52, 0x54, 0, 0, 0, 2 };

/* The destination's device lets through what it did, and the multicasts. */
static void assert_held_back(struct fixture *f, const uint8_t mac[6])
{
	const struct model_nic *nic = &f->vb->nic;

	fake_vdpa_lock(f->vb);
	assert_memory_equal(nic->mac, mac, 6);
	assert_int_equal(nic->modes[VIRTIO_NET_CTRL_RX_PROMISC], 0);
	assert_int_equal(nic->modes[VIRTIO_NET_CTRL_RX_ALLUNI], 0);
	assert_int_equal(nic->modes[VIRTIO_NET_CTRL_RX_ALLMULTI], 1);
	assert_int_equal(nic->n_unicast, 0);
	assert_int_equal(nic->n_multicast, 2);
	assert_memory_equal(nic->multicast[1], "\1\0\x5e\0\0\2", 6);
	assert_int_equal(nic->pairs, 2);
	fake_vdpa_unlock(f->vb);
}

static unsigned int answers(struct fixture *f)
{
	unsigned int n;

	fake_vdpa_lock(f->vb);
	n = f->vb->queues[fake_vdpa_ctrl_index(f->vb)].n_calls;
	fake_vdpa_unlock(f->vb);
	return n;
}

static void what_attracts_traffic_is_held_back_to_the_arrival(void **state)
{
	struct fixture *f = *state;
	unsigned int n_commands, n_answers;

	start(f, other_mac);
	warm(f);
	assert_held_back(f, other_mac);
	assert_false(f->vb->nic.vlans[100]);
	/* What comes later too. */
	assert_command(f->a, 1, 1, "\x52\1\2\3\4\6", 6);
	assert_command(f->a, 2, 0, "\x65\0", 2);
	assert_command(f->a, 7, 0, "\3\0\0\0", 4);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, false));
	assert_held_back(f, other_mac);
	assert_int_equal(model_nic_value(&f->vb->nic, 7, 0), 3);

	/* MAC_ADDR_SET, PROMISC, ALLUNI, MAC_TABLE_SET, two VLAN_ADD: one batch, for which one call is
	 * enough, if any. */
	n_commands = commands(f->vb);
	n_answers = answers(f);
	stop_and_load(f);
	assert_int_equal(commands(f->vb) - n_commands, 6);
	assert_in_range(answers(f) - n_answers, 0, 1);
	assert_same_device(f);
	assert_saved_alike(f);
	commit(f);
	net_guest_settle(f->b);
	exchange(f->b, f->vb, 0, 1);
}

/* Where the device has the guest's address already VLANs need not wait. */
static void vlans_need_not_wait_where_the_address_is_the_same(void **state)
{
	struct fixture *f = *state;
	unsigned int n_commands;

	start(f, guest_mac);
	warm(f);
	assert_held_back(f, guest_mac);
	assert_true(f->vb->nic.vlans[100]);
	n_commands = commands(f->vb);
	stop_and_load(f);
	assert_int_equal(commands(f->vb) - n_commands, 3);
	assert_same_device(f);
	commit(f);
}

/* It can be refused as late as that: then the source goes on. */
static void what_is_refused_at_the_arrival_keeps_the_guest_at_the_source(void **state)
{
	struct fixture *f = *state;

	start(f, other_mac);
	warm(f);
	fake_vdpa_lock(f->vb);
	f->vb->faults.refuse_class = VIRTIO_NET_CTRL_MAC;
	fake_vdpa_unlock(f->vb);
	net_device_ops.pause(device_of(f->a));
	net_guest_copy(f->b, f->a);
	assert_refused(f->b, net_device_ops.load, write_tree(f->a, net_device_ops.save),
		       "net0 (/dev/fake-vdpa): the device refused MAC_ADDR_SET 52:01:02:03:04:05");
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	exchange(f->a, f->va, 0, 1);
	assert_command(f->a, 2, 0, "\x66\0", 2);
}

/* The guest's reset brings back its own defaults, as everywhere. */
static void a_reset_at_the_destination_brings_its_defaults_back(void **state)
{
	struct fixture *f = *state;

	start(f, other_mac);
	migrate(f);
	assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	fake_vdpa_lock(f->vb);
	assert_memory_equal(f->vb->nic.mac, fake_vdpa_default.mac, 6);
	assert_int_equal(f->vb->nic.n_unicast, 0);
	fake_vdpa_unlock(f->vb);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_attracts_traffic_is_held_back_to_the_arrival),
		TEST(vlans_need_not_wait_where_the_address_is_the_same),
		TEST(what_is_refused_at_the_arrival_keeps_the_guest_at_the_source),
		TEST(a_reset_at_the_destination_brings_its_defaults_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
