/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of listening sockets, beside everything else that can have their name. */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/socket_file.h"

#define NOBODY 65534

static char dir[] = "/tmp/ferry-socket-XXXXXX";
static char path[64];

static int in_dir(void **state)
{
	strcpy(strrchr(dir, '-'), "-XXXXXX");
	snprintf(path, sizeof(path), "%s/x.sock", mkdtemp(dir) ? dir : "");
	return 0;
}

static int out_of_dir(void **state)
{
	unlink(path);
	return rmdir(dir);
}

static int make_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	return fd;
}

/* Makes somebody else's socket, with another mode than Ferry's would have. */
static int bind_other(int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = make_socket(type);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static struct stat status(void)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

/* Checks that a bind is refused, and that what was there is left there. */
static void assert_refused(int why)
{
	struct socket_file file = { 0 };
	struct stat before = status(), after;
	int fd = make_socket(SOCK_STREAM);

	assert_int_equal(socket_file_bind(&file, fd, AT_FDCWD, path, 0600), why);
	after = status();
	assert_int_equal(before.st_ino, after.st_ino);
	/* The end of the process that was refused does not remove it either. */
	socket_file_remove(&file);
	after = status();
	assert_int_equal(before.st_ino, after.st_ino);
	close(fd);
}

static void a_socket_is_its_owners_alone(void **state)
{
	struct socket_file file = { 0 };
	int fd = make_socket(SOCK_STREAM);
	mode_t old = umask(0);

	assert_int_equal(socket_file_bind(&file, fd, AT_FDCWD, path, 0600), 0);
	umask(old);
	assert_int_equal(status().st_mode, S_IFSOCK | 0600);
	socket_file_remove(&file);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
}

static void what_a_dead_process_left_is_replaced(void **state)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		struct socket_file file = { 0 };
		int fd = make_socket(SOCK_STREAM);

		close(bind_other(types[i]));
		assert_int_equal(socket_file_bind(&file, fd, AT_FDCWD, path, 0600), 0);
		assert_int_equal(listen(fd, 1), 0);
		socket_file_remove(&file);
		close(fd);
	}
}

static void what_a_living_process_has_stays(void **state)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		int fd = bind_other(types[i]);

		/* A socket whose process does not listen yet is in use, too. */
		assert_refused(-EADDRINUSE);
		if (types[i] != SOCK_DGRAM) {
			assert_int_equal(listen(fd, 1), 0);
			assert_refused(-EADDRINUSE);
			/* The listener has not noticed. */
			assert_int_equal(accept4(fd, NULL, NULL, 0), -1);
			assert_int_equal(errno, EAGAIN);
		}
		close(fd);
		unlink(path);
	}
}

static void what_is_no_socket_stays(void **state)
{
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	assert_refused(-EEXIST);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(-EEXIST);
	unlink(path);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_refused(-EEXIST);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(-EEXIST);
	rmdir(path);
}

/* A symbolic link to a dead socket is not that socket. */
static void a_link_to_a_socket_stays(void **state)
{
	char target[80];

	close(bind_other(SOCK_STREAM));
	snprintf(target, sizeof(target), "%s.target", path);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_refused(-EEXIST);
	assert_int_equal(unlink(target), 0);
}

static void what_another_user_left_stays(void **state)
{
	if (geteuid() != 0)
		skip();
	close(bind_other(SOCK_STREAM));
	assert_int_equal(lchown(path, NOBODY, NOBODY), 0);
	assert_refused(-EPERM);
	assert_non_null(strstr(socket_file_error(-EPERM), "another user"));
}

static void what_took_our_name_is_not_removed(void **state)
{
	struct socket_file file = { 0 };
	int fd = make_socket(SOCK_STREAM), other;
	struct stat st;

	assert_int_equal(socket_file_bind(&file, fd, AT_FDCWD, path, 0600), 0);
	assert_int_equal(unlink(path), 0);
	other = bind_other(SOCK_STREAM);
	st = status();
	socket_file_remove(&file);
	assert_int_equal(status().st_ino, st.st_ino);
	close(other);
	close(fd);
}

/* A path that leads elsewhere by now is noticed, for whoever looks in the directory finds nothing. */
static void a_directory_that_was_replaced_is_noticed(void **state)
{
	struct socket_file file = { 0 };
	int fd = make_socket(SOCK_STREAM), dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char old[80];

	snprintf(old, sizeof(old), "%s.old", dir);
	assert_int_equal(rename(dir, old), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(socket_file_bind(&file, fd, dir_fd, path, 0600), -ESTALE);
	close(dir_fd);
	close(fd);
	assert_int_equal(rmdir(old), 0);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, in_dir, out_of_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(a_socket_is_its_owners_alone),
		FILE_TEST(what_a_dead_process_left_is_replaced),
		FILE_TEST(what_a_living_process_has_stays),
		FILE_TEST(what_is_no_socket_stays),
		FILE_TEST(a_link_to_a_socket_stays),
		FILE_TEST(what_another_user_left_stays),
		FILE_TEST(what_took_our_name_is_not_removed),
		FILE_TEST(a_directory_that_was_replaced_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
