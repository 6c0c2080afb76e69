/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coalescing, whose answer is more than an ack, and families in unusual company: through the NIC, and across
 * a migration. */
#include "tests/unit/devices/net/net_fixture.h"

/* Coalescing */

static void the_answer_to_vq_get_is_the_devices(void **state)
{
	static const uint8_t values[] = { 7, 0, 0, 0, 8, 0, 0, 0 };
	struct fixture *f = *state;
	uint8_t reply[64];

	start_a(f, ALL);
	assert_command(f->a, 6, 2, "\1\0\0\0\7\0\0\0\x8\0\0\0", 12);
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

static void a_queue_that_is_not_enabled_has_no_coalescing_of_its_own(void **state)
{
	struct fixture *f = *state;

	f->a->skipped = 3;
	start_a(f, ALL);
	assert_int_equal(net_guest_command(f->a, 6, 2, "\3\0\0\0\7\0\0\0\x8\0\0\0", 12), VIRTIO_NET_ERR);
	assert_int_equal(commands(f->va), 0);
	assert_command(f->a, 6, 2, "\2\0\0\0\7\0\0\0\x8\0\0\0", 12);
	/* A value for all queues is one for this queue, too. */
	assert_command(f->a, 6, 0, "\7\0\0\0\x8\0\0\0", 8);
	build_b(f, &fake_vdpa_default);
	migrate(f);
	assert_same_device(f);
	assert_int_equal(net_guest_command(f->b, 6, 2, "\3\0\0\0\7\0\0\0\x8\0\0\0", 12), VIRTIO_NET_ERR);
	assert_command(f->b, 6, 2, "\1\0\0\0\7\0\0\0\x8\0\0\0", 12);
}

/* Its coalescing is that of its kind again, and the device behind it starts anew with the rest. */
static void a_queues_reset_takes_its_coalescing_back(void **state)
{
	struct fixture *f = *state;
	struct tree t;

	start_a(f, ALL);
	assert_command(f->a, 6, 0, "\7\0\0\0\x8\0\0\0", 8);
	net_guest_reset_queue(f->a, 1);
	net_guest_enable_queue(f->a, 1);
	assert_int_equal(commands(f->va), 1);
	assert_command(f->a, 6, 2, "\1\0\0\0\1\0\0\0\x2\0\0\0", 12);
	assert_command(f->a, 6, 2, "\3\0\0\0\1\0\0\0\x2\0\0\0", 12);
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
static void a_queues_reset_gives_the_device_its_command_again(void **state)
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
		start_a(f, ALL);
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
		assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), rows[i].ack);
		assert_int_equal(f->va->nic.coal[3][0], rows[i].ack == VIRTIO_NET_OK);
		assert_int_equal(f->va->nic.coal[1][0], 0);
		net_guest_enable_queue(f->a, 1);
		exchange(f->a, f->va, 0, 1);
	}
}

/* Unusual company */

static void rss_needs_no_mq(void **state)
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
		start_a(f, ~BIT(VIRTIO_NET_F_MQ));
		assert_int_equal(net_guest_ctrl(f->a), 4);
		assert_int_equal(net_guest_command(f->a, 4, 0, "\2\0", 2), VIRTIO_NET_ERR);
		assert_command(f->a, 4, 1, rss, sizeof(rss));
		assert_command(f->a, 6, 2, "\3\0\0\0\7\0\0\0\x8\0\0\0", 12);
		migrate(f);
		assert_same_device(f);
		assert_int_equal(f->vb->nic.steering, MODEL_RSS);
		net_guest_post(f->b, 1, 30, 1600);
		exchange(f->b, f->vb, 1, 1);
		assert_command(f->b, 4, 1, rss, sizeof(rss));
	}
}

/* Its header has 20 bytes, with it or without RSS. */
static void hash_reports_are_carried_with_and_without_rss(void **state)
{
	static const uint8_t hash[] = { 0x3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 7, 8 };
	const uint64_t sets[] = { ALL, ~BIT(VIRTIO_NET_F_RSS),
				  ~(BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_MQ)) };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(sets); i++) {
		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		start_a(f, sets[i]);
		assert_int_equal(fake_vdpa_header_len(f->va), 20);
		assert_command(f->a, 4, 2, hash, sizeof(hash));
		assert_command(f->a, 7, 0, "\x11\0\0\0", 4);
		exchange(f->a, f->va, 0, 1);
		migrate(f);
		assert_same_device(f);
		assert_int_equal(model_nic_value(&f->vb->nic, 7, 0), 0x11);
		exchange(f->b, f->vb, 0, 2);
	}
}

static void segmentation_offloads_go_only_where_they_are_offered(void **state)
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
	start_a(f, ALL);
	put_le64(mask, BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_USO4));
	assert_command(f->a, 5, 0, mask, 8);
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
static void a_guest_is_told_of_the_hosts_link(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.features |= BIT(VIRTIO_NET_F_SPEED_DUPLEX);
	build_a(f, &spec);
	start_a(f, ALL);
	net_guest_interrupts(f->a, NET_GUEST_CONFIG);
	put_le32(f->va->config + 12, 25000);
	f->va->config[16] = 1;
	/* The specification does not let a device change its MTU. */
	put_le16(f->va->config + 10, 9000);
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
static void features_without_what_they_need_are_not_offered(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;
	const uint64_t stats = BIT(VIRTIO_NET_F_DEVICE_STATS) | BIT(VIRTIO_NET_F_NOTF_COAL) |
			       BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | BIT(VIRTIO_NET_F_HASH_TUNNEL);
	const uint64_t rss = BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_HASH_REPORT);
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
	/* linux/virtio_net.h has no fields behind these. */
	v = fake_vdpa_new(&fake_vdpa_default);
	v->vdpa.config_len = 24;
	net_guest_init(g, v, &fixture_config);
	assert_true((net_guest_offered(g) & stats) == (stats & ~BIT(VIRTIO_NET_F_HASH_TUNNEL)));
	free_guest(&g, &v);
	/* Without the fields of RSS nobody could say which tables and keys such a device takes. */
	v = fake_vdpa_new(&fake_vdpa_default);
	v->vdpa.config_len = 17;
	g = calloc(1, sizeof(*g));
	net_guest_init(g, v, &fixture_config);
	assert_true((net_guest_offered(g) & rss) == 0);
	free_guest(&g, &v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_answer_to_vq_get_is_the_devices),
		TEST(a_queue_that_is_not_enabled_has_no_coalescing_of_its_own),
		TEST(a_queues_reset_takes_its_coalescing_back),
		TEST(a_queues_reset_gives_the_device_its_command_again),
		TEST(rss_needs_no_mq),
		TEST(hash_reports_are_carried_with_and_without_rss),
		TEST(segmentation_offloads_go_only_where_they_are_offered),
		TEST(a_guest_is_told_of_the_hosts_link),
		TEST(features_without_what_they_need_are_not_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
