/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source_migrate() against incoming_run(), in one process, over a unix socket: the way there, every way
 * back. */
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>

static void a_guest_moves_with_all_that_it_has(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.guest.devices[0].changes = 2;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	/* Warm state: the first and two changes, each taken while the guest ran. */
	assert_int_equal(s.report.n_warm, 3);
	assert_int_equal(a.guest.devices[0].n_warm_loads, 3);
	assert_int_equal(s.guest.vm.gate.n_pauses, 1);
	assert_in_range(s.n_progress, 7, 50);
	assert_int_equal(s.report.still_ns, FAKE_STILL_NS);
	assert_string_equal(s.report.stage, "commit");
	/* Nothing was written, so all came in the first pass. The frames' headers are less than a page. */
	assert_int_equal(a.guest.prefaulted, s.report.sent_bytes / PAGE_SIZE * PAGE_SIZE);
	arrival_exit(&a);
	departure_exit(&s);
}

/* The decision to stop has been taken: what is written now, where the guest did not write before, only the
 * last round can find. In KVM's log and in Ferry's. */
static void then_write_late(struct departure *s)
{
	fake_guest_write(&s->guest, 13000, 77);
	assert_int_equal(memory_write(&s->guest.vm.memory, 13001 * PAGE_SIZE, "late", 4), 0);
}

static void then_let_write(struct departure *s)
{
	fake_guest_wait_writes(&s->guest, 1000);
	s->at = "stop";
	s->then = then_write_late;
}

/* The guest writes all the time, and nothing of it is lost. */
static void a_guest_that_writes_all_the_time_loses_nothing(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	fake_guest_exit(&s.guest);
	fake_guest_init(&s.guest, MIB(64), 4);
	departure_hold(&s);
	fake_guest_fill(&s.guest, 43);
	s.guest.devices[0].changes = 5;
	s.config.stalled = SOURCE_STOP;
	s.at = "devices";
	s.then = then_let_write;
	fake_guest_run_writer(&s.guest, 12000);
	gate_resume(&s.guest.vm.gate);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_true(s.report.round >= 3);
	assert_true(s.guest.n_writes >= 1000);
	/* What came again was not entered again. */
	assert_true(a.guest.prefaulted + PAGE_SIZE < s.report.sent_bytes);
	arrival_exit(&a);
	departure_exit(&s);
}

