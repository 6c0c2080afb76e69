/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an operator allows a migration: a bandwidth, a time, and to think again while it runs. */
#include "tests/unit/migration/migration_fixture.h"

/* Pages with something in them, and the bandwidth that they go with. */
#define N_PAGES   2048u
#define BANDWIDTH MIB(32)

static void fill(struct departure *s)
{
	for (uint64_t page = 0; page < N_PAGES; page++)
		fake_guest_write(&s->guest, page, page + 1);
	s->config.compress = SOURCE_COMPRESS_OFF;
}

/* Bytes a second of the first round, which is all of memory. */
static double first_rate(const struct departure *s)
{
	const struct report_round *round = &s->report.rounds[0];

	assert_true(s->report.n_rounds > 0 && round->bytes >= N_PAGES * PAGE_SIZE);
	return (double)round->bytes / (double)round->ns * 1e9;
}

static void a_migration_keeps_to_its_bandwidth(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	fill(&s);
	s.config.bandwidth = BANDWIDTH;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	/* A wait that was too long is made up for, and no more. */
	assert_true(first_rate(&s) <= 1.01 * BANDWIDTH);
	assert_int_equal(s.report.bandwidth_limit, BANDWIDTH);
	arrival_exit(&a);
	departure_exit(&s);
}

/* A bandwidth that the operator allows is a slow connection, too: slow beside a compressor that is watched by
 * a sanitizer and waits for its CPU. */
static void a_slow_connection_gets_compressed_memory(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	fill(&s);
	s.config.bandwidth = BANDWIDTH / 32;
	s.config.compress = SOURCE_COMPRESS_AUTO;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_true(s.report.compressed_bytes > N_PAGES * PAGE_SIZE / 8);
	assert_true(s.report.sent_bytes < N_PAGES * PAGE_SIZE);
	arrival_exit(&a);
	departure_exit(&s);
}

static void then_lift(struct departure *s)
{
	s->config.bandwidth = 0;
	eventfd_write(s->config.changed_fd, 1);
}

/* The first report of the stage comes before anything was sent, the second out of the wait. */
static void then_lift_later(struct departure *s)
{
	s->at = "memory";
	s->then = then_lift;
}

static void a_bandwidth_can_be_lifted_while_it_runs(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	fill(&s);
	s.config.bandwidth = MIB(1);
	s.config.changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.at = "memory";
	s.then = then_lift_later;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_true(first_rate(&s) > 2.0 * MIB(1));
	close(s.config.changed_fd);
	arrival_exit(&a);
	departure_exit(&s);
}

static void then_allow_more(struct departure *s)
{
	s->config.downtime_limit_ns = UINT64_C(1000000000000);
}

static void then_stop_anyway(struct departure *s)
{
	s->config.stalled = SOURCE_STOP;
}

static void a_limit_can_be_changed_while_it_runs(void **state)
{
	static const struct {
		void (*then)(struct departure *s);
		const char *why;
	} cases[] = { { then_allow_more, "fits" }, { then_stop_anyway, "too busy" } };

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		/* As it was asked for it would have been given up. */
		s.config.stalled = SOURCE_CANCEL;
		s.config.downtime_limit_ns = 0;
		s.guest.dirty_per_sync = 50;
		s.at = "rounds";
		s.then = cases[i].then;
		arrival_start(&a, NULL);
		result = departure_go(&s);
		arrival_join(&a);
		assert_moved(&a, &s, result);
		assert_non_null(strstr(s.report.stopped_because, cases[i].why));
		arrival_exit(&a);
		departure_exit(&s);
	}
}

/* A cancel ends the wait that a low bandwidth demands. */
static void a_cancel_does_not_wait_for_the_bandwidth(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	fill(&s);
	s.config.bandwidth = KIB(4);
	s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
	s.at = "memory";
	s.then = then_cancel;
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_non_null(strstr(s.err.text, "cancelled"));
	assert_goes_on(&s);
	assert_not_here(&a);
	arrival_exit(&a);
	close(s.cancel_fd);
	departure_exit(&s);
}

static void a_migration_that_takes_too_long_is_given_up(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	fill(&s);
	s.config.bandwidth = MIB(1);
	s.config.timeout_ns = 700000000;
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "memory: not done within the 1 s that it was given");
	assert_string_equal(s.report.reason, s.err.text);
	assert_int_equal(s.report.state, REPORT_FAILED);
	assert_int_equal(a.report.state, REPORT_FAILED);
	assert_string_equal(a.report.stage, "memory");
	assert_string_not_equal(a.report.reason, "");
	assert_true(s.report.started > 0 && s.report.ended >= s.report.started);
	assert_goes_on(&s);
	assert_not_here(&a);
	arrival_exit(&a);
	s.config.bandwidth = 0;
	s.config.timeout_ns = 0;
	assert_retry_works(&s);
	departure_exit(&s);
}

static void the_guests_end_does_not_wait_for_the_bandwidth(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	fill(&s);
	s.config.bandwidth = KIB(4);
	s.at = "memory";
	s.then = then_end;
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_non_null(strstr(s.err.text, "the guest has ended"));
	assert_not_here(&a);
	arrival_exit(&a);
	departure_exit(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_migration_keeps_to_its_bandwidth),
		cmocka_unit_test(a_slow_connection_gets_compressed_memory),
		cmocka_unit_test(a_bandwidth_can_be_lifted_while_it_runs),
		cmocka_unit_test(a_limit_can_be_changed_while_it_runs),
		cmocka_unit_test(a_cancel_does_not_wait_for_the_bandwidth),
		cmocka_unit_test(a_migration_that_takes_too_long_is_given_up),
		cmocka_unit_test(the_guests_end_does_not_wait_for_the_bandwidth),
	};

	return run_in_dir("migration_limits", tests, ARRAY_SIZE(tests));
}
