/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a destination refuses: a host that cannot do what the source did, and trees that no source wrote. */
#include <libfdt.h>

#include "tests/unit/devices/net/net_fixture.h"

static void start(struct fixture *f)
{
	uint8_t types[9];

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 30, 1600);
	assert_int_equal(net_guest_command(f->a, 2, 0, "\x64\0", 2), VIRTIO_NET_OK);
	assert_int_equal(net_guest_command(f->a, 4, 0, "\2\0", 2), VIRTIO_NET_OK);
	assert_int_equal(net_guest_command(f->a, 1, 1, "\x52\7\7\7\7\7", 6), VIRTIO_NET_OK);
	assert_int_equal(net_guest_ask(f->a, 8, 0, NULL, 0, types, sizeof(types)), sizeof(types));
	net_guest_settle(f->a);
}

/* The destination refuses, and the source's guest goes on. */
static void assert_not_accepted(struct fixture *f, const struct fake_vdpa_spec *spec, const char *reason)
{
	build_b(f, spec);
	assert_refused(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe), reason);
	exchange(f->a, f->va, 0, 1);
}

static void what_a_destination_lacks_is_refused_by_name(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	start(f);
	spec.n_pairs = 1;
	assert_not_accepted(f, &spec, "2 queue pairs, /dev/fake-vdpa has 1 (pull the lever)");
	spec = fake_vdpa_default;
	spec.features &= ~BIT(VIRTIO_NET_F_CTRL_VLAN);
	assert_not_accepted(f, &spec, "uses VIRTIO_NET_F_CTRL_VLAN, which /dev/fake-vdpa does not offer");
	spec.features &= ~BIT(VIRTIO_NET_F_CTRL_RX_EXTRA);
	assert_not_accepted(f, &spec, "VIRTIO_NET_F_CTRL_RX_EXTRA"); /* both of them */
	assert_not_accepted(f, &spec, "VIRTIO_NET_F_CTRL_VLAN");
	spec.features &= ~BIT(VIRTIO_NET_F_CTRL_VQ);
	assert_not_accepted(f, &spec, "VIRTIO_NET_F_CTRL_VQ");
	spec = fake_vdpa_default;
	spec.ring_size = 32;
	assert_not_accepted(f, &spec, "queue 0 has up to 64 entries, /dev/fake-vdpa takes 32, and 3 like it");
	spec = fake_vdpa_default;
	spec.mtu = 9000;
	assert_not_accepted(f, &spec, "MTU is 1500, /dev/fake-vdpa has 9000 (turn the screw)");
	spec = fake_vdpa_default;
	spec.rss_max_table = 64;
	assert_not_accepted(f, &spec, "VIRTIO_NET_F_RSS");

	spec = fake_vdpa_default;
	spec.tunnel_types = 0xff;
	assert_not_accepted(f, &spec, "VIRTIO_NET_F_HASH_TUNNEL");
	spec = fake_vdpa_default;
	spec.ctrl_ring_size = 1;
	build_b(f, &spec);
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, true),
		       "the control queue has a ring of 1 entries");

	/* What the driver does not use, but can count. */
	assert_int_equal(net_guest_start(f->a, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF)),
			 DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	spec = fake_vdpa_default;
	spec.features &= ~(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_CTRL_VQ));
	assert_not_accepted(f, &spec, "has been shown VIRTIO_NET_F_CTRL_VQ");

	build_b(f, &fake_vdpa_default);
	migrate(f);
	exchange(f->b, f->vb, 0, 1);
}

/* Compared before the guest has memory; and who has begun to give that to the device, which is slow, goes on.
 */
