/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source_migrate() against incoming_run(), in one process, over a unix socket: guests that move. */
#include "tests/unit/migration/migration_fixture.h"

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
	assert_string_equal(s.report.stages[1].name, "hello");
	assert_string_equal(s.report.stages[s.report.n_stages - 1].name, "commit");
	for (unsigned int i = 1; i < s.report.n_stages; i++)
		assert_true(s.report.stages[i].start_ns >= s.report.stages[i - 1].start_ns);
	/* The other side's report agrees, as far as it can know. */
	assert_int_equal(a.report.side, REPORT_DESTINATION);
	assert_int_equal(a.report.state, REPORT_MOVED);
	assert_string_equal(a.report.stage, "commit");
	assert_int_equal(a.report.n_warm, 3);
	assert_int_equal(a.report.total_bytes, MEM);
	assert_true(a.report.parts_ns[REPORT_LOAD] > 0);
	assert_int_equal(a.report.rounds[0].pages, s.report.rounds[0].pages);
	assert_true(a.report.sent_bytes > s.report.rounds[0].bytes);
	/* The guest wrote nothing, so all came in the first pass. The frames' headers are less
	 * than a page. */
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
	/* Pages that came again were not entered again. */
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
			assert_non_null(strstr(s.report.stopped_because,
					       cases[i].stalled == SOURCE_STOP ? "too busy" : "fits"));
		} else {
			assert_goes_on(&s);
			assert_not_here(&a);
			assert_int_equal(s.guest.vm.gate.n_pauses, 0);
		}
		arrival_exit(&a);
		departure_exit(&s);
	}
}

/* What one look finds is what the next round sends, and little of it is sent in the downtime at once. */
static void a_small_rest_is_taken_at_once(void **state)
{
	static const struct {
		/* Pages written from one round to the next, over and over. */
		unsigned int bursts[3];
		unsigned int n_bursts;
		unsigned int n_rounds; /* with the last */
	} cases[] = {
		{ { 2 }, 1, 2 },
		{ { 0 }, 1, 2 },
		/* Too much, but for the first time; and then little. */
		{ { 3000, 2, 2 }, 3, 3 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		/* Long enough for its bandwidth to be known, whatever else the machine does. */
		for (uint64_t page = 0; page < 2048; page++)
			fake_guest_write(&s.guest, page, page + 1);
		s.guest.dirty_bursts = cases[i].bursts;
		s.guest.n_dirty_bursts = cases[i].n_bursts;
		s.config.downtime_limit_ns = UINT64_C(1000000000000);
		arrival_start(&a, NULL);
		result = departure_go(&s);
		arrival_join(&a);
		assert_moved(&a, &s, result);
		assert_int_equal(s.report.round, cases[i].n_rounds);
		assert_int_equal(s.report.n_rounds, cases[i].n_rounds);
		for (unsigned int j = 1; j < s.report.n_rounds; j++)
			assert_int_equal(s.report.rounds[j].pages,
					 s.report.rounds[j - 1].written_bytes / PAGE_SIZE);
		assert_int_equal(s.report.stop_remaining_bytes, s.guest.dirty_per_sync * PAGE_SIZE);
		assert_int_equal(s.guest.max_throttle, 0);
		arrival_exit(&a);
		departure_exit(&s);
	}
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_moves_with_all_that_it_has),
		cmocka_unit_test(a_guest_that_writes_all_the_time_loses_nothing),
		cmocka_unit_test(a_guest_that_is_too_busy_meets_what_the_operator_wants),
		cmocka_unit_test(a_small_rest_is_taken_at_once),
		cmocka_unit_test(endless_changes_of_a_device_do_not_put_off_the_stop),
	};

	return run_in_dir("migration", tests, ARRAY_SIZE(tests));
}
