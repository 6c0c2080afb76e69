/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A NIC's state as released versions wrote it. */
#include "tests/unit/devices/net/net_fixture.h"

#include "migration/stream.h"
#include "tests/fake/commands.h"

static const uint8_t ferry_0_1_split[] = {
#include "tests/unit/ferry-0.1-net-split.h"
};
static const uint8_t ferry_0_1_packed[] = {
#include "tests/unit/ferry-0.1-net-packed.h"
};

/* Hands a frame's payload to the NIC, as the destination of a migration does. A tree is aligned for who reads
 * it. */
static void load(struct net_guest *g, uint32_t type, uint64_t arg, const uint8_t *payload, uint32_t len)
{
	struct tree t = { .fdt = malloc(len), .len = len };

	memcpy(t.fdt, payload, len);
	switch (type) {
	case STREAM_HELLO:
		assert_taken(g, net_device_ops.accept, t);
		break;
	case STREAM_WARM:
		assert_taken(g, net_device_ops.warm_load, t);
		break;
	case STREAM_STATE:
		assert_taken(g, net_device_ops.load, t);
		break;
	default:
		assert_int_equal(type, STREAM_RAM);
		memcpy(memory_at(&g->vm->memory, arg, len), payload, len);
		free(t.fdt);
	}
}

/* What the device has been told is what the recorded driver had told its own. */
static void assert_device(struct fixture *f)
{
	struct model_nic *model = malloc(sizeof(*model));
	const char *diff;

	fake_vdpa_lock(f->vb);
	model_nic_init(model, fake_vdpa_default.mac, f->vb->features & (BIT(1) | BIT(7) | BIT(8)));
	for (unsigned int i = 0; i < fake_n_commands; i++) {
		const struct fake_command *c = &fake_commands[i];
		uint8_t cmd[CVQ_MAX_COMMAND] = { c->class, c->command };

		if (!c->recorded || c->feature >= 64)
			continue;
		memcpy(cmd + 2, c->payload, c->len);
		assert_int_equal(model_nic_command(model, cmd, 2 + c->len), VIRTIO_NET_OK);
	}
	diff = model_nic_diff(model, &f->vb->nic);
	fake_vdpa_unlock(f->vb);
	if (diff)
		print_error("%s differ\n", diff);
	assert_null(diff);
	free(model);
}

static void a_nic_of_ferry_0_1_loads(void **state)
{
	const uint8_t *at = fixture_config.split_only ? ferry_0_1_split : ferry_0_1_packed;
	const uint8_t *end =
		at + (fixture_config.split_only ? sizeof(ferry_0_1_split) : sizeof(ferry_0_1_packed));
	struct fixture *f = *state;
	struct tree saved = { 0 };
	const uint8_t *last = NULL;
	uint32_t len = 0;

	build_b(f, &fake_vdpa_default);
	for (; at < end; at += 16 + len) {
		len = get_le32(at + 4);
		load(f->b, get_le32(at), get_le64(at + 8), at + 16, len);
		last = at + 16;
	}
	/* What it would send on is what came. */
	saved = write_tree(f->b, net_device_ops.save);
	assert_int_equal(saved.len, len);
	assert_memory_equal(saved.fdt, last, len);
	free(saved.fdt);
	net_device_ops.resume(device_of(f->b), DEVICE_ARRIVED);
	net_device_ops.arrived(device_of(f->b));
	net_guest_settle(f->b);
	assert_device(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_nic_of_ferry_0_1_loads, setup, teardown),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
