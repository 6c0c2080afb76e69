/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One guest with a NIC, or two of which one is a migration's destination. */
#include "tests/unit/devices/net/net_fixture.h"

struct net_config fixture_config;

struct net_guest *build_guest(const struct fake_vdpa_spec *spec, struct fake_vdpa **vdpa)
{
	struct net_guest *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	*vdpa = fake_vdpa_new(spec);
	net_guest_init(g, *vdpa, &fixture_config);
	return g;
}

void free_guest(struct net_guest **g, struct fake_vdpa **vdpa)
{
	if (!*g)
		return;
	net_guest_exit(*g);
	fake_vdpa_free(*vdpa);
	free(*g);
	*g = NULL;
}

void build_a(struct fixture *f, const struct fake_vdpa_spec *spec)
{
	free_guest(&f->a, &f->va);
	f->a = build_guest(spec, &f->va);
}

void build_b(struct fixture *f, const struct fake_vdpa_spec *spec)
{
	free_guest(&f->b, &f->vb);
	f->b = build_guest(spec, &f->vb);
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	build_a(f, &fake_vdpa_default);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	free_guest(&f->a, &f->va);
	free_guest(&f->b, &f->vb);
	free(f);
	return 0;
}

void start_a(struct fixture *f, uint64_t features)
{
	assert_int_equal(net_guest_start(f->a, features), DRIVER_OK);
	net_guest_post(f->a, 0, 30, 1600);
	net_guest_settle(f->a);
}

void assert_command(struct net_guest *g, uint8_t class, uint8_t number, const void *data, uint32_t len)
{
	assert_int_equal(net_guest_command(g, class, number, data, len), VIRTIO_NET_OK);
}

struct device *device_of(struct net_guest *g)
{
	return &g->net->device;
}

struct tree write_tree(struct net_guest *g, tree_write_fn *fn)
{
	return tree_write(device_of(g), fn);
}

struct tree write_warm(struct net_guest *g, bool first)
{
	return tree_write_warm(device_of(g), first);
}

int read_tree(struct net_guest *g, tree_read_fn *fn, const void *fdt, uint32_t len, struct error *err)
{
	return tree_read(device_of(g), fn, fdt, len, err);
}

int take_tree(struct net_guest *g, tree_read_fn *fn, struct tree t, struct error *err)
{
	return tree_take(device_of(g), fn, t, err);
}

void assert_taken(struct net_guest *g, tree_read_fn *fn, struct tree t)
{
	assert_tree_taken(device_of(g), fn, t);
}

void assert_refused(struct net_guest *g, tree_read_fn *fn, struct tree t, const char *reason)
{
	assert_tree_refused(device_of(g), fn, t, reason);
}

void track(struct net_guest *g, bool on)
{
	struct error err = { 0 };
	uint64_t still_ns = 0;
	int ret = 0;

	if (on)
		ret = net_device_ops.track(device_of(g), &still_ns, &err);
	else
		net_device_ops.untrack(device_of(g));
	if (ret < 0)
		print_error("%s\n", err.text);
	assert_int_equal(ret, 0);
}

void warm(struct fixture *f)
{
	assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
	track(f->a, true);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
}

void stop_and_load(struct fixture *f)
{
	net_device_ops.pause(device_of(f->a));
	net_guest_copy(f->b, f->a);
	assert_taken(f->b, net_device_ops.load, write_tree(f->a, net_device_ops.save));
}

void commit(struct fixture *f)
{
	net_device_ops.resume(device_of(f->b), DEVICE_ARRIVED);
	net_device_ops.arrived(device_of(f->b));
	net_device_ops.release(device_of(f->a));
}

void migrate(struct fixture *f)
{
	warm(f);
	stop_and_load(f);
	commit(f);
}

unsigned int commands(struct fake_vdpa *v)
{
	unsigned int n;

	fake_vdpa_lock(v);
	n = v->n_commands;
	fake_vdpa_unlock(v);
	return n;
}

void assert_same_device(struct fixture *f)
{
	const char *diff;

	fake_vdpa_lock(f->va);
	fake_vdpa_lock(f->vb);
	diff = model_nic_diff(&f->va->nic, &f->vb->nic);
	fake_vdpa_unlock(f->vb);
	fake_vdpa_unlock(f->va);
	if (diff)
		print_error("%s differ\n", diff);
	assert_null(diff);
}

void assert_saved_alike(struct fixture *f)
{
	struct tree a = write_tree(f->a, net_device_ops.save);

	assert_tree_same(write_tree(f->a, net_device_ops.save), a);
	assert_tree_same(write_tree(f->b, net_device_ops.save), a);
	free(a.fdt);
}

void swap(struct fixture *f)
{
	free_guest(&f->a, &f->va);
	f->a = f->b;
	f->va = f->vb;
	f->b = NULL;
	f->vb = NULL;
}

bool is_announcement(const uint8_t *frame, int len)
{
	unsigned int at = frame[12] == 0x81 && frame[13] == 0 ? 16 : 12;

	return len == 60 && frame[at] == 0x80 && frame[at + 1] == 0x35;
}

unsigned int drain_announcements(struct fake_vdpa *v)
{
	unsigned int n = 0;
	uint8_t frame[128];

	while (fake_vdpa_waiting(v, 1) > 0) {
		int len = fake_vdpa_sent(v, 0, frame, sizeof(frame));

		assert_true(is_announcement(frame, len));
		n++;
	}
	return n;
}

int sent(struct fake_vdpa *v, unsigned int pair, uint8_t *data, uint32_t size)
{
	int len;

	do {
		len = fake_vdpa_sent(v, pair, data, size);
	} while (is_announcement(data, len));
	return len;
}

int run_formats(const struct CMUnitTest *tests, size_t n)
{
	int n_failed;

	fixture_config.split_only = true;
	fixture_config.mode = NET_AUTO;
	n_failed = _cmocka_run_group_tests("split", tests, n, NULL, NULL);
	fixture_config.split_only = false;
	fixture_config.mode = NET_SHADOW;
	return n_failed + _cmocka_run_group_tests("packed", tests, n, NULL, NULL);
}

void exchange(struct net_guest *g, struct fake_vdpa *v, unsigned int pair, uint8_t mark)
{
	uint8_t out[200], in[1600];

	memset(out, mark, sizeof(out));
	net_guest_settle(g);
	assert_true(fake_vdpa_receive(v, pair, out, sizeof(out)));
	net_guest_settle(g);
	assert_int_equal(net_guest_received(g, pair, in, sizeof(in)), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));

	memset(out, mark ^ 0xff, sizeof(out));
	assert_true(net_guest_send(g, pair, out, sizeof(out)));
	assert_int_equal(sent(v, pair, in, sizeof(in)), sizeof(out));
	assert_memory_equal(in, out, sizeof(out));
	net_guest_settle(g);
	assert_int_equal(net_guest_reap(g, pair), 1);
}
