/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time at a destination between READY and the devices' first state: they are given the guest's memory,
 * beside the memory that comes. */
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>

/* Devices that are given memory, for as long as a test wants. */
struct mapping {
	struct incoming_work work;
	const char *fails;
	_Atomic bool ended; /* it was asked how */
};

static int mapping_end(void *opaque, struct error *err)
{
	struct mapping *m = opaque;
	uint64_t count;

	/* Waits. */
	assert_int_equal(read(m->work.fd, &count, sizeof(count)), sizeof(count));
	assert_false(m->ended);
	m->ended = true;
	if (m->fails) {
		error_add(err, "%s", m->fails);
		return -ENOMEM;
	}
	return 0;
}

/* Of the test in hand: where a departure's stage has to reach it. */
static struct mapping mapping;

static void mapping_begin(const char *fails)
{
	mapping = (struct mapping){
		.work = { .fd = eventfd(0, EFD_CLOEXEC), .end = mapping_end, .opaque = &mapping },
		.fails = fails
	};
	assert_true(mapping.work.fd >= 0);
}

static void arrival_start_mapping(struct arrival *a)
{
	*a = (struct arrival){ .cancel_fd = -1, .clock_skew_ns = UINT64_MAX, .work = &mapping.work };
	pthread_create(&a->thread, NULL, arrival_run, a);
}

static void then_mapped(struct departure *s)
{
	assert_false(mapping.ended);
	eventfd_write(mapping.work.fd, 1);
}

/* The source has its READY while the destination is not done: the first SYNC waits for that, and no link is
 * taken for slow because of it. */
static void ready_comes_before_devices_have_memory(void **state)
{
	static const char *const stages[] = { "track", "memory" };

	for (unsigned int i = 0; i < ARRAY_SIZE(stages); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		mapping_begin(NULL);
		departure_init(&s);
		s.at = stages[i];
		s.then = then_mapped;
		arrival_start_mapping(&a);
		result = departure_go(&s);
		arrival_join(&a);
		assert_moved(&a, &s, result);
		assert_null(s.at);
		assert_true(mapping.ended);
		arrival_exit(&a);
		departure_exit(&s);
		close(mapping.work.fd);
	}
}

/* A failure that is found after READY reaches the source by name, before it stops its guest. */
static void memory_that_cannot_be_mapped_is_refused_by_name(void **state)
{
	static const char *const stages[] = { "track", "memory" };

	for (unsigned int i = 0; i < ARRAY_SIZE(stages); i++) {
		struct departure s;
		struct arrival a;

		mapping_begin("/dev/vhost-vdpa-0: cannot map memory for the device");
		departure_init(&s);
		s.at = stages[i];
		s.then = then_mapped;
		arrival_start_mapping(&a);
		assert_int_equal(departure_go(&s), SOURCE_FAILED);
		arrival_join(&a);
		assert_non_null(strstr(s.err.text, "destination refused: /dev/vhost-vdpa-0: cannot map"));
		assert_goes_on(&s);
		assert_int_equal(s.guest.vm.gate.n_pauses, 0);
		assert_not_here(&a);
		assert_int_equal(a.guest.devices[0].n_warm_loads, 0);
		assert_true(mapping.ended);
		arrival_exit(&a);
		assert_retry_works(&s);
		departure_exit(&s);
		close(mapping.work.fd);
	}
}

/* Given up by the source's operator while the destination waits for its devices: it does not wait on. */
static void a_cancel_does_not_wait_for_devices_that_get_memory(void **state)
{
	struct departure s;
	struct arrival a;

	mapping_begin(NULL);
	departure_init(&s);
	s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
	s.at = "memory";
	s.then = then_cancel;
	arrival_start_mapping(&a);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_goes_on(&s);
	assert_not_here(&a);
	/* The mapping's end was not waited for. */
	assert_false(mapping.ended);
	arrival_exit(&a);
	assert_retry_works(&s);
	close(s.cancel_fd);
	departure_exit(&s);
	close(mapping.work.fd);
}

static int arrival_cancel_fd;

static void then_cancel_arrival(struct departure *s)
{
	eventfd_write(arrival_cancel_fd, 1);
}

/* The same by a signal at the destination: the source hears of it before anybody waits for the devices. */
static void a_destination_that_ends_does_not_wait_for_its_devices(void **state)
{
	struct departure s;
	struct arrival a;

	mapping_begin(NULL);
	departure_init(&s);
	s.at = "memory";
	s.then = then_cancel_arrival;
	arrival_cancel_fd = eventfd(0, EFD_CLOEXEC);
	a = (struct arrival){ .cancel_fd = arrival_cancel_fd,
			      .clock_skew_ns = UINT64_MAX,
			      .work = &mapping.work };
	pthread_create(&a.thread, NULL, arrival_run, &a);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "memory: destination refused: cancelled");
	assert_goes_on(&s);
	assert_not_here(&a);
	assert_false(mapping.ended);
	arrival_exit(&a);
	assert_retry_works(&s);
	close(arrival_cancel_fd);
	departure_exit(&s);
	close(mapping.work.fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_comes_before_devices_have_memory),
		cmocka_unit_test(memory_that_cannot_be_mapped_is_refused_by_name),
		cmocka_unit_test(a_cancel_does_not_wait_for_devices_that_get_memory),
		cmocka_unit_test(a_destination_that_ends_does_not_wait_for_its_devices),
	};

	return run_in_dir("arrival", tests, ARRAY_SIZE(tests));
}