static void a_nic_compares_before_there_is_memory(void **state)
{
	struct fixture *f = *state;
	struct net_guest *g = calloc(1, sizeof(*g));
	struct fake_vdpa *v = fake_vdpa_new(&fake_vdpa_default);
	struct error err = { 0 };

	start(f);
	assert_non_null(g);
	*g = (struct net_guest){ .host = fake_vm_new(), .vdpa = v };
	g->vm = &g->host->vm;
	memory_frame(&g->vm->memory, NET_GUEST_MEM);
	assert_int_equal(pci_bus_init(&g->bus, g->vm, &err), 0);
	assert_int_equal(net_create(&g->net, g->vm, &g->bus, &v->vdpa, 0, &fixture_config, &err), 0);
	/* How far the device reaches is one reason among others. */
	v->vdpa.iova_last = MEMORY_HIGH_BASE;
	assert_refused(g, net_device_ops.accept, write_tree(f->a, net_device_ops.describe),
		       "this guest needs 0 to 0x");
	v->vdpa.iova_last = UINT64_MAX;
	assert_taken(g, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	assert_int_equal(v->n_regions, 0);
	assert_int_equal(memory_fill(&g->vm->memory, &err), 0);

	/* The device is in the middle of something. */
	fake_vdpa_lock(v);
	net_map_begin(g->net);
	assert_int_equal(v->n_regions, 0);
	fake_vdpa_unlock(v);
	assert_int_equal(net_wait_mapped(g->net, &err), 0);
	assert_true(v->n_regions > 0);
	f->b = g;
	f->vb = v;
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
}

/* What was offered and not accepted need not be there. */
static void features_that_the_guest_does_not_use_may_be_missing(void **state)
{
	const uint64_t unused = BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_MTU) |
				BIT(VIRTIO_NET_F_HASH_TUNNEL) | BIT(VIRTIO_NET_F_NOTF_COAL);
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	uint64_t features;

	assert_int_equal(net_guest_start(f->a, ~unused), DRIVER_OK);
	features = f->a->features;
	net_guest_post(f->a, 0, 30, 1600);
	assert_int_equal(net_guest_command(f->a, 1, 1, "\x52\7\7\7\7\7", 6), VIRTIO_NET_OK);
	/* Some are not there at all, others with other limits. */
	spec.features &= ~(BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_NOTF_COAL));
	spec.rss_max_table = 64;
	spec.tunnel_types = 1;
	spec.mtu = 9000;
	/* Two descriptors of it are enough for any command. */
	spec.ctrl_ring_size = 2;
	build_b(f, &spec);
	migrate(f);
	exchange(f->b, f->vb, 0, 1);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(net_guest_command(f->b, 0, 0, i % 2 ? "\1" : "\0", 1), VIRTIO_NET_OK);
	/* The configuration and the queues are as they were. */
	assert_int_equal(net_guest_read(f->b, f->b->config + 10, 2), 1500);
	assert_int_equal(net_guest_read(f->b, f->b->config + 18, 2), 128);
	assert_int_equal(net_guest_read(f->b, f->b->common + VIRTIO_PCI_COMMON_NUMQ, 2), 5);
	net_guest_write(f->b, f->b->common + VIRTIO_PCI_COMMON_Q_SELECT, 4, 2);
	assert_int_equal(net_guest_read(f->b, f->b->common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	/* Back to a host that has them: gone is gone, and what was accepted can be accepted again. */
	swap(f);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_int_equal(net_guest_offered(f->b) & unused, 0);
	assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	assert_true(f->b->features == features);
}

static void a_host_that_has_more_shows_what_the_source_has_shown(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.n_pairs = 4;
	spec.ring_size = 256;
	spec.rss_max_table = 1024;
	spec.mac[5] = 99;
	spec.features |= BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_HOST_TSO6);
	build_b(f, &spec);
	start(f);
	migrate(f);
	assert_int_equal(net_guest_read(f->b, f->b->common + VIRTIO_PCI_COMMON_NUMQ, 2), 5);
	assert_int_equal(net_guest_read(f->b, f->b->config + 8, 2), 2);
	assert_int_equal(net_guest_read(f->b, f->b->config + 18, 2), 128);
	net_guest_settle(f->b);
	net_guest_post(f->b, 1, 30, 1600);
	exchange(f->b, f->vb, 1, 1);
	exchange(f->b, f->vb, 0, 1);
	assert_int_equal(net_guest_command(f->b, 2, 0, "\x65\0", 2), VIRTIO_NET_OK);
	fake_vdpa_lock(f->vb);
	assert_true(f->vb->nic.vlans[100] && f->vb->nic.vlans[101]);
	fake_vdpa_unlock(f->vb);
	/* Its own driver after a reboot sees no more than it did. */
	assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
	assert_int_equal(f->b->features, f->a->features);
	fake_vdpa_lock(f->vb);
	assert_memory_equal(f->vb->nic.mac, fake_vdpa_default.mac, 6);
	fake_vdpa_unlock(f->vb);
	/* And it is a source of its own. */
	swap(f);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	net_guest_post(f->b, 0, 30, 1600);
	exchange(f->b, f->vb, 0, 1);
}

