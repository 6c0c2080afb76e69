/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that come with calls: one reaches its method, and nothing else that a client sends stays. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/control_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* The most that the kernel takes at once (SCM_MAX_FD). */
#define MANY 253u

/* What the test has of a pipe whose other end it passes: the end of a pipe tells when nobody has that. */
struct passed {
	int read_fd, write_fd;
};

static struct passed open_passed(void)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	return (struct passed){ fds[0], fds[1] };
}

/* Says @len bytes with @n times the descriptor @fd beside them. */
static void say_with(int to, const char *text, size_t len, int fd, unsigned int n)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(MANY * sizeof(int))];
	} ancillary = { 0 };
	struct iovec iov = { .iov_base = (char *)text, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = ancillary.bytes,
			      .msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	ancillary.head.cmsg_len = CMSG_LEN(n * sizeof(int));
	ancillary.head.cmsg_level = SOL_SOCKET;
	ancillary.head.cmsg_type = SCM_RIGHTS;
	for (unsigned int i = 0; i < n; i++)
		memcpy(CMSG_DATA(&ancillary.head) + i * sizeof(int), &fd, sizeof(int));
	assert_int_equal(sendmsg(to, &msg, MSG_NOSIGNAL), len);
}

/* Waits until nobody has the passed end. Returns whether anything was written into it before. */
static bool assert_closed(struct passed *p)
{
	char byte;
	ssize_t n;

	close(p->write_fd);
	n = read(p->read_fd, &byte, 1);
	assert_true(n >= 0);
	if (n == 1)
		assert_int_equal(read(p->read_fd, &byte, 1), 0);
	close(p->read_fd);
	return n == 1;
}

static void assert_answer_has(int fd, const char *words)
{
	char buf[512];

	raw_finish(fd, buf, sizeof(buf));
	if (!strstr(buf, words))
		fail_msg("%s", buf);
	close(fd);
}

#define CALL(method) "{\"method\":\"alt.ferry." method "\"}"

static void a_calls_descriptor_reaches_its_method(void **state)
{
	struct fixture *f = *state;
	unsigned int before = count_descriptors(f);
	struct passed p = open_passed();
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;

	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Take", "{}", CONTROL_RESULT, p.write_fd, &err), 0);
	assert_int_equal(control_receive(&c, &parameters, &err), 0);
	control_disconnect(&c);
	assert_true(assert_closed(&p));
	/* And a call without one brings none. */
	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Take", "{}", CONTROL_RESULT, -1, &err), 0);
	assert_int_equal(control_receive(&c, &parameters, &err), -EREMOTEIO);
	assert_string_equal(err.text, "no descriptor");
	control_disconnect(&c);
	await_descriptors(f, before);
}

static void a_call_in_pieces_keeps_the_descriptor_of_the_first(void **state)
{
	static const char call[] = CALL("Take");
	struct fixture *f = *state;
	struct passed p = open_passed();
	int fd = raw_connect(f);

	say_with(fd, call, 1, p.write_fd, 1);
	for (size_t i = 1; i < sizeof(call); i++)
		assert_int_equal(send(fd, call + i, 1, MSG_NOSIGNAL), 1);
	assert_answer_has(fd, "{\"parameters\":{}}");
	assert_true(assert_closed(&p));
}

/* However much of what comes next is there when a call is read. */
static void each_call_of_a_connection_has_its_own_descriptor(void **state)
{
	static const char without[] = CALL("Leave"), with[] = CALL("Take");
	struct fixture *f = *state;
	struct passed p[2] = { open_passed(), open_passed() };
	int fd = raw_connect(f);
	char buf[512];
	size_t len;

	for (unsigned int i = 0; i < ARRAY_SIZE(p); i++) {
		assert_int_equal(send(fd, without, sizeof(without), MSG_NOSIGNAL), sizeof(without));
		say_with(fd, with, sizeof(with), p[i].write_fd, 1);
	}
	/* What came with another call is not this one's. */
	assert_int_equal(send(fd, with, sizeof(with), MSG_NOSIGNAL), sizeof(with));
	len = raw_finish(fd, buf, sizeof(buf));
	for (size_t at = 0; at < 4 * sizeof("{\"parameters\":{}}"); at += strlen(buf + at) + 1)
		assert_string_equal(buf + at, "{\"parameters\":{}}");
	assert_non_null(memmem(buf, len, "no descriptor", 13));
	close(fd);
	assert_true(assert_closed(&p[0]));
	assert_true(assert_closed(&p[1]));
}