static void a_guest_that_is_too_busy_meets_what_the_operator_wants(void **state)
{
	static const struct {
		enum source_stalled stalled;
		unsigned int calm_at;
		enum source_result result;
		unsigned int throttle;
		const char *why;
	} cases[] = {
		{ SOURCE_THROTTLE, 60, SOURCE_MOVED, 60, "" },
		{ SOURCE_THROTTLE, 99, SOURCE_MOVED, 99, "" },
		{ SOURCE_THROTTLE, 100, SOURCE_FAILED, 99, "rounds: the guest's memory changes faster" },
		{ SOURCE_STOP, 100, SOURCE_MOVED, 0, "" },
		{ SOURCE_CANCEL, 100, SOURCE_FAILED, 0, "rounds: the guest's memory changes faster" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		s.config.stalled = cases[i].stalled;
		s.config.downtime_limit_ns = 0;
		s.guest.dirty_per_sync = 50;
		s.guest.calm_at = cases[i].calm_at;
		arrival_start(&a, NULL);
		result = departure_go(&s);
		arrival_join(&a);
		assert_int_equal(result, cases[i].result);
		assert_int_equal(s.guest.max_throttle, cases[i].throttle);
		assert_int_equal(s.guest.vm.gate.throttle, 0);
		if (strncmp(s.err.text, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("%s", s.err.text);
		if (result == SOURCE_MOVED) {
			assert_moved(&a, &s, result);
		} else {
			assert_goes_on(&s);
			assert_not_here(&a);
			assert_int_equal(s.guest.vm.gate.n_pauses, 0);
		}
		arrival_exit(&a);
		departure_exit(&s);
	}
}

/* What is left would do, whatever it is: the guest stops where little is left, and in any case. */
static void the_guest_stops_where_little_is_left(void **state)
{
	static const struct {
		unsigned int bursts[10]; /* pages written from one round to the next, over and over */
		unsigned int n_bursts;
		unsigned int last; /* what is left at the stop */
		unsigned int n_rounds;
	} cases[] = {
		/* Half as much each time: the first round, eight more, and the last. */
		{ { 2048, 1024, 512, 256, 128, 64, 32, 16, 8 }, 9, 8, 10 },
		/* As much each time: two are alike, two more could be less. */
		{ { 50 }, 1, 50, 6 },
		{ { 200, 190, 30, 200, 200, 210, 33, 200 }, 8, 33, 8 },
		{ { 200, 90, 190, 100 }, 4, 90, 7 },
		/* Ever more: the round that was best does not come again. */
		{ { 40, 50, 60, 70, 80, 90, 100, 110, 120, 130 }, 10, 40, 12 },
		{ { 20, 600, 100, 600, 100, 600, 100, 600, 100, 600 }, 10, 20, 12 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		s.guest.dirty_bursts = cases[i].bursts;
		s.guest.n_dirty_bursts = cases[i].n_bursts;
		s.config.downtime_limit_ns = UINT64_C(1000000000000);
		arrival_start(&a, NULL);
		result = departure_go(&s);
		arrival_join(&a);
		assert_moved(&a, &s, result);
		assert_int_equal(s.guest.dirty_per_sync, cases[i].last);
		assert_int_equal(s.report.round, cases[i].n_rounds);
		assert_int_equal(s.guest.max_throttle, 0);
		arrival_exit(&a);
		departure_exit(&s);
	}
}

/* A low that does not come again, and is not waited for. */
static void a_low_that_does_not_come_again_is_not_waited_for(void **state)
{
	unsigned int bursts[100];
	struct departure s;
	struct arrival a;
	enum source_result result;

	for (unsigned int i = 0; i < ARRAY_SIZE(bursts); i++)
		bursts[i] = 10 + 10 * i;
	departure_init(&s);
	s.guest.dirty_bursts = bursts;
	s.guest.n_dirty_bursts = ARRAY_SIZE(bursts);
	s.config.downtime_limit_ns = UINT64_C(1000000000000);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_in_range(s.report.round, 10, 20);
	arrival_exit(&a);
	departure_exit(&s);
}

/* A guest that never stops changing its device's state is moved all the same, with the last of
 * it in STATE. */
static void endless_changes_of_a_device_do_not_put_off_the_stop(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.guest.devices[0].changes = 1000000;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_in_range(s.report.n_warm, 2, 20);
	arrival_exit(&a);
	departure_exit(&s);
}

static void refuse_vm(struct fake_guest *g)
{
	g->refuse_accept = "CPU feature avx512f is missing";
}

static void refuse_all(struct fake_guest *g)
{
	refuse_vm(g);
	g->devices[0].refuse_accept = "1 queue pair, not 4";
	g->devices[1].refuse_accept = "no RSS";
}

static void refuse_warm(struct fake_guest *g)
{
	g->devices[0].refuse_warm = "VLAN_ADD 17 refused";
}

static void refuse_vm_load(struct fake_guest *g)
{
	g->refuse_load = "KVM_SET_XSAVE: Invalid argument";
}

static void refuse_load(struct fake_guest *g)
{
	g->devices[1].refuse_load = "ring out of bounds";
}

static void other_config(struct fake_guest *g)
{
	g->devices[1].config = 9;
}

static void missing_device(struct fake_guest *g)
{
	g->devices[0].device.next = NULL;
}

static void extra_device(struct fake_guest *g)
{
	static const struct device_ops no_ops = { 0 };
	static struct device extra = { .ops = &no_ops, .name = "net7" };

	g->devices[1].device.next = &extra;
}

/* An older Ferry's, which has nothing to compare yet. */
static void simple_device(struct fake_guest *g)
{
	static struct device_ops simple;

	simple = *g->devices[1].device.ops;
	simple.accept = NULL;
	g->devices[1].device.ops = &simple;
}

static void other_device(struct fake_guest *g)
{
	g->devices[0].device.name = "net3";
}

static void other_cpus(struct fake_guest *g)
{
	g->vm.n_vcpus++;
}

static void a_destination_that_refuses_says_why(void **state)
{
	static const struct {
		void (*prepare)(struct fake_guest *g);
		const char *stage;
		const char *why[3];
		unsigned int n_pauses;
	} cases[] = {
		{ refuse_vm, "hello: destination refused: ", { "avx512f" }, 0 },
		{ refuse_all,
		  "hello: destination refused: ",
		  { "avx512f", "dev0: 1 queue pair", "dev1: no RSS" },
		  0 },
		{ other_config, "hello: destination refused: ", { "config" }, 0 },
		{ missing_device,
		  "hello: destination refused: ",
		  { "dev1: the source has such a device" },
		  0 },
		{ extra_device, "hello: destination refused: ", { "net7: this VM has such a device" }, 0 },
		{ simple_device, "hello: destination refused: ", { "more in it than this Ferry knows" }, 0 },
		{ other_device, "hello: destination refused: ", { "net3: this VM", "dev0: the source" }, 0 },
		{ other_cpus, "hello: destination refused: ", { "cpus" }, 0 },
		{ refuse_warm, "devices: destination refused: ", { "dev0: VLAN_ADD 17" }, 0 },
		{ refuse_vm_load, "state: destination refused: ", { "KVM_SET_XSAVE" }, 1 },
		{ refuse_load, "state: destination refused: ", { "dev1: ring out of bounds" }, 1 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		arrival_start(&a, cases[i].prepare);
		result = departure_go(&s);
		arrival_join(&a);
		assert_int_equal(result, SOURCE_FAILED);
		assert_goes_on(&s);
		assert_not_here(&a);
		assert_int_equal(s.guest.vm.gate.n_pauses, cases[i].n_pauses);
		if (strncmp(s.err.text, cases[i].stage, strlen(cases[i].stage)) != 0)
			fail_msg("%s", s.err.text);
		for (unsigned int j = 0; j < 3 && cases[i].why[j]; j++) {
			if (!strstr(s.err.text, cases[i].why[j]) || !strstr(a.err.text, cases[i].why[j]))
				fail_msg("%s / %s", s.err.text, a.err.text);
		}
		arrival_exit(&a);
		assert_retry_works(&s);
		departure_exit(&s);
	}
}

/* The source's own device does not let its writes be tracked. */
static void a_device_that_cannot_be_tracked_keeps_the_guest_here(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.devices[0].refuse_track = "keeps what it does to itself";
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "track: dev0: keeps what it does to itself");
	assert_goes_on(&s);
	assert_not_here(&a);
	assert_int_equal(s.report.round, 0);
	arrival_exit(&a);
	s.guest.devices[0].refuse_track = NULL;
	assert_retry_works(&s);
	departure_exit(&s);
}

/* The connection breaks at every frame, in four ways each. */
static void assert_unknown(struct arrival *a, struct departure *s)
{
	assert_true(fake_guest_is_paused(&s->guest));
	assert_true(s->guest.devices[0].paused && s->guest.devices[1].paused);
	assert_false(s->guest.devices[0].released || s->guest.kvm_logging);
	assert_non_null(strstr(s->err.text, "may run at the destination"));
	/* Not again, before somebody has looked. */
	assert_int_equal(source_migrate(&s->guest.vm, &s->config, &s->report, &s->err), SOURCE_FAILED);
	assert_true(fake_guest_is_paused(&s->guest));
	if (a->ret == 0)
		return;
	assert_int_equal(source_resume(&s->guest.vm, &s->err), 0);
	assert_goes_on(s);
	assert_retry_works(s);
}

static void cut_one(int type, enum proxy_cut cut)
{
	struct proxy p = { .listen = places.proxy_path, .to = places.path, .type = type, .cut = cut };
	/* Before COMMIT the source's, after it the destination's. */
	bool failed = type < STREAM_COMMIT, arrives = type == STREAM_RUNNING;
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.config.to = places.proxy_address;
	proxy_start(&p);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	proxy_join(&p);
	if (type == STREAM_HELLO)
		arrival_call_off(&a);
	arrival_join(&a);
	assert_true(p.reached);
	/* What is delivered may be answered, and that answered, before the ends see that the line is dead. */
	if (cut == PROXY_AFTER && type >= STREAM_STATE) {
		failed = result == SOURCE_FAILED;
		arrives = result == SOURCE_MOVED || (result == SOURCE_UNKNOWN && a.ret == 0);
	}
	if (arrives)
		assert_here(&a, &s);
	else
		assert_not_here(&a);
	if (failed) {
		assert_int_equal(result, SOURCE_FAILED);
		assert_goes_on(&s);
		assert_retry_works(&s);
	} else if (cut == PROXY_AFTER && result == SOURCE_MOVED) {
		assert_moved(&a, &s, result);
	} else {
		assert_int_equal(result, SOURCE_UNKNOWN);
		assert_unknown(&a, &s);
	}
	arrival_exit(&a);
	departure_exit(&s);
	proxy_free(&p);
}

static void a_connection_that_is_cut_leaves_one_guest(void **state)
{
	for (int type = STREAM_HELLO; type < STREAM_N_TYPES; type++) {
		for (enum proxy_cut cut = 0; cut < PROXY_N_CUTS; cut++) {
			if (type != STREAM_REFUSED)
				cut_one(type, cut);
		}
	}
}

static void then_migrate_again(struct departure *s)
{
	struct report report;
	struct error err = { 0 };

	assert_int_equal(source_migrate(&s->guest.vm, &s->config, &report, &err), SOURCE_FAILED);
	assert_non_null(strstr(err.text, "under way"));
	assert_true(s->guest.vm.migrating);
}

static void keep(struct fake_guest *g)
{
	g->devices[1].keeps = true;
}

/*
 * A destination that cannot be reached any more and has what the guest needs here: without it the guest does
 * not run, and the operator is told.
 */
static void without_what_it_needs_a_guest_stays_paused(void **state)
{
	struct proxy p = {
		.listen = places.proxy_path, .to = places.path, .type = STREAM_PREPARED, .cut = PROXY_BEFORE
	};
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.config.to = places.proxy_address;
	proxy_start(&p);
	arrival_start(&a, keep);
	assert_int_equal(departure_go(&s), SOURCE_UNKNOWN);
	proxy_join(&p);
	arrival_join(&a);
	assert_true(a.ret < 0 && a.guest.devices[1].released);
	assert_true(fake_guest_is_paused(&s.guest));
	assert_true(s.guest.devices[0].paused && s.guest.devices[1].paused);
	assert_false(s.guest.devices[1].released || s.guest.kvm_logging);
	assert_non_null(strstr(s.err.text, "somebody else has it"));
	assert_non_null(strstr(s.err.text, "it stays paused"));
	assert_null(strstr(s.err.text, "may run at the destination"));
	assert_int_equal(source_migrate(&s.guest.vm, &s.config, &s.report, &s.err), SOURCE_FAILED);
	assert_true(fake_guest_is_paused(&s.guest));
	/* It has ended. */
	holder = NULL;
	assert_int_equal(source_resume(&s.guest.vm, &s.err), 0);
	assert_goes_on(&s);
	assert_retry_works(&s);
	arrival_exit(&a);
	departure_exit(&s);
	proxy_free(&p);
}

static void a_cancel_leaves_the_guest_here(void **state)
{
	static const char *const stages[] = { "connect", "hello", "memory", "devices", "rounds" };

	for (unsigned int i = 0; i < ARRAY_SIZE(stages); i++) {
		struct departure s;
		struct arrival a;

		departure_init(&s);
		s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
		s.at = stages[i];
		s.then = then_cancel;
		/* Enough for the last round not to be empty. */
		s.guest.dirty_per_sync = 10;
		arrival_start(&a, NULL);
		assert_int_equal(departure_go(&s), SOURCE_FAILED);
		if (!strstr(s.err.text, "cancelled"))
			fail_msg("%s", s.err.text);
		assert_goes_on(&s);
		assert_int_equal(s.guest.vm.gate.n_pauses, 0);
		arrival_call_off(&a);
		arrival_join(&a);
		assert_not_here(&a);
		assert_retry_works(&s);
		arrival_exit(&a);
		close(s.cancel_fd);
		departure_exit(&s);
	}
}

static void a_cancelled_destination_leaves_nothing_behind(void **state)
{
	struct departure s;
	struct arrival a = { .cancel_fd = eventfd(1, EFD_CLOEXEC), .clock_skew_ns = UINT64_MAX };

	pthread_create(&a.thread, NULL, arrival_run, &a);
	arrival_join(&a);
	assert_int_equal(a.ret, -ECANCELED);
	close(a.cancel_fd);
	departure_init(&s);
	assert_int_equal(source_migrate(&s.guest.vm, &s.config, &s.report, &s.err), SOURCE_FAILED);
	assert_goes_on(&s);
	assert_retry_works(&s);
	departure_exit(&s);
}

static void the_guests_end_ends_its_migration(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.at = "devices";
	s.then = then_end;
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "rounds: the guest has ended");
	assert_goes_on(&s);
	assert_not_here(&a);
	arrival_exit(&a);
	departure_exit(&s);
}

static void a_second_migration_is_refused(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.at = "devices";
	s.then = then_migrate_again;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	arrival_exit(&a);
	departure_exit(&s);
}

static void a_guest_whose_state_cannot_be_read_goes_on(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.fail_save = "KVM_GET_MSRS: Input/output error";
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "state: KVM_GET_MSRS: Input/output error");
	assert_goes_on(&s);
	assert_not_here(&a);
	arrival_exit(&a);
	s.guest.fail_save = NULL;
	assert_retry_works(&s);
	departure_exit(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_moves_with_all_that_it_has),
		cmocka_unit_test(a_guest_that_writes_all_the_time_loses_nothing),
		cmocka_unit_test(a_guest_that_is_too_busy_meets_what_the_operator_wants),
		cmocka_unit_test(the_guest_stops_where_little_is_left),
		cmocka_unit_test(a_low_that_does_not_come_again_is_not_waited_for),
		cmocka_unit_test(endless_changes_of_a_device_do_not_put_off_the_stop),
		cmocka_unit_test(a_destination_that_refuses_says_why),
		cmocka_unit_test(a_device_that_cannot_be_tracked_keeps_the_guest_here),
		cmocka_unit_test(a_connection_that_is_cut_leaves_one_guest),
		cmocka_unit_test(without_what_it_needs_a_guest_stays_paused),
		cmocka_unit_test(a_cancel_leaves_the_guest_here),
		cmocka_unit_test(a_cancelled_destination_leaves_nothing_behind),
		cmocka_unit_test(the_guests_end_ends_its_migration),
		cmocka_unit_test(a_second_migration_is_refused),
		cmocka_unit_test(a_guest_whose_state_cannot_be_read_goes_on),
	};

	return run_in_dir("migration", tests, ARRAY_SIZE(tests));
}