static void a_command_that_the_destination_refuses_is_named(void **state)
{
	static const struct {
		int class;
		const char *reason;
	} refusals[] = {
		{ 2, "net0 (/dev/fake-vdpa): the device refused VLAN_ADD 100" },
		{ 1, "the device refused MAC_ADDR_SET 52:07:07:07:07:07" },
		{ 4, "the device refused MQ_VQ_PAIRS_SET 2" },
	};
	struct fixture *f = *state;

	start(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(refusals); i++) {
		build_b(f, &fake_vdpa_default);
		f->vb->faults.refuse_class = refusals[i].class;
		f->vb->faults.reverse = i == 1;
		assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
		assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, true), refusals[i].reason);
		exchange(f->a, f->va, 0, 1);
	}
	/* The third of the few that are left. */
	build_b(f, &fake_vdpa_default);
	f->vb->faults.refuse_nth = 3;
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, true), "MQ_VQ_PAIRS_SET 2");

	build_b(f, &fake_vdpa_default);
	f->vb->faults.reverse = true;
	migrate(f);
	exchange(f->b, f->vb, 0, 1);
}

static void a_device_that_fails_early_ends_the_migration(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;

	start(f);
	for (unsigned int i = 0; i < 3; i++) {
		build_b(f, &fake_vdpa_default);
		assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
		f->vb->faults.gone = i == 0;
		f->vb->faults.refuse_features_ok = i == 1;
		if (i == 2) {
			/* After the first, while nobody uses it. */
			assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
			assert_true(fake_vdpa_take(f->vb, 0, &e));
			fake_vdpa_use(f->vb, 0, 64, 0);
			fake_vdpa_publish(f->vb, 0);
			net_guest_settle(f->b);
		}
		assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, true), "/dev/fake-vdpa");
		exchange(f->a, f->va, 0, 1);
	}
}

static void a_mac_address_that_cannot_be_set_is_refused(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.mac[5] = 2;
	build_b(f, &spec);
	assert_int_equal(net_guest_start(f->a, ~BIT(VIRTIO_NET_F_CTRL_MAC_ADDR)), DRIVER_OK);
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	assert_refused(
		f->b, net_device_ops.warm_load, write_warm(f->a, true),
		"the guest's MAC address is 52:54:00:00:00:01, the device's is 52:54:00:00:00:02 and cannot "
		"be set by this driver (move the switch)");
}

/* Trees that were tampered with */

static void a_state_cut_off_anywhere_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct tree trees[3];
	int (*const ops[])(struct device *, struct state_node *) = {
		net_device_ops.accept,
		net_device_ops.warm_load,
		net_device_ops.load,
	};
	struct error err;

	start(f);
	build_b(f, &fake_vdpa_default);
	trees[0] = write_tree(f->a, net_device_ops.describe);
	trees[1] = write_warm(f->a, true);
	net_device_ops.pause(device_of(f->a));
	net_guest_copy(f->b, f->a);
	trees[2] = write_tree(f->a, net_device_ops.save);
	for (unsigned int i = 0; i < 3; i++) {
		for (uint32_t len = 0; len < trees[i].len; len++) {
			/* Exact, so that the sanitizer sees the end. */
			void *cut = malloc(len ? len : 1);

			memcpy(cut, trees[i].fdt, len);
			assert_true(read_tree(f->b, ops[i], cut, len, &err) < 0);
			free(cut);
		}
		assert_int_equal(read_tree(f->b, ops[i], trees[i].fdt, trees[i].len, &err), 0);
		free(trees[i].fdt);
	}
	net_device_ops.resume(device_of(f->b), DEVICE_ARRIVED);
	net_device_ops.arrived(device_of(f->b));
	exchange(f->b, f->vb, 0, 1);
}

