/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors in the place of files: which are taken, by number and by name, and what a refusal says. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/descriptor.h"
#include "vmm/log.h"

/* The numbers that a service manager begins with are the test's: whoever had them keeps another. */
#define N_PASSED 4

static int setup(void **state)
{
	for (int fd = 3; fd < 3 + N_PASSED; fd++) {
		int made = memfd_create("passed", 0);

		assert_true(made >= 0);
		assert_int_equal(dup2(made, fd), fd);
		if (made != fd)
			close(made);
	}
	return 0;
}

static void pass(const char *fds, const char *names)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_PIDFDID", "1", 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
}

static void assert_forgotten(void)
{
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_FDNAMES"));
	assert_null(getenv("LISTEN_PIDFDID"));
}

static void a_number_is_taken_with_what_it_serves(void **state)
{
	struct descriptors d;
	struct error err = { 0 };
	const char *text = "fd:4", *path = "/a";

	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_int_equal(descriptors_claim_text(&d, "--disk", &path, DESCRIPTOR_READ_WRITE, &err), 0);
	assert_string_equal(path, "/a");
	assert_int_equal(descriptors_claim_text(&d, "--disk", &text, DESCRIPTOR_READ_WRITE, &err), 0);
	assert_string_equal(text, "fd:4");
	/* Programs that are started from here on do not have it. */
	assert_true(fcntl(4, F_GETFD) & FD_CLOEXEC);
	descriptors_release(&d);
}

