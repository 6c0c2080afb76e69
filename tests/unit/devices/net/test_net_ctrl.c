/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC's control queue: what reaches the device, what is recorded, and that the guest always has an
 * answer. */
#include "tests/unit/devices/net/net_fixture.h"

#include "devices/net/cvq/replay.h"
#include "tests/fake/commands.h"

/* Whether a device of vhost-vdpa can have been told this: it takes no feature from 64 on. */
static bool has_state(const struct fake_command *c)
{
	return c->recorded && c->feature < 64;
}

/* A fresh device is like the NIC's own after what the NIC would replay. */
static void assert_recorded(struct fixture *f)
{
	struct model_nic *fresh = malloc(sizeof(*fresh));
	uint8_t *cmd = malloc(CVQ_MAX_COMMAND);
	struct cvq_store *none = calloc(1, sizeof(*none));
	struct cvq_replay replay;
	uint32_t len;

	net_guest_settle(f->a);
	fake_vdpa_lock(f->va);
	model_nic_init(fresh, fake_vdpa_default.mac, f->va->features & (BIT(1) | BIT(7) | BIT(8)));
	fake_vdpa_unlock(f->va);
	cvq_replay_init(&replay, none, &f->a->net->ctrl.store);
	while ((len = cvq_replay_next(&replay, cmd)) > 0)
		assert_int_equal(model_nic_command(fresh, cmd, len), VIRTIO_NET_OK);
	fake_vdpa_lock(f->va);
	assert_null(model_nic_diff(fresh, &f->va->nic));
	fake_vdpa_unlock(f->va);
	free(fresh);
	free(cmd);
	free(none);
}

static int send_command(struct fixture *f, const struct fake_command *c)
{
	return net_guest_command(f->a, c->class, c->command, c->payload, c->len);
}

static void each_command_is_recorded_once_the_device_has_accepted_it(void **state)
{
	struct fixture *f = *state;
	unsigned int n = 0;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int i = 0; i < fake_n_commands; i++) {
		struct tree t;

		if (!has_state(&fake_commands[i]))
			continue;
		free(write_warm(f->a, true).fdt);
		assert_int_equal(send_command(f, &fake_commands[i]), VIRTIO_NET_OK);
		assert_int_equal(commands(f->va), ++n);
		assert_recorded(f);
		t = write_warm(f->a, false);
		assert_non_null(t.fdt);
		free(t.fdt);
		assert_null(write_warm(f->a, false).fdt);
	}
}

static void a_command_without_its_feature_never_reaches_the_device(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < fake_n_commands; i++) {
		if (!has_state(&fake_commands[i]))
			continue;
		assert_int_equal(net_guest_start(f->a, ~BIT(fake_commands[i].feature)), DRIVER_OK);
		free(write_warm(f->a, true).fdt);
		assert_int_equal(send_command(f, &fake_commands[i]), VIRTIO_NET_ERR);
		assert_int_equal(commands(f->va), 0);
		assert_null(write_warm(f->a, false).fdt);
	}
}

static void a_malformed_command_never_reaches_the_device(void **state)
{
	struct fixture *f = *state;
	uint8_t longer[64] = { 0 };

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int i = 0; i < fake_n_commands; i++) {
		const struct fake_command *c = &fake_commands[i];

		if (!has_state(c))
			continue;
		memcpy(longer, c->payload, c->len);
		assert_int_equal(net_guest_command(f->a, c->class, c->command, longer, c->len - 1),
				 VIRTIO_NET_ERR);
		assert_int_equal(net_guest_command(f->a, c->class, c->command, longer, c->len + 2),
				 VIRTIO_NET_ERR);
	}
	assert_int_equal(net_guest_command(f->a, 77, 0, longer, 2), VIRTIO_NET_ERR);
	/* There is no announcement to acknowledge. */
	assert_int_equal(net_guest_command(f->a, 3, 0, NULL, 0), VIRTIO_NET_ERR);
	assert_int_equal(net_guest_command(f->a, 8, 0, NULL, 0), VIRTIO_NET_ERR);
	assert_int_equal(commands(f->va), 0);
}

