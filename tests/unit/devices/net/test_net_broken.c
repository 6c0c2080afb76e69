/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NIC behind a device, or a driver, that breaks the rules: it stops, says so, and works after a reset. */
#include <sys/eventfd.h>

#include "devices/net/replay.h"
#include "tests/unit/devices/net/net_fixture.h"

/* A device's time in these tests. */
#define SHORT_MS 200

static void assert_works(struct fixture *f)
{
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	exchange(f->a, f->va, 0, 0x5a);
	assert_int_equal(net_guest_command(f->a, 0, 0, "\1", 1), VIRTIO_NET_OK);
}

/* NEEDS_RESET, told once; commands are refused and answered; a reset helps. */
static void assert_broken(struct fixture *f)
{
	net_guest_settle(f->a);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	assert_int_equal(net_guest_interrupts(f->a, NET_GUEST_CONFIG), 1);
	assert_int_equal(net_guest_command(f->a, 0, 1, "\1", 1), VIRTIO_NET_ERR);
	assert_int_equal(net_guest_command(f->a, 2, 0, "\1\0", 2), VIRTIO_NET_ERR);
	net_guest_kick(f->a, 0);
	net_guest_kick(f->a, 1);
	net_guest_settle(f->a);
	fake_vdpa_lock(f->va);
	assert_int_equal(f->va->status, 0);
	fake_vdpa_unlock(f->va);
	assert_works(f);
}

static void start(struct fixture *f)
{
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	net_guest_post(f->a, 0, 10, 1600);
	net_guest_settle(f->a);
	net_guest_interrupts(f->a, NET_GUEST_CONFIG);
}

static void a_wrong_used_id_breaks_the_nic(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;

	for (unsigned int i = 0; i < 3; i++) {
		start(f);
		assert_true(fake_vdpa_take(f->va, 0, &e));
		/* Outside the ring; not in flight; twice. */
		if (i == 2)
			fake_vdpa_use(f->va, 0, e.head, 12);
		fake_vdpa_use(f->va, 0, i == 0 ? 64 : i == 1 ? 63 : e.head, 12);
		fake_vdpa_publish(f->va, 0);
		assert_broken(f);
	}
}

static void a_wrong_used_index_breaks_the_nic(void **state)
{
	struct fixture *f = *state;
	uint64_t one = 1;

	start(f);
	fake_vdpa_lock(f->va);
	fake_device_set_used_idx(&f->va->queues[0].ring, 11);
	assert_int_equal(write(f->va->queues[0].vring.call_fd, &one, sizeof(one)), sizeof(one));
	fake_vdpa_unlock(f->va);
	assert_broken(f);
}

struct caller {
	struct fixture *f;
	unsigned int queue;
	_Atomic bool stop;
};

static void *call_without_answers(void *arg)
{
	struct caller *c = arg;
	uint64_t one = 1;

	while (!c->stop && write(c->f->va->queues[c->queue].vring.call_fd, &one, sizeof(one)) > 0)
		poll(NULL, 0, SHORT_MS / 10);
	return NULL;
}

static int add_vlan(struct net *net, void *arg)
{
	net->ctrl.target = net->ctrl.store;
	net->ctrl.target.vlans[0] ^= 1u << 5;
	net_ctrl_limit(&net->ctrl, net->ctrl.patience.call);
	return net_replay(&net->ctrl, arg);
}

/* One that calls, again and again, and answers nothing: the NIC's thread and whoever waits for it, be it a
 * vCPU, come back. */