/* Calls @fn for every property of the tree, in place. Returns how many there are. */
static unsigned int each_property(void *fdt, unsigned int only, void (*fn)(uint8_t *, int, unsigned int),
				  unsigned int how)
{
	unsigned int n = 0;
	int prop;

	for (int node = 0; node >= 0; node = fdt_next_node(fdt, node, NULL)) {
		fdt_for_each_property_offset(prop, fdt, node)
		{
			int len;
			const void *data = fdt_getprop_by_offset(fdt, prop, NULL, &len);

			if (n++ == only)
				fn((uint8_t *)(uintptr_t)data, len, how);
		}
	}
	return n;
}

static void damage(uint8_t *data, int len, unsigned int how)
{
	if (len == 0)
		return;
	if (how == 0)
		memset(data, 0xff, (size_t)len);
	else if (how == 1)
		memset(data, 0, (size_t)len);
	else if (how == 2)
		data[len - 1] ^= 1;
	else
		data[0] ^= 0x80;
}

/* Counts what a load does to the device, the transport and the rings. */
struct touched {
	unsigned int n_resets, n_commands, n_regions;
	uint8_t device_status, status;
	bool started, has_rings;
	uint8_t mac[6];
};

static struct touched look(struct net_guest *g, struct fake_vdpa *v)
{
	struct touched t;

	memset(&t, 0, sizeof(t));
	fake_vdpa_lock(v);
	t.n_resets = v->n_resets;
	t.n_commands = v->n_commands;
	t.n_regions = v->n_regions;
	t.device_status = v->status;
	fake_vdpa_unlock(v);
	t.status = g->net->virtio.status;
	t.started = g->net->backend.started;
	t.has_rings = g->net->queues[0].held;
	net_space_get_mac(&g->net->space, t.mac);
	return t;
}

/* Accepts, loads ahead, loads, goes on, with property @n of tree @which damaged. A state that is not good as
 * a whole has not begun to do anything: only what the device itself says may come after that. */
static bool take_damaged(struct fixture *f, const struct tree *trees, unsigned int which, unsigned int n,
			 unsigned int how)
{
	int (*const ops[])(struct device *, struct state_node *) = {
		net_device_ops.accept,
		net_device_ops.warm_load,
		net_device_ops.load,
	};
	struct error err;

	build_b(f, &fake_vdpa_default);
	/* The rings. */
	memcpy(memory_at(&f->b->vm->memory, 0x100000, 0x50000),
	       memory_at(&f->a->vm->memory, 0x100000, 0x50000), 0x50000);
	for (unsigned int i = 0; i < 3; i++) {
		struct touched before = look(f->b, f->vb), after;
		void *fdt = malloc(trees[i].len);
		int ret;

		memcpy(fdt, trees[i].fdt, trees[i].len);
		if (i == which)
			each_property(fdt, n, damage, how);
		ret = read_tree(f->b, ops[i], fdt, trees[i].len, &err);
		free(fdt);
		after = look(f->b, f->vb);
		if (ret < 0 && !strstr(err.text, "(/dev/fake-vdpa): "))
			assert_memory_equal(&after, &before, sizeof(before));
		if (ret < 0)
			return false;
	}
	net_device_ops.resume(device_of(f->b), DEVICE_ARRIVED);
	net_device_ops.arrived(device_of(f->b));
	net_guest_settle(f->b);
	return true;
}

static void a_damaged_state_is_refused_before_anything_is_done(void **state)
{
	struct fixture *f = *state;
	struct tree trees[3];
	unsigned int n_taken = 0, n_tried = 0;

	start(f);
	trees[0] = write_tree(f->a, net_device_ops.describe);
	trees[1] = write_warm(f->a, true);
	/* The driver begins anew: with the guest comes a start of the device. */
	start(f);
	net_device_ops.pause(device_of(f->a));
	trees[2] = write_tree(f->a, net_device_ops.save);
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int n = each_property(trees[i].fdt, UINT32_MAX, damage, 0);

		for (unsigned int k = 0; k < 4 * n; k++) {
			n_taken += take_damaged(f, trees, i, k / 4, k % 4);
			n_tried++;
		}
	}
	/* Some values can be anything; most cannot. */
	assert_true(n_tried > 300 && n_taken < n_tried / 2);
	for (unsigned int i = 0; i < 3; i++)
		free(trees[i].fdt);
}