/* Posts a chain on the control queue and waits for it: the used length. */
static uint32_t post_chain(struct net_guest *g, const struct virtio_seg *segs, unsigned int n_read,
			   unsigned int n_write)
{
	struct fake_driver *q = &g->queues[net_guest_ctrl(g)];
	uint32_t len = UINT32_MAX;
	uint16_t head;

	assert_true(fake_driver_add(q, segs, n_read, n_write) >= 0);
	if (fake_driver_publish(q))
		net_guest_kick(g, net_guest_ctrl(g));
	for (unsigned int i = 0; fake_driver_get_used(q, &head, &len) == 0; i++) {
		assert_true(i < 2000);
		poll(NULL, 0, 1);
	}
	return len;
}

static void any_chain_gets_an_answer(void **state)
{
	struct fixture *f = *state;
	uint8_t *p, *ack;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	p = memory_at(&f->a->vm->memory, 0xe00000, 0x20000);
	ack = p + 0x1000;
	memcpy(p, "\0\0\1", 3);

	/* No place for the answer; nothing to read; one byte to read; far too much; all of length 0. */
	assert_int_equal(post_chain(f->a, (struct virtio_seg[]){ { 0xe00000, 3 } }, 1, 0), 0);
	*ack = 0xee;
	assert_int_equal(post_chain(f->a, (struct virtio_seg[]){ { 0xe01000, 1 } }, 0, 1), 1);
	assert_int_equal(*ack, VIRTIO_NET_ERR);
	*ack = 0xee;
	assert_int_equal(post_chain(f->a, (struct virtio_seg[]){ { 0xe00000, 1 }, { 0xe01000, 1 } }, 1, 1),
			 1);
	assert_int_equal(*ack, VIRTIO_NET_ERR);
	*ack = 0xee;
	assert_int_equal(
		post_chain(f->a, (struct virtio_seg[]){ { 0xe00000, 0x10000 }, { 0xe01000, 1 } }, 1, 1), 1);
	assert_int_equal(*ack, VIRTIO_NET_ERR);
	assert_int_equal(post_chain(f->a, (struct virtio_seg[]){ { 0xe00000, 0 }, { 0xe01000, 0 } }, 1, 1),
			 0);
	assert_int_equal(commands(f->va), 0);

	/* In single bytes, the answer's place followed by more. */
	*ack = 0xee;
	ack[1] = 0xee;
	assert_int_equal(post_chain(f->a,
				    (struct virtio_seg[]){ { 0xe00000, 1 },
							   { 0xe00001, 1 },
							   { 0xe00002, 1 },
							   { 0xe01000, 1 },
							   { 0xe01001, 40 } },
				    3, 2),
			 1);
	assert_int_equal(*ack, VIRTIO_NET_OK);
	assert_int_equal(ack[1], 0xee);
	assert_int_equal(commands(f->va), 1);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

static void a_command_that_the_device_refuses_is_not_recorded(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int i = 0; i < 2; i++) {
		fake_vdpa_lock(f->va);
		f->va->faults.refuse_class = 2;
		f->va->faults.bad_ack = i ? 7 : -1;
		fake_vdpa_unlock(f->va);
		free(write_warm(f->a, true).fdt);
		assert_int_equal(net_guest_command(f->a, 2, 0, "\x64\0", 2), VIRTIO_NET_ERR);
		assert_int_equal(commands(f->va), i + 1);
		assert_null(write_warm(f->a, false).fdt);
		assert_recorded(f);
	}
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

static void hold(struct fake_vdpa *v)
{
	fake_vdpa_lock(v);
	v->faults.hold = true;
	fake_vdpa_unlock(v);
}

/* Commands that the device has and has not answered yet. */
static void wait_held(struct fake_vdpa *v, unsigned int n)
{
	unsigned int now = 0;

	for (unsigned int i = 0; now != n && i < 2000; i++) {
		fake_vdpa_lock(v);
		now = v->n_held;
		fake_vdpa_unlock(v);
		poll(NULL, 0, now != n);
	}
	assert_int_equal(now, n);
}

static void packets_go_on_while_a_command_waits(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	hold(f->va);
	free(write_warm(f->a, true).fdt);
	net_guest_command_begin(f->a, 0, 0, "\1", 1);
	wait_held(f->va, 1);
	/* Packets go on, and what has not been accepted is not told. */
	exchange(f->a, f->va, 0, 1);
	assert_null(write_warm(f->a, false).fdt);
	assert_int_equal(net_guest_command_end(f->a, 0), -1);
	fake_vdpa_release(f->va);
	assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), VIRTIO_NET_OK);
	assert_recorded(f);
}

