/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A source whose devices have somebody behind them who may not answer: the guest never pays for that. */
#define _GNU_SOURCE
#include "tests/unit/migration/migration_fixture.h"

#include <limits.h>

static void fail_to_move(struct departure *s, struct arrival *a, const char *reason)
{
	arrival_start(a, NULL);
	assert_int_equal(departure_go(s), SOURCE_FAILED);
	arrival_join(a);
	if (!strstr(s->err.text, reason))
		fail_msg("'%s' is not in: %s", reason, s->err.text);
	assert_goes_on(s);
	assert_not_here(a);
	arrival_exit(a);
}

static void the_guest_runs_until_its_storage_answers(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.guest.devices[1].n_waits = 3;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	/* Then memory is looked at again, before the stop, and it is asked again. */
	assert_moved(&a, &s, result);
	assert_int_equal(s.guest.devices[1].n_settles, 3 + 1 + 1 + 1);
	assert_int_equal(s.guest.vm.gate.n_pauses, 1);
	arrival_exit(&a);
	departure_exit(&s);
}

/* For each question anew. */
static void be_slow(struct fake_device *f)
{
	if (f->settled && !f->paused)
		f->n_waits = 1;
}

static void storage_that_is_slow_is_no_reason_to_stay(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.guest.devices[1].n_waits = 1;
	s.guest.devices[1].on_settle = be_slow;
	s.guest.devices[1].n_paused_waits = 2;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	/* Five questions of two waits each, then it is stopped and waited for. */
	assert_int_equal(s.guest.devices[1].n_settles, 5 * 2 + 3);
	arrival_exit(&a);
	departure_exit(&s);
}

static void cancel(struct fake_device *f)
{
	struct departure *s = f->opaque;

	f->on_settle = NULL;
	then_cancel(s);
}

static void cancel_in_pause(struct fake_device *f)
{
	if (f->paused)
		cancel(f);
}

static void waiting_for_storage_can_be_cancelled(void **state)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct departure s;
		struct arrival a;
		struct fake_device *f = &s.guest.devices[1];

		departure_init(&s);
		s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
		f->opaque = &s;
		f->on_settle = i == 0 ? cancel : cancel_in_pause;
		f->n_waits = i == 0 ? UINT_MAX : 0;
		f->n_paused_waits = UINT_MAX;
		fail_to_move(&s, &a, "cancelled");
		assert_int_equal(s.guest.vm.gate.n_pauses, i);
		f->n_waits = f->n_paused_waits = 0;
		assert_retry_works(&s);
		close(s.cancel_fd);
		departure_exit(&s);
	}
}

static void end(struct fake_device *f)
{
	f->on_settle = NULL;
	then_end(f->opaque);
}

static void the_guests_end_ends_waiting_for_storage(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.devices[1].opaque = &s;
	s.guest.devices[1].on_settle = end;
	s.guest.devices[1].n_waits = UINT_MAX;
	fail_to_move(&s, &a, "the guest has ended");
	assert_int_equal(s.guest.vm.gate.n_pauses, 0);
	departure_exit(&s);
}

static void a_stop_that_storage_holds_up_is_given_up(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.devices[1].n_paused_waits = UINT_MAX;
	fail_to_move(&s, &a, "stop: dev1: what stands behind it does not answer");
	assert_int_equal(s.guest.vm.gate.n_pauses, 1);
	s.guest.devices[1].n_paused_waits = 0;
	assert_retry_works(&s);
	departure_exit(&s);
}

static void what_storage_fails_in_is_named(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.devices[1].fail_settle = "its storage is frozen";
	fail_to_move(&s, &a, "rounds: its storage is frozen");
	assert_int_equal(s.guest.vm.gate.n_pauses, 0);
	s.guest.devices[1].fail_settle = NULL;
	assert_retry_works(&s);
	departure_exit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_runs_until_its_storage_answers),
		cmocka_unit_test(storage_that_is_slow_is_no_reason_to_stay),
		cmocka_unit_test(waiting_for_storage_can_be_cancelled),
		cmocka_unit_test(the_guests_end_ends_waiting_for_storage),
		cmocka_unit_test(a_stop_that_storage_holds_up_is_given_up),
		cmocka_unit_test(what_storage_fails_in_is_named),
	};

	return run_in_dir("migration_settle", tests, ARRAY_SIZE(tests));
}
