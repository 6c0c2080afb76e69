/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of phases, and the way of a NIC through it. */
#include "tests/unit/devices/net/net_fixture.h"

#define N_PHASES (NET_PHASE_BROKEN + 1)
#define N_STEPS  (NET_STEP_END + 1)

static int read_phase(struct net *net, void *arg)
{
	return (int)net->phase;
}

static void assert_phase(struct net_guest *g, enum net_phase phase)
{
	net_guest_settle(g);
	assert_int_equal(net_call(g->net, read_phase, NULL), phase);
}

static void the_end_leads_to_off_from_everywhere(void **state)
{
	for (unsigned int from = 0; from < N_PHASES; from++)
		assert_int_equal(net_phase_after(from, NET_STEP_END), NET_PHASE_OFF);
}

static void only_the_end_leads_out_of_broken(void **state)
{
	for (unsigned int step = 0; step < N_STEPS; step++) {
		if (step != NET_STEP_END)
			assert_int_equal(net_phase_after(NET_PHASE_BROKEN, step), -1);
	}
}

static void a_fault_breaks_a_nic_in_every_phase(void **state)
{
	for (unsigned int from = 0; from < NET_PHASE_BROKEN; from++)
		assert_int_equal(net_phase_after(from, NET_STEP_BREAK), NET_PHASE_BROKEN);
}

/* What the device writes then would not be marked as written. */
static void passthrough_cannot_be_paused(void **state)
{
	assert_int_equal(net_phase_after(NET_PHASE_PASS, NET_STEP_PAUSE), -1);
}

static void a_guest_arrives_at_a_warm_device_alone(void **state)
{
	for (unsigned int from = 0; from < N_PHASES; from++)
		assert_int_equal(net_phase_after(from, NET_STEP_ARRIVE),
				 from == NET_PHASE_WARM ? NET_PHASE_STILL : -1);
}

static void every_phase_is_reached_from_off(void **state)
{
	bool reached[N_PHASES] = { [NET_PHASE_OFF] = true };

	for (unsigned int round = 0; round < N_PHASES; round++) {
		for (unsigned int i = 0; i < N_PHASES * N_STEPS; i++) {
			int to = net_phase_after(i / N_STEPS, i % N_STEPS);

			if (reached[i / N_STEPS] && to >= 0)
				reached[to] = true;
		}
	}
	for (unsigned int phase = 0; phase < N_PHASES; phase++)
		assert_true(reached[phase]);
}

static void a_driver_takes_its_nic_from_off_to_shadow_rings_and_back(void **state)
{
	struct fixture *f = *state;

	assert_phase(f->a, NET_PHASE_OFF);
	start_a(f, ALL);
	assert_phase(f->a, NET_PHASE_SHADOW);
	net_guest_reset(f->a);
	assert_phase(f->a, NET_PHASE_OFF);
}

static void a_migration_is_still_shadow_and_off_at_its_two_ends(void **state)
{
	struct fixture *f = *state;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	warm(f);
	assert_phase(f->b, NET_PHASE_WARM);
	stop_and_load(f);
	assert_phase(f->a, NET_PHASE_STILL);
	assert_phase(f->b, NET_PHASE_STILL);
	commit(f);
	assert_phase(f->a, NET_PHASE_OFF);
	assert_phase(f->b, NET_PHASE_SHADOW);
}

static void a_migration_that_is_given_up_goes_on_with_shadow_rings(void **state)
{
	struct fixture *f = *state;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	warm(f);
	stop_and_load(f);
	net_device_ops.release(device_of(f->b));
	assert_phase(f->b, NET_PHASE_OFF);
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	assert_phase(f->a, NET_PHASE_SHADOW);
}

/* The driver has no NIC that could be paused, and the NIC nothing that could be resumed. */
static void pause_and_resume_leave_a_nic_without_driver_off(void **state)
{
	struct fixture *f = *state;

	net_device_ops.pause(device_of(f->a));
	assert_phase(f->a, NET_PHASE_OFF);
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	assert_phase(f->a, NET_PHASE_OFF);
}

static int break_rules(struct net *net, void *arg)
{
	net_path_fail(&net->path, "as the test wants it");
	/* The call is not over: nothing has been settled yet. */
	return (int)net->phase;
}

static void a_fault_is_settled_when_its_call_ends(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	assert_int_equal(net_call(f->a->net, break_rules, NULL), NET_PHASE_SHADOW);
	assert_int_equal(net_call(f->a->net, read_phase, NULL), NET_PHASE_BROKEN);
	assert_int_equal(net_guest_status(f->a), BROKEN);
}

static int break_again(struct net *net, void *arg)
{
	net_path_fail(&net->path, "another fault, which follows from the first");
	return strcmp(net->path.fault, "as the test wants it");
}

static void the_first_fault_is_kept_until_the_reset(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	net_call(f->a->net, break_rules, NULL);
	assert_int_equal(net_call(f->a->net, break_again, NULL), 0);
	assert_int_equal(net_guest_start(f->a, ALL), DRIVER_OK);
	assert_phase(f->a, NET_PHASE_SHADOW);
}

static void a_broken_nic_stays_broken_over_pause_and_resume(void **state)
{
	struct fixture *f = *state;

	start_a(f, ALL);
	net_call(f->a->net, break_rules, NULL);
	net_device_ops.pause(device_of(f->a));
	assert_phase(f->a, NET_PHASE_BROKEN);
	net_device_ops.resume(device_of(f->a), DEVICE_STAYED);
	assert_phase(f->a, NET_PHASE_BROKEN);
	net_guest_reset(f->a);
	assert_phase(f->a, NET_PHASE_OFF);
}

/* The destination's device breaks ahead of the guest: that ends this migration, and no other driver's. */
static void a_warm_device_that_broke_starts_again_once_its_driver_is_gone(void **state)
{
	struct fixture *f = *state;
	struct tree again;

	build_b(f, &fake_vdpa_default);
	start_a(f, ALL);
	warm(f);
	again = write_warm(f->a, true);
	net_call(f->b->net, break_rules, NULL);
	assert_phase(f->b, NET_PHASE_BROKEN);
	assert_refused(f->b, net_device_ops.warm_load, again, "has stopped working");
	net_guest_reset(f->a);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
	assert_phase(f->b, NET_PHASE_OFF);
	start_a(f, ALL);
	assert_taken(f->b, net_device_ops.warm_load, write_warm(f->a, true));
	assert_phase(f->b, NET_PHASE_WARM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_leads_to_off_from_everywhere),
		cmocka_unit_test(only_the_end_leads_out_of_broken),
		cmocka_unit_test(a_fault_breaks_a_nic_in_every_phase),
		cmocka_unit_test(passthrough_cannot_be_paused),
		cmocka_unit_test(a_guest_arrives_at_a_warm_device_alone),
		cmocka_unit_test(every_phase_is_reached_from_off),
		cmocka_unit_test_setup_teardown(a_driver_takes_its_nic_from_off_to_shadow_rings_and_back,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_migration_is_still_shadow_and_off_at_its_two_ends, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_migration_that_is_given_up_goes_on_with_shadow_rings, setup,
						teardown),
		cmocka_unit_test_setup_teardown(pause_and_resume_leave_a_nic_without_driver_off, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_fault_is_settled_when_its_call_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_fault_is_kept_until_the_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(a_broken_nic_stays_broken_over_pause_and_resume, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_warm_device_that_broke_starts_again_once_its_driver_is_gone,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