/* Something that nobody asked for, behind all that is good: in the tree, and in each of its nodes. */
static void a_state_with_something_left_over_does_nothing(void **state)
{
	struct fixture *f = *state;
	int (*const ops[])(struct device *, struct state_node *) = { net_device_ops.warm_load,
								     net_device_ops.load };
	struct tree trees[2];

	start(f);
	build_b(f, &fake_vdpa_default);
	warm(f);
	assert_command(f->a, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\x65\0", 2);
	trees[0] = write_warm(f->a, true);
	start(f);
	net_device_ops.pause(device_of(f->a));
	net_guest_copy(f->b, f->a);
	trees[1] = write_tree(f->a, net_device_ops.save);
	for (unsigned int i = 0; i < 2; i++) {
		const struct touched before = look(f->b, f->vb);
		uint32_t len = trees[i].len + 4096;
		uint8_t *fdt = malloc(len);
		struct touched after;
		struct error err;

		for (int node = 0; node >= 0; node = fdt_next_node(trees[i].fdt, node, NULL)) {
			assert_int_equal(fdt_open_into(trees[i].fdt, fdt, (int)len), 0);
			assert_int_equal(fdt_setprop_u32(fdt, node, "zz-more", 1), 0);
			assert_true(read_tree(f->b, ops[i], fdt, fdt_totalsize(fdt), &err) < 0);
			after = look(f->b, f->vb);
			assert_memory_equal(&after, &before, sizeof(before));
		}
		free(fdt);
	}
	for (unsigned int i = 0; i < 2; i++)
		assert_taken(f->b, ops[i], trees[i]);
	net_device_ops.resume(device_of(f->b), DEVICE_ARRIVED);
	net_device_ops.arrived(device_of(f->b));
	exchange(f->b, f->vb, 0, 1);
}

static void set_pairs(uint8_t *data, int len, unsigned int how)
{
	if (len == NET_CONFIG_LEN)
		data[8] = (uint8_t)how;
}

static void a_wrong_description_is_refused(void **state)
{
	struct fixture *f = *state;
	struct tree t;

	start(f);
	build_b(f, &fake_vdpa_default);
	net_guest_offered(f->b);
	t = write_tree(f->a, net_device_ops.describe);
	for (unsigned int i = 0; i < 8; i++)
		each_property(t.fdt, i, set_pairs, 9);
	assert_taken(f->b, net_device_ops.accept, t);
	assert_int_equal(net_guest_read(f->b, f->b->config + 8, 2), 2);
}

static void a_guest_may_arrive_without_a_state_ahead(void **state)
{
	struct fixture *f = *state;

	/* The state holds all that goes ahead, so that a destination can do without. */
	for (unsigned int i = 0; i < 2; i++) {
		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		if (i == 0)
			start(f);
		assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
		net_guest_offered(f->a);
		stop_and_load(f);
		commit(f);
		if (i == 1)
			assert_int_equal(net_guest_start(f->b, ALL), DRIVER_OK);
		net_guest_post(f->b, 0, 5, 1600);
		exchange(f->b, f->vb, 0, 1);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_a_destination_lacks_is_refused_by_name),
		TEST(a_nic_compares_before_there_is_memory),
		TEST(features_that_the_guest_does_not_use_may_be_missing),
		TEST(a_host_that_has_more_shows_what_the_source_has_shown),
		TEST(a_command_that_the_destination_refuses_is_named),
		TEST(a_device_that_fails_early_ends_the_migration),
		TEST(a_mac_address_that_cannot_be_set_is_refused),
		TEST(a_state_cut_off_anywhere_changes_nothing),
		TEST(a_damaged_state_is_refused_before_anything_is_done),
		TEST(a_state_with_something_left_over_does_nothing),
		TEST(a_wrong_description_is_refused),
		TEST(a_guest_may_arrive_without_a_state_ahead),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
