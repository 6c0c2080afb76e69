/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks: what a destination answers, with nothing moved, and destinations that do not answer as they should.
 */
#include "migration/check.h"
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "migration/clock.h"
#include "vmm/state.h"

/* Nothing of the guest has been touched. */
static void assert_untouched(struct departure *s)
{
	assert_int_equal(s->guest.vm.gate.n_pauses, 0);
	assert_false(s->guest.vm.migrating);
	assert_false(s->guest.kvm_logging);
	assert_false(s->guest.devices[0].tracked || s->guest.devices[1].tracked);
}

static int check(struct departure *s, struct check *c)
{
	return check_run(&s->guest.vm, connect_to_place(places.path), -1, c);
}

/* As often as it is asked; and the guest can move there afterwards. */
static void a_guest_that_could_move_stays(void **state)
{
	struct departure s;
	struct arrival a;
	struct check c;

	departure_init(&s);
	arrival_start(&a, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		if (check(&s, &c) < 0)
			fail_msg("%s", c.err.text);
		assert_int_equal(c.n_obstacles, 0);
		assert_int_equal(c.stream_version, 2);
		assert_untouched(&s);
	}
	assert_int_equal(departure_go(&s), SOURCE_MOVED);
	arrival_join(&a);
	assert_int_equal(a.n_checks, 3);
	assert_here(&a, &s);
	arrival_exit(&a);
	departure_exit(&s);
}

static void refuse_all(struct fake_guest *g)
{
	g->refuse_accept = "no such CPU";
	g->devices[0].refuse_accept = "no such NIC; nor another";
	g->devices[1].refuse_accept = "no such disk";
}

static void every_difference_is_an_obstacle(void **state)
{
	static const char *const obstacles[] = { "dev0: no such NIC", "nor another", "dev1: no such disk",
						 "no such CPU" };
	struct departure s;
	struct arrival a;
	struct check c;

	departure_init(&s);
	arrival_start(&a, refuse_all);
	for (unsigned int n = 0; n < 2; n++) {
		assert_int_equal(check(&s, &c), 0);
		assert_int_equal(c.stream_version, 0);
		assert_int_equal(c.n_obstacles, ARRAY_SIZE(obstacles));
		for (unsigned int i = 0; i < ARRAY_SIZE(obstacles); i++)
			assert_string_equal(c.obstacles[i], obstacles[i]);
		assert_untouched(&s);
	}
	arrival_call_off(&a);
	arrival_join(&a);
	assert_int_equal(a.ret, -ECANCELED);
	assert_int_equal(a.n_checks, 2);
	arrival_exit(&a);
	departure_exit(&s);
}

/* A destination that says @len bytes once it has been asked. */
struct answer {
	int fd;
	uint8_t bytes[2048];
	uint32_t len;
	uint64_t oldest; /* in the HELLO that came */
};

static void *answer_run(void *arg)
{
	struct answer *a = arg;
	uint8_t header[16], dropped[4096];

	if (recv(a->fd, header, sizeof(header), MSG_WAITALL) == (ssize_t)sizeof(header))
		a->oldest = get_le64(header + 8);
	if (a->len > 0)
		send(a->fd, a->bytes, a->len, MSG_NOSIGNAL);
	while (read(a->fd, dropped, sizeof(dropped)) > 0)
		;
	return NULL;
}

/* Somebody on the way who takes nothing for a while, as ssh that is still connecting; then all. */
struct late {
	int fd;
	uint64_t taken; /* of clock.h's clock: when he began */
	uint64_t said;  /* the HELLO's */
};

static void *late_run(void *arg)
{
	struct late *l = arg;
	struct error err = { 0 };
	struct state_node root;
	uint8_t header[16];
	void *tree;
	uint32_t len;

	/* Nobody tells that nothing comes. */
	poll(NULL, 0, 300);
	l->taken = realtime_ns();
	assert_int_equal(recv(l->fd, header, sizeof(header), MSG_WAITALL), sizeof(header));
	len = get_le32(header + 4);
	tree = malloc(len);
	assert_int_equal(recv(l->fd, tree, len, MSG_WAITALL), len);
	assert_int_equal(state_open(&root, tree, len, &err), 0);
	assert_int_equal(state_get_u64(&root, "clock", 1, INT64_MAX, &l->said), 0);
	free(tree);
	shutdown(l->fd, SHUT_RDWR);
	return NULL;
}