static void calls_without_answers_hold_nobody(void **state)
{
	struct fixture *f = *state;
	struct caller c = { .f = f };
	struct error err = { 0 };
	pthread_t thread;

	start(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	c.queue = fake_vdpa_ctrl_index(f->va);
	fake_vdpa_unlock(f->va);
	assert_int_equal(pthread_create(&thread, NULL, call_without_answers, &c), 0);
	f->a->net->ctrl.patience.call = SHORT_MS;
	assert_int_equal(net_call(f->a->net, add_vlan, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.text, "the device has answered 0 control commands, and not all"));
	c.stop = true;
	pthread_join(thread, NULL);
}

#define N_VLANS 400u

static void set_vlans(struct net_guest *g)
{
	uint8_t vid[2];

	for (uint16_t i = 1; i <= N_VLANS; i++) {
		put_le16(vid, i);
		assert_command(g, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vid, sizeof(vid));
	}
}

/* Each answer comes long before the time is over, all of them would take ten times that. */
static void set_slow(struct fake_vdpa *v, bool slow)
{
	fake_vdpa_lock(v);
	v->faults.answer_ms = slow ? SHORT_MS / 40 : 0;
	fake_vdpa_unlock(v);
}

/* A ring's reset is a register write: the time is for the whole replay, not for each answer. */
static void a_slow_device_does_not_hold_a_register_write(void **state)
{
	struct fixture *f = *state;

	start(f);
	set_vlans(f->a);
	f->a->net->ctrl.patience.call = SHORT_MS;
	set_slow(f->va, true);
	net_guest_reset_queue(f->a, 0);
	assert_in_range(commands(f->va), 0, N_VLANS - 1);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	set_slow(f->va, false);
	f->a->net->ctrl.patience = net_patience;
	assert_works(f);
}

/* So is DRIVER_OK. */
static void a_silent_device_does_not_hold_driver_ok(void **state)
{
	struct fixture *f = *state;

	start(f);
	net_guest_reset(f->a);
	/* The device has another MAC address by itself, which takes a command. */
	fake_vdpa_lock(f->va);
	f->va->config[5] = f->va->spec.mac[5] = 9;
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	f->a->net->ctrl.patience.call = SHORT_MS;
	assert_int_equal(net_guest_start(f->a, ALL), BROKEN);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = false;
	fake_vdpa_unlock(f->va);
	f->a->net->ctrl.patience = net_patience;
	assert_works(f);
}

static void a_slow_device_does_not_hold_a_migration(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		bool arrives = i == 1;

		build_a(f, &fake_vdpa_default);
		build_b(f, &fake_vdpa_default);
		start(f);
		if (arrives)
			warm(f);
		set_vlans(f->a);
		f->b->net->ctrl.patience.warm = arrives ? 3600000 : SHORT_MS;
		f->b->net->ctrl.patience.load = arrives ? SHORT_MS : 3600000;
		set_slow(f->vb, true);
		if (arrives) {
			net_device_ops.pause(device_of(f->a));
			net_guest_copy(f->b, f->a);
			assert_refused(f->b, net_device_ops.load, write_tree(f->a, net_device_ops.save),
				       "control commands, and not all");
			continue;
		}
		assert_taken(f->b, net_device_ops.accept, write_tree(f->a, net_device_ops.describe));
		assert_refused(f->b, net_device_ops.warm_load, write_warm(f->a, true),
			       "control commands, and not all");
	}
}

static void *stop_while_it_waits(void *arg)
{
	const struct fixture *f = arg;
	bool held = false;

	while (!held) {
		poll(NULL, 0, 1);
		fake_vdpa_lock(f->va);
		held = f->va->n_held > 0;
		fake_vdpa_unlock(f->va);
	}
	loop_signal(f->a->net->ctrl.stop_fd);
	return NULL;
}

/* The end of the process ends the wait: without it, here, after an hour. */
static void a_wait_ends_with_the_process(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	pthread_t thread;

	start(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	f->a->net->ctrl.patience.call = 3600000;
	f->a->net->ctrl.stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&thread, NULL, stop_while_it_waits, f), 0);
	assert_int_equal(net_call(f->a->net, add_vlan, &err), -ECANCELED);
	assert_non_null(strstr(err.text, "called off"));
	pthread_join(thread, NULL);
	close(f->a->net->ctrl.stop_fd);
	f->a->net->ctrl.stop_fd = -1;
}

static void a_length_beyond_the_buffer_is_cut(void **state)
{
	struct fixture *f = *state;
	struct fake_element e;
	uint16_t head;
	uint32_t len;

	start(f);
	assert_true(fake_vdpa_take(f->va, 0, &e));
	fake_vdpa_use(f->va, 0, e.head, UINT32_MAX);
	fake_vdpa_publish(f->va, 0);
	net_guest_settle(f->a);
	assert_int_equal(fake_driver_get_used(&f->a->queues[0], &head, &len), 1);
	assert_int_equal(len, 1600);
	assert_int_equal(net_guest_status(f->a), DRIVER_OK);
}

static void a_wrong_id_on_the_control_queue_breaks_the_nic(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_vdpa_lock(f->va);
	f->va->faults.bad_ctrl_id = true;
	fake_vdpa_unlock(f->va);
	assert_int_equal(net_guest_command(f->a, 0, 0, "\1", 1), VIRTIO_NET_ERR);
	assert_broken(f);
}

/* The time a command has is over now. */
static int expire(struct net *net, void *arg)
{
	loop_timer_arm(&net->ctrl.timer, now_ns());
	return 0;
}

