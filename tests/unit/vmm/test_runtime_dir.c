/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runtime directories of all owners and modes, and their lock. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/runtime_dir.h"

#define NOBODY 65534

static char base[] = "/tmp/ferry-runtime-XXXXXX";
static char dir[64], lock[80];

static int in_base(void **state)
{
	strcpy(strrchr(base, '-'), "-XXXXXX");
	snprintf(dir, sizeof(dir), "%s/run", mkdtemp(base) ? base : "");
	snprintf(lock, sizeof(lock), "%s/.lock", dir);
	return 0;
}

static int out_of_base(void **state)
{
	unlink(lock);
	rmdir(dir);
	return rmdir(base);
}

static void assert_opens(void)
{
	struct error err = { 0 };
	int fd = -1;

	assert_int_equal(runtime_dir_open(dir, &fd, &err), 0);
	close(fd);
}

static void assert_refused(const char *why)
{
	struct error err = { 0 };
	int fd = -1;

	assert_int_equal(runtime_dir_open(dir, &fd, &err), -EPERM);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(err.text, why));
	assert_non_null(strstr(err.text, "--runtime-dir"));
}

static void one_that_is_made_is_its_owners_alone(void **state)
{
	mode_t old = umask(0);
	struct stat st;

	assert_opens();
	umask(old);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_opens();
}

static void one_that_others_can_write_to_is_refused(void **state)
{
	static const struct {
		mode_t mode;
		const char *why; /* NULL: it is taken. */
	} cases[] = {
		{ 0700, NULL },         { 0750, NULL },         { 0755, NULL },
		{ 02755, NULL },        { 01755, NULL },        { 0770, "chmod go-w" },
		{ 0702, "chmod go-w" }, { 0777, "chmod go-w" }, { 01777, "everybody's" },
	};

	assert_int_equal(mkdir(dir, 0700), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(chmod(dir, cases[i].mode), 0);
		if (cases[i].why)
			assert_refused(cases[i].why);
		else
			assert_opens();
	}
}

static void another_users_directory_is_refused(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(chown(dir, NOBODY, NOBODY), 0);
	assert_refused("belongs to the user with id 65534");
}

static void a_vms_folder_is_made_once_and_is_no_link(void **state)
{
	struct error err = { 0 };
	struct stat st, named;
	int fd, folder_fd;

	assert_int_equal(runtime_dir_open(dir, &fd, &err), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(runtime_dir_enter(fd, "web1", "the folder", &folder_fd, &err), 0);
		assert_int_equal(fstat(folder_fd, &st), 0);
		assert_int_equal(st.st_mode, S_IFDIR | 0700);
		assert_int_equal(fstatat(fd, "web1", &named, 0), 0);
		assert_int_equal(st.st_ino, named.st_ino);
		close(folder_fd);
	}
	assert_int_equal(symlinkat("web1", fd, "web2"), 0);
	assert_int_equal(runtime_dir_enter(fd, "web2", "the folder", &folder_fd, &err), -ENOTDIR);
	assert_int_equal(folder_fd, -1);
	assert_non_null(strstr(err.text, "the folder: Not a directory"));
	assert_int_equal(unlinkat(fd, "web2", 0), 0);
	assert_int_equal(unlinkat(fd, "web1", AT_REMOVEDIR), 0);
	close(fd);
}

/* Any user who can read the directory can lock it, which must not matter. */
static void a_lock_on_the_directory_itself_is_not_waited_for(void **state)
{
	struct error err = { 0 };
	int other, fd, lock_fd;

	assert_int_equal(mkdir(dir, 0755), 0);
	other = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(other, LOCK_EX), 0);
	assert_int_equal(runtime_dir_open(dir, &fd, &err), 0);
	assert_int_equal(runtime_dir_lock(fd, dir, -1, &lock_fd, &err), 0);
	runtime_dir_unlock(fd, lock_fd);
	assert_int_equal(access(lock, F_OK), -1);
	close(fd);
	close(other);
}

static int hold_lock(void)
{
	int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(flock(fd, LOCK_EX), 0);
	return fd;
}

static void the_lock_is_waited_for_with_an_end_and_a_cancel(void **state)
{
	int cancel_fd = eventfd(0, EFD_CLOEXEC), held, fd, lock_fd;
	struct error err = { 0 };

	assert_int_equal(runtime_dir_open(dir, &fd, &err), 0);
	held = hold_lock();
	assert_int_equal(runtime_dir_lock(fd, dir, cancel_fd, &lock_fd, &err), -EAGAIN);
	assert_non_null(strstr(err.text, "another process holds the lock"));
	assert_non_null(strstr(err.text, "fuser"));
	eventfd_write(cancel_fd, 1);
	err = (struct error){ 0 };
	assert_int_equal(runtime_dir_lock(fd, dir, cancel_fd, &lock_fd, &err), -ECANCELED);
	close(held);
	/* A lock file that a dead process has left is no obstacle. */
	assert_int_equal(runtime_dir_lock(fd, dir, -1, &lock_fd, &err), 0);
	runtime_dir_unlock(fd, lock_fd);
	close(fd);
	close(cancel_fd);
}

/* A lock on a file that is not there any more locks nothing. */
static void a_lock_that_was_removed_is_taken_anew(void **state)
{
	struct error err = { 0 };
	int held, fd, lock_fd;
	struct stat st, named;

	assert_int_equal(runtime_dir_open(dir, &fd, &err), 0);
	held = hold_lock();
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(runtime_dir_lock(fd, dir, -1, &lock_fd, &err), 0);
	assert_int_equal(fstat(lock_fd, &st), 0);
	assert_int_equal(stat(lock, &named), 0);
	assert_int_equal(st.st_ino, named.st_ino);
	assert_int_equal(named.st_mode & 0777, 0600);
	runtime_dir_unlock(fd, lock_fd);
	close(held);
	close(fd);
}

#define DIR_TEST(f) cmocka_unit_test_setup_teardown(f, in_base, out_of_base)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DIR_TEST(one_that_is_made_is_its_owners_alone),
		DIR_TEST(one_that_others_can_write_to_is_refused),
		DIR_TEST(another_users_directory_is_refused),
		DIR_TEST(a_vms_folder_is_made_once_and_is_no_link),
		DIR_TEST(a_lock_on_the_directory_itself_is_not_waited_for),
		DIR_TEST(the_lock_is_waited_for_with_an_end_and_a_cancel),
		DIR_TEST(a_lock_that_was_removed_is_taken_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