static void a_name_is_the_descriptor_that_was_called_so(void **state)
{
	struct descriptors d;
	struct error err = { 0 };
	const char *text = "fd:root.img";

	fcntl(3, F_SETFD, 0);
	fcntl(6, F_SETFD, 0);
	pass("3", "nic0:root.img:");
	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_forgotten();
	assert_int_equal(descriptors_claim_text(&d, "--disk", &text, DESCRIPTOR_READ, &err), 0);
	assert_string_equal(text, "fd:4");
	assert_int_equal(descriptors_claim(&d, "--net", "nic0", DESCRIPTOR_READ_WRITE, &err), 3);
	/* Nobody inherits those either that no option names; what was not passed is left alone. */
	assert_true(fcntl(5, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(6, F_GETFD) & FD_CLOEXEC);
	descriptors_release(&d);
}

static void what_was_passed_to_another_process_is_left_alone(void **state)
{
	struct descriptors d;
	struct error err = { 0 };

	fcntl(3, F_SETFD, 0);
	pass("3", "nic0:b:c");
	setenv("LISTEN_PID", "1", 1);
	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_forgotten();
	assert_int_equal(d.n_passed, 0);
	assert_false(fcntl(3, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(descriptors_claim(&d, "--net", "nic0", DESCRIPTOR_READ_WRITE, &err), -EINVAL);
	descriptors_release(&d);
}

static void a_service_managers_nonsense_is_refused(void **state)
{
	static const struct {
		const char *fds, *why;
	} t[] = {
		{ "257", "0 to 256 descriptors are possible" },
		{ "-1", "0 to 256" },
		{ "", "0 to 256" },
		{ "3x", "0 to 256" },
		{ "99999999999999999999", "0 to 256" },
		{ "250", "is not open" },
	};
	struct descriptors d;
	struct error err = { 0 };
	char *names = malloc(DESCRIPTORS_MAX_NAMES + 2);

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		err = (struct error){ 0 };
		pass(t[i].fds, "a");
		assert_int_equal(descriptors_init(&d, &err), -EINVAL);
		if (!strstr(err.text, t[i].why))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", t[i].fds, err.text, t[i].why);
		assert_forgotten();
		descriptors_release(&d);
	}
	memset(names, 'a', DESCRIPTORS_MAX_NAMES + 1);
	names[DESCRIPTORS_MAX_NAMES + 1] = '\0';
	err = (struct error){ 0 };
	pass("2", names);
	assert_int_equal(descriptors_init(&d, &err), -EINVAL);
	assert_non_null(strstr(err.text, "LISTEN_FDNAMES has more than"));
	descriptors_release(&d);
	free(names);
}

/* One descriptor of each wrong kind; all are beyond those that are passed. */
static void what_cannot_serve_is_refused_with_its_number(void **state)
{
	const int reads = open("/dev/null", O_RDONLY), writes = open("/dev/null", O_WRONLY),
		  appends = open("/dev/null", O_RDWR | O_APPEND), path = open("/", O_PATH),
		  socket_fd = socket(AF_UNIX, SOCK_STREAM, 0), closed = dup(reads);
	const struct {
		int fd;
		enum descriptor_use use;
		const char *why;
	} t[] = {
		{ 0, DESCRIPTOR_READ, "beyond stderr" },
		{ 2, DESCRIPTOR_READ_WRITE, "beyond stderr" },
		{ closed, DESCRIPTOR_READ, "is not open" },
		{ 9999999, DESCRIPTOR_READ, "is not open" },
		{ reads, DESCRIPTOR_READ_WRITE, "open for reading alone" },
		{ writes, DESCRIPTOR_READ, "open for writing alone" },
		{ appends, DESCRIPTOR_READ_WRITE, "open for appending" },
		{ path, DESCRIPTOR_READ, "O_PATH" },
		{ socket_fd, DESCRIPTOR_LISTEN, "not a unix stream socket that listens" },
		{ reads, DESCRIPTOR_LISTEN, "not a unix stream socket that listens" },
	};
	struct descriptors d;
	struct error err = { 0 };

	close(closed);
	assert_int_equal(descriptors_init(&d, &err), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		char name[16], said[64];

		err = (struct error){ 0 };
		snprintf(name, sizeof(name), "%d", t[i].fd);
		snprintf(said, sizeof(said), "--disk: descriptor %d is ", t[i].fd);
		assert_int_equal(descriptors_claim(&d, "--disk", name, t[i].use, &err), -EINVAL);
		if (!strstr(err.text, t[i].why) || !strstr(err.text, said))
			fail_msg("%u: \"%s\" does not say \"%s\"", i, err.text, t[i].why);
	}
	descriptors_release(&d);
	close(reads);
	close(writes);
	close(appends);
	close(path);
	close(socket_fd);
}

static void what_is_no_number_and_no_name_is_refused(void **state)
{
	static const char *const names[] = { "", "12345678", "-4", "4x", " 4", "nic1" };
	struct descriptors d;
	struct error err = { 0 };

	assert_int_equal(descriptors_init(&d, &err), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		err = (struct error){ 0 };
		assert_int_equal(descriptors_claim(&d, "--net vdpa", names[i], DESCRIPTOR_READ, &err),
				 -EINVAL);
		assert_non_null(strstr(err.text, "--net vdpa: fd:"));
		assert_non_null(strstr(err.text, "the number of a descriptor is needed"));
	}
	descriptors_release(&d);
	err = (struct error){ 0 };
	pass("3", "nic0:disk:disk");
	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_int_equal(descriptors_claim(&d, "--disk", "nic", DESCRIPTOR_READ, &err), -EINVAL);
	assert_non_null(strstr(err.text, "LISTEN_FDNAMES is \"nic0:disk:disk\""));
	err = (struct error){ 0 };
	assert_int_equal(descriptors_claim(&d, "--disk", "disk", DESCRIPTOR_READ, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4 and 5 are both called \"disk\""));
	descriptors_release(&d);
	/* More than there are names for have none. */
	pass("4", "a:b");
	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_int_equal(descriptors_claim(&d, "--disk", "b", DESCRIPTOR_READ, &err), 4);
	assert_int_equal(descriptors_claim(&d, "--disk", "", DESCRIPTOR_READ, &err), -EINVAL);
	descriptors_release(&d);
}

static void one_open_file_serves_once(void **state)
{
	struct descriptors d;
	struct error err = { 0 };
	char name[16];
	int again = fcntl(4, F_DUPFD, 100);

	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_int_equal(descriptors_claim(&d, "--kernel", "4", DESCRIPTOR_READ, &err), 4);
	assert_int_equal(descriptors_claim(&d, "--initrd", "4", DESCRIPTOR_READ, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--initrd: descriptor 4 is given twice"));
	/* Its lock would be one for both. */
	snprintf(name, sizeof(name), "%d", again);
	err = (struct error){ 0 };
	assert_int_equal(descriptors_claim(&d, "--disk", name, DESCRIPTOR_READ_WRITE, &err), -EINVAL);
	assert_non_null(strstr(err.text, "given twice"));
	assert_int_equal(descriptors_claim(&d, "--disk", "5", DESCRIPTOR_READ_WRITE, &err), 5);
	descriptors_release(&d);
	close(again);
}

static void a_listener_is_one_of_a_unix_stream_socket(void **state)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct descriptors d;
	struct error err = { 0 };
	char text[16];
	const char *p = text;

	/* The kernel finds an address. */
	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any.sun_family)), 0);
	assert_int_equal(listen(fd, 1), 0);
	snprintf(text, sizeof(text), "fd:%d", fd);
	assert_int_equal(descriptors_init(&d, &err), 0);
	assert_int_equal(descriptors_claim_text(&d, "--from", &p, DESCRIPTOR_LISTEN, &err), 0);
	descriptors_release(&d);
	close(fd);
}

static void a_descriptor_is_opened_as_often_as_a_file(void **state)
{
	int once = descriptor_open("fd:4", O_RDWR), twice = descriptor_open("fd:4", O_RDWR);

	assert_true(once > 4 && twice > 4 && once != twice);
	assert_true(fcntl(once, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(descriptor_take("fd:4", O_RDWR), 4);
	close(once);
	close(twice);
	assert_true(fcntl(4, F_GETFD) >= 0);
	once = descriptor_take("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(once >= 0);
	close(once);
	assert_int_equal(descriptor_open("/nowhere/at/all", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	/* A file of such a name has another one, too. */
	assert_false(descriptor_is("./fd:4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_is_taken_with_what_it_serves),
		cmocka_unit_test(a_name_is_the_descriptor_that_was_called_so),
		cmocka_unit_test(what_was_passed_to_another_process_is_left_alone),
		cmocka_unit_test(a_service_managers_nonsense_is_refused),
		cmocka_unit_test(what_cannot_serve_is_refused_with_its_number),
		cmocka_unit_test(what_is_no_number_and_no_name_is_refused),
		cmocka_unit_test(one_open_file_serves_once),
		cmocka_unit_test(a_listener_is_one_of_a_unix_stream_socket),
		cmocka_unit_test(a_descriptor_is_opened_as_often_as_a_file),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