static void a_command_without_answer_breaks_the_nic(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_guest_command_begin(f->a, 0, 0, "\1", 1);
	assert_int_equal(net_guest_command_end(f->a, 20), -1);
	/* Another one behind it. */
	assert_int_equal(net_call(f->a->net, expire, NULL), 0);
	assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), VIRTIO_NET_ERR);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = false;
	fake_vdpa_unlock(f->va);
	assert_broken(f);
}

static void a_command_in_flight_is_answered_when_the_nic_breaks(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_vdpa_lock(f->va);
	f->va->faults.hold = true;
	fake_vdpa_unlock(f->va);
	net_guest_command_begin(f->a, 0, 0, "\1", 1);
	net_guest_settle(f->a);
	fake_vdpa_use(f->va, 0, 64, 12);
	fake_vdpa_publish(f->va, 0);
	assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), VIRTIO_NET_ERR);
	fake_vdpa_release(f->va);
	assert_broken(f);
}

static void a_device_that_asks_for_a_reset_breaks_the_nic(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_vdpa_needs_reset(f->va);
	assert_broken(f);
}

static void a_driver_that_breaks_the_rules_breaks_its_nic(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 3; i++) {
		struct fake_driver *q;

		start(f);
		q = &f->a->queues[i == 2 ? net_guest_ctrl(f->a) : i];
		/* A head outside the ring; an index from elsewhere, or a chain without an end; a buffer that
		 * is not in memory. */
		if (i == 0 && q->setup.packed)
			fake_driver_write_avail(q, q->avail_idx, 4096, 1, 0, 64);
		else if (i == 0)
			fake_driver_offer(q, 64);
		for (uint16_t k = 0; i == 1 && q->setup.packed && k < q->setup.size; k++)
			fake_driver_write_avail(q, k, 4096, 1, VRING_DESC_F_NEXT, 0);
		if (i == 1)
			fake_driver_set_avail_idx(q, 1000);
		else if (i == 2)
			assert_true(fake_driver_add(q, &(struct virtio_seg){ NET_GUEST_MEM, 16 }, 1, 0) >= 0);
		if (i != 1)
			fake_driver_publish(q);
		net_guest_kick(f->a, (unsigned int)(q - f->a->queues));
		net_guest_settle(f->a);
		assert_int_equal(net_guest_status(f->a), BROKEN);
		assert_works(f);
	}
}

static void a_device_that_does_not_start_breaks_the_nic(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 2; i++) {
		net_guest_offered(f->a);
		f->va->faults.refuse_features_ok = i == 0;
		f->va->faults.gone = i == 1;
		assert_int_equal(net_guest_start(f->a, ALL), BROKEN);
		/* Linux would wait for ever. */
		assert_int_equal(net_guest_command(f->a, 0, 0, "\1", 1), VIRTIO_NET_ERR);
		f->va->faults.refuse_features_ok = false;
		f->va->faults.gone = false;
		assert_works(f);
	}
}

static void a_device_that_vanishes_breaks_the_nic(void **state)
{
	struct fixture *f = *state;

	start(f);
	fake_vdpa_lock(f->va);
	f->va->faults.gone = true;
	fake_vdpa_unlock(f->va);
	fake_vdpa_set_config_status(f->va, 0);
	net_guest_settle(f->a);
	net_guest_command_begin(f->a, 0, 0, "\1", 1);
	net_guest_settle(f->a);
	assert_int_equal(net_call(f->a->net, expire, NULL), 0);
	assert_int_equal(net_guest_command_end(f->a, FAKE_PATIENCE_MS), VIRTIO_NET_ERR);
	assert_int_equal(net_guest_status(f->a), BROKEN);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(net_guest_start(f->a, ALL), BROKEN);
	fake_vdpa_lock(f->va);
	f->va->faults.gone = false;
	fake_vdpa_unlock(f->va);
	assert_works(f);
}

static void a_device_that_refuses_a_default_breaks_the_nic(void **state)
{
	struct fixture *f = *state;

	start(f);
	/* The device keeps another MAC address through resets and does not take this one back. */
	net_guest_reset(f->a);
	fake_vdpa_lock(f->va);
	f->va->config[5] = f->va->spec.mac[5] = 9;
	f->va->faults.refuse_class = 1;
	fake_vdpa_unlock(f->va);
	assert_int_equal(net_guest_start(f->a, ALL), BROKEN);
	fake_vdpa_lock(f->va);
	f->va->faults.refuse_class = -1;
	fake_vdpa_unlock(f->va);
	assert_works(f);
}