static void a_descriptor_that_no_method_takes_is_closed(void **state)
{
	static const char *const calls[] = {
		CALL("Leave"), CALL("None"), CALL("Echo"), "{}", "x", "",
	};
	struct fixture *f = *state;
	unsigned int before = count_descriptors(f);

	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		struct passed p = open_passed();
		int fd = raw_connect(f);

		say_with(fd, calls[i], strlen(calls[i]) + 1, p.write_fd, 1);
		assert_answer_has(fd, "parameters");
		assert_false(assert_closed(&p));
	}
	await_descriptors(f, before);
}

static void more_than_one_descriptor_is_refused(void **state)
{
	static const char call[] = CALL("Take");
	static const unsigned int counts[] = { 2, 3, MANY };
	struct fixture *f = *state;
	unsigned int before = count_descriptors(f);

	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		struct passed p = open_passed();
		int fd = raw_connect(f);

		say_with(fd, call, sizeof(call), p.write_fd, counts[i]);
		assert_answer_has(fd, "InvalidCall\",\"parameters\":{\"reason\":"
				      "\"a call carries one descriptor at most\"");
		assert_false(assert_closed(&p));
	}
	await_descriptors(f, before);
}

static void a_descriptor_with_a_later_piece_is_refused(void **state)
{
	static const char call[] = CALL("Take");
	struct fixture *f = *state;
	unsigned int before = count_descriptors(f);

	/* The first piece has none, or has one already. */
	for (int first = 0; first < 2; first++) {
		struct passed p = open_passed();
		int fd = raw_connect(f);

		if (first)
			say_with(fd, call, 1, p.write_fd, 1);
		else
			assert_int_equal(send(fd, call, 1, MSG_NOSIGNAL), 1);
		/* The loop has read the first piece when it has served what came behind it. */
		close(raw_connect(f));
		count_descriptors(f);
		say_with(fd, call + 1, sizeof(call) - 1, p.write_fd, 1);
		assert_answer_has(fd, "a descriptor comes with a call's first bytes");
		assert_false(assert_closed(&p));
	}
	await_descriptors(f, before);
}

static void a_client_that_goes_takes_its_descriptor_along(void **state)
{
	struct fixture *f = *state;
	unsigned int before = count_descriptors(f);
	struct passed p = open_passed(), beside = open_passed();
	int fd = raw_connect(f);

	say_with(fd, "{", 1, p.write_fd, 1);
	close(fd);
	assert_false(assert_closed(&p));
	/* While a call runs what else comes is not looked at, and goes with the connection. */
	p = open_passed();
	fd = raw_connect(f);
	say_with(fd, CALL("Hold"), sizeof(CALL("Hold")), p.write_fd, 1);
	say_with(fd, "x", 1, beside.write_fd, MANY);
	while (atomic_load(&f->n_running) == 0)
		count_descriptors(f);
	close(fd);
	assert_false(assert_closed(&p));
	assert_false(assert_closed(&beside));
	await_descriptors(f, before);
}

static void who_gives_way_loses_the_descriptor_too(void **state)
{
	struct fixture *f = *state;
	unsigned int before = count_descriptors(f);
	struct passed p = open_passed();
	int fds[CONTROL_MAX_CLIENTS + 8];

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = raw_connect(f);
		say_with(fds[i], "{", 1, p.write_fd, 1);
	}
	count_descriptors(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	assert_false(assert_closed(&p));
	await_descriptors(f, before);
}

static void a_descriptor_for_which_there_is_no_room_is_said(void **state)
{
	static const char call[] = CALL("Take");
	struct fixture *f = *state;
	struct passed p = open_passed();
	int fd = raw_connect(f), next;
	struct rlimit limit, none;

	/* The server has taken the connection before descriptors are short. */
	count_descriptors(f);
	next = dup(fd);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	say_with(fd, call, sizeof(call), p.write_fd, 1);
	assert_answer_has(fd, "short of descriptors for the one that the call carries");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_false(assert_closed(&p));
}

#define DESCRIPTOR_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DESCRIPTOR_TEST(a_calls_descriptor_reaches_its_method),
		DESCRIPTOR_TEST(a_call_in_pieces_keeps_the_descriptor_of_the_first),
		DESCRIPTOR_TEST(each_call_of_a_connection_has_its_own_descriptor),
		DESCRIPTOR_TEST(a_descriptor_that_no_method_takes_is_closed),
		DESCRIPTOR_TEST(more_than_one_descriptor_is_refused),
		DESCRIPTOR_TEST(a_descriptor_with_a_later_piece_is_refused),
		DESCRIPTOR_TEST(a_client_that_goes_takes_its_descriptor_along),
		DESCRIPTOR_TEST(who_gives_way_loses_the_descriptor_too),
		DESCRIPTOR_TEST(a_descriptor_for_which_there_is_no_room_is_said),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