/* A clock that is behind is not taken for a HELLO that was long on its way. */
static void a_hello_has_the_time_at_which_it_leaves(void **state)
{
	struct departure s;
	struct check c;
	struct late l;
	pthread_t thread;
	int fds[2];

	departure_init(&s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	l = (struct late){ .fd = fds[1] };
	pthread_create(&thread, NULL, late_run, &l);
	assert_int_equal(check_run(&s.guest.vm, fds[0], -1, &c), -EPIPE);
	pthread_join(thread, NULL);
	assert_true(l.said >= l.taken);
	close(fds[1]);
	assert_untouched(&s);
	departure_exit(&s);
}

static void put_answer(struct answer *a, enum stream_type type, const char *payload, uint32_t len)
{
	stream_header_put((struct stream_header *)(void *)a->bytes, type, len, 0);
	memcpy(a->bytes + 16, payload, len);
	a->len = 16 + len;
}

/* Nor does the wait for that hold up who calls it off, or a peer that says no at once. */
static void nobody_waits_for_who_takes_nothing(void **state)
{
	struct departure s;
	struct answer a = { .len = 0 };
	struct check c;
	int fds[2], cancel_fd = eventfd(1, EFD_CLOEXEC);

	departure_init(&s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(check_run(&s.guest.vm, fds[0], cancel_fd, &c), -ECANCELED);
	close(fds[1]);
	put_answer(&a, STREAM_REFUSED, "too late", 8);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(send(fds[1], a.bytes, a.len, 0), a.len);
	assert_int_equal(check_run(&s.guest.vm, fds[0], -1, &c), 0);
	assert_string_equal(c.obstacles[0], "too late");
	close(fds[1]);
	close(cancel_fd);
	departure_exit(&s);
}

static int check_against(struct answer *a, int cancel_fd, struct check *c)
{
	struct departure s;
	pthread_t thread;
	int fds[2], ret;

	departure_init(&s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	a->fd = fds[1];
	pthread_create(&thread, NULL, answer_run, a);
	ret = check_run(&s.guest.vm, fds[0], cancel_fd, c);
	pthread_join(thread, NULL);
	close(fds[1]);
	assert_untouched(&s);
	departure_exit(&s);
	return ret;
}

/* It would begin to take the guest if it understood the HELLO for one of its own. */
static void a_destination_of_version_1_is_asked_for_nothing(void **state)
{
	static const char why[] =
		"the source speaks version 2 of the migration protocol, this Ferry version 1";
	struct answer a = { 0 };
	struct check c;

	put_answer(&a, STREAM_REFUSED, why, sizeof(why) - 1);
	assert_int_equal(check_against(&a, -1, &c), -EPROTO);
	assert_int_equal(a.oldest, 2);
	assert_string_equal(c.err.text,
			    "the destination speaks version 1 of the migration protocol, which has no "
			    "checks; nothing was done there");
	assert_int_equal(c.n_obstacles, 0);
}

static void answers_that_make_no_sense_are_no_answers(void **state)
{
	static const struct {
		enum stream_type type;
		const char *payload;
		uint32_t len;
		const char *why;
	} cases[] = {
		{ STREAM_READY, "", 0, "READY frame of 0 bytes for version 1, of 2 to 2" },
		{ STREAM_READY, "\1\0\0\0", 4, "READY frame of 4 bytes for version 1, of 2 to 2" },
		{ STREAM_READY, "\3\0\0\0", 4, "READY frame of 4 bytes for version 3, of 2 to 2" },
		{ STREAM_SYNC_OK, "", 0, "SYNC_OK frame of 0 bytes instead of READY" },
	};
	struct check c;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct answer a = { 0 };

		put_answer(&a, cases[i].type, cases[i].payload, cases[i].len);
		assert_int_equal(check_against(&a, -1, &c), -EPROTO);
		if (!strstr(c.err.text, cases[i].why))
			fail_msg("%u: %s", i, c.err.text);
		assert_int_equal(c.n_obstacles, 0);
	}
}

static void more_reasons_than_there_is_room_for_stay_together(void **state)
{
	char why[ERROR_TEXT_MAX] = "";
	struct answer a = { 0 };
	struct check c;

	for (unsigned int i = 0; i < CHECK_MAX_OBSTACLES + 10; i++)
		strcat(why, i > 0 ? "; no" : "no");
	put_answer(&a, STREAM_REFUSED, why, (uint32_t)strlen(why));
	assert_int_equal(check_against(&a, -1, &c), 0);
	assert_int_equal(c.n_obstacles, CHECK_MAX_OBSTACLES);
	assert_string_equal(c.obstacles[CHECK_MAX_OBSTACLES - 2], "no");
	assert_string_equal(c.obstacles[CHECK_MAX_OBSTACLES - 1],
			    "no; no; no; no; no; no; no; no; no; no; no");
}

static void a_destination_that_says_nothing_is_waited_for_until_the_client_goes(void **state)
{
	int cancel_fd = eventfd(1, EFD_CLOEXEC);
	struct answer a = { 0 };
	struct check c;

	assert_int_equal(check_against(&a, cancel_fd, &c), -ECANCELED);
	close(cancel_fd);
}

static void a_guest_that_is_being_moved_is_not_asked(void **state)
{
	struct departure s;
	struct check c;
	int fds[2];
	char byte;

	departure_init(&s);
	s.guest.vm.migrating = true;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(check_run(&s.guest.vm, fds[0], -1, &c), -EBUSY);
	assert_true(s.guest.vm.migrating);
	assert_int_equal(read(fds[1], &byte, 1), 0);
	close(fds[1]);
	s.guest.vm.migrating = false;
	departure_exit(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_that_could_move_stays),
		cmocka_unit_test(a_hello_has_the_time_at_which_it_leaves),
		cmocka_unit_test(nobody_waits_for_who_takes_nothing),
		cmocka_unit_test(every_difference_is_an_obstacle),
		cmocka_unit_test(a_destination_of_version_1_is_asked_for_nothing),
		cmocka_unit_test(answers_that_make_no_sense_are_no_answers),
		cmocka_unit_test(more_reasons_than_there_is_room_for_stay_together),
		cmocka_unit_test(a_destination_that_says_nothing_is_waited_for_until_the_client_goes),
		cmocka_unit_test(a_guest_that_is_being_moved_is_not_asked),
	};

	return run_in_dir("check", tests, ARRAY_SIZE(tests));
}