static void a_nic_that_cannot_be_made_leaves_nothing_behind(void **state)
{
	struct fake_vdpa_spec spec = fake_vdpa_default;

	for (unsigned int i = 0; i < 6; i++) {
		struct fake_vm *vm = fake_vm_new();
		struct error err = { 0 };
		struct fake_vdpa *v;
		struct pci_bus bus;
		struct net *net;
		int ret;

		spec = fake_vdpa_default;
		if (i == 0)
			spec.features &= ~BIT(VIRTIO_F_VERSION_1);
		if (i == 1)
			spec.ring_size = 48;
		v = fake_vdpa_new(&spec);
		v->faults.gone = i == 2;
		v->faults.refuse_map = i == 3;
		if (i == 4)
			v->vdpa.n_vqs = 1;
		if (i == 5)
			v->vdpa.iova_last = MEMORY_HIGH_BASE;
		assert_int_equal(memory_init(&vm->vm.memory, NET_GUEST_MEM, &err), 0);
		assert_int_equal(pci_bus_init(&bus, &vm->vm, &err), 0);
		ret = net_create(&net, &vm->vm, &bus, &v->vdpa, 0, &(struct net_config){ 0 }, &err);
		/* How far it reaches is found when the guest is compared, or has its memory. */
		assert_int_equal(ret == 0, i == 3 || i == 5);
		if (ret == 0) {
			net_map_begin(net);
			ret = net_wait_mapped(net, &err);
			net_destroy(net);
		}
		assert_true(ret < 0);
		assert_non_null(strstr(err.text, "/dev/fake-vdpa"));
		pci_bus_exit(&bus);
		memory_exit(&vm->vm.memory);
		fake_vdpa_free(v);
		free(vm);
	}
}

/* As a destination does for each source that asks. */
static void a_device_that_is_given_back_serves_the_next_nic(void **state)
{
	struct fake_vdpa *v = fake_vdpa_new(&fake_vdpa_default);

	for (unsigned int i = 0; i < 4; i++) {
		struct fake_vm *vm = fake_vm_new();
		struct error err = { 0 };
		struct pci_bus bus;
		struct net *net;

		assert_int_equal(memory_init(&vm->vm.memory, NET_GUEST_MEM, &err), 0);
		assert_int_equal(pci_bus_init(&bus, &vm->vm, &err), 0);
		if (net_create(&net, &vm->vm, &bus, &v->vdpa, 0, &(struct net_config){ 0 }, &err) < 0)
			fail_msg("%s", err.text);
		if (i < 3)
			assert_ptr_equal(net_dismantle(net), &v->vdpa);
		else
			net_destroy(net);
		assert_int_equal(v->closed, i == 3);
		pci_bus_exit(&bus);
		memory_exit(&vm->vm.memory);
		free(vm);
	}
	fake_vdpa_free(v);
}

/* As fake_vdpa's close makes sure of: the device reads its rings for as long as it is there. */
static void a_device_that_cannot_be_reset_keeps_its_memory_until_it_is_closed(void **state)
{
	struct fake_vdpa *v;
	struct net_guest *g = build_guest(&fake_vdpa_default, &v);

	assert_int_equal(net_guest_start(g, ALL), DRIVER_OK);
	net_guest_settle(g);
	fake_vdpa_lock(v);
	v->faults.gone = true;
	fake_vdpa_unlock(v);
	free_guest(&g, &v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_wrong_used_id_breaks_the_nic),
		TEST(a_wrong_used_index_breaks_the_nic),
		TEST(a_length_beyond_the_buffer_is_cut),
		TEST(calls_without_answers_hold_nobody),
		TEST(a_slow_device_does_not_hold_a_register_write),
		TEST(a_silent_device_does_not_hold_driver_ok),
		TEST(a_slow_device_does_not_hold_a_migration),
		TEST(a_wait_ends_with_the_process),
		TEST(a_wrong_id_on_the_control_queue_breaks_the_nic),
		TEST(a_command_without_answer_breaks_the_nic),
		TEST(a_command_in_flight_is_answered_when_the_nic_breaks),
		TEST(a_device_that_asks_for_a_reset_breaks_the_nic),
		TEST(a_driver_that_breaks_the_rules_breaks_its_nic),
		TEST(a_device_that_does_not_start_breaks_the_nic),
		TEST(a_device_that_vanishes_breaks_the_nic),
		TEST(a_device_that_refuses_a_default_breaks_the_nic),
		cmocka_unit_test(a_nic_that_cannot_be_made_leaves_nothing_behind),
		cmocka_unit_test(a_device_that_is_given_back_serves_the_next_nic),
		cmocka_unit_test(a_device_that_cannot_be_reset_keeps_its_memory_until_it_is_closed),
	};

	return run_formats(tests, ARRAY_SIZE(tests));
}