static void commands_are_answered_one_after_the_other(void **state)
{
	struct fixture *f = *state;
	struct fake_driver *q;
	uint16_t head;
	uint32_t len;
	uint8_t *p;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	q = &f->a->queues[net_guest_ctrl(f->a)];
	p = memory_at(&f->a->vm->memory, 0xe00000, 0x1000);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 32; i++) {
			const struct virtio_seg segs[] = { { 0xe00000 + 8 * i, 4 }, { 0xe00800 + i, 1 } };

			/* Every third is none. */
			memcpy(p + 8 * i, i % 3 ? "\2\0\0\0" : "\x42\0\0\0", 4);
			p[8 * i + 2] = (uint8_t)(32 * round + i);
			assert_true(fake_driver_add(q, segs, 1, 1) >= 0);
		}
		if (fake_driver_publish(q))
			net_guest_kick(f->a, net_guest_ctrl(f->a));
		for (unsigned int i = 0, tries = 0; i < 32; tries++) {
			assert_true(tries < FAKE_PATIENCE_MS);
			if (fake_driver_get_used(q, &head, &len) == 1)
				i++;
			else
				poll(NULL, 0, 1);
		}
		for (unsigned int i = 0; i < 32; i++)
			assert_int_equal(p[0x800 + i], i % 3 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
	assert_recorded(f);
}

static void a_reset_forgets_the_command_that_is_at_the_device(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
		hold(f->va);
		net_guest_command_begin(f->a, 0, 0, "\1", 1);
		wait_held(f->va, 1);
		net_guest_reset(f->a);
		fake_vdpa_release(f->va);
		assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
		assert_recorded(f);
		assert_int_equal(net_guest_command(f->a, 0, 1, "\1", 1), VIRTIO_NET_OK);
		assert_recorded(f);
	}
}

static void a_reset_forgets_everything(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	for (unsigned int i = 0; i < fake_n_commands; i++) {
		if (has_state(&fake_commands[i]))
			assert_int_equal(send_command(f, &fake_commands[i]), VIRTIO_NET_OK);
	}
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_int_equal(commands(f->va), 0);
	assert_recorded(f);
}

static void the_device_may_ask_for_an_announcement(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;
	struct fixture *f = *state;

	spec.features |= BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);
	build_a(f, &spec);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	fake_vdpa_set_config_status(f->va, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	net_guest_settle(f->a);
	assert_int_equal(net_guest_read(f->a, f->a->config + 6, 2),
			 VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(net_guest_command(f->a, 3, 0, NULL, 0), VIRTIO_NET_OK);
	assert_int_equal(commands(f->va), 1);
	assert_int_equal(net_guest_read(f->a, f->a->config + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(net_guest_command(f->a, 3, 0, NULL, 0), VIRTIO_NET_ERR);
	assert_recorded(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_command_is_recorded_once_the_device_has_accepted_it),
		TEST(a_command_without_its_feature_never_reaches_the_device),
		TEST(a_malformed_command_never_reaches_the_device),
		TEST(any_chain_gets_an_answer),
		TEST(a_command_that_the_device_refuses_is_not_recorded),
		TEST(packets_go_on_while_a_command_waits),
		TEST(commands_are_answered_one_after_the_other),
		TEST(a_reset_forgets_the_command_that_is_at_the_device),
		TEST(a_reset_forgets_everything),
		TEST(the_device_may_ask_for_an_announcement),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
