/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are written as a whole: what was there stays, or all of the new is there. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/file_save.h"

static char dir[] = "/tmp/ferry-file-XXXXXX";
static char path[64], link_path[64];

static void assert_holds(const char *name, const char *wanted)
{
	char text[64] = "";
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	assert_string_equal(text, wanted);
}

/* Files in the folder. */
static unsigned int count(void)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static int save(const char *name, const char *text)
{
	struct error err = { 0 };
	int ret = file_save(name, text, strlen(text), &err);

	assert_int_equal(ret < 0, err.text[0] != '\0');
	assert_true(ret == 0 || strstr(err.text, name));
	return ret;
}

static void a_file_is_made_and_replaced_as_a_whole(void **state)
{
	struct stat before, after;
	int fd;

	assert_int_equal(save(path, "one"), 0);
	assert_holds(path, "one");
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(stat(path, &before), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(save(path, "another"), 0);
	assert_holds(path, "another");
	/* Whoever reads the old one has all of it. */
	assert_int_equal(lseek(fd, 0, SEEK_END), 3);
	close(fd);
	assert_int_equal(stat(path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(after.st_mode & 0777, 0640);
	assert_int_equal(count(), 1);
}

static void a_link_stays_one(void **state)
{
	struct stat st;

	assert_int_equal(symlink(path, link_path), 0);
	assert_int_equal(save(link_path, "through"), 0);
	assert_holds(path, "through");
	assert_int_equal(lstat(link_path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink(link_path);
}

static void what_is_no_file_is_written_to_and_stays(void **state)
{
	struct stat st;
	int fd;

	assert_int_equal(mkfifo(link_path, 0600), 0);
	fd = open(link_path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	assert_int_equal(save(link_path, "pipe"), 0);
	assert_int_equal(stat(link_path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_holds(link_path, "pipe");
	close(fd);
	unlink(link_path);
	assert_int_equal(save("/dev/full", "x"), -ENOSPC);
	assert_int_equal(stat("/dev/full", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
}

static void a_failure_leaves_nothing_behind(void **state)
{
	char name[64];
	unsigned int n = count();

	snprintf(name, sizeof(name), "%s/none/report", dir);
	assert_int_equal(save(name, "x"), -ENOENT);
	assert_int_equal(save(dir, "x"), -EISDIR);
	assert_int_equal(count(), n);
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/report", dir);
	snprintf(link_path, sizeof(link_path), "%s/link", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_made_and_replaced_as_a_whole),
		cmocka_unit_test(a_link_stays_one),
		cmocka_unit_test(what_is_no_file_is_written_to_and_stays),
		cmocka_unit_test(a_failure_leaves_nothing_behind),
	};

	return cmocka_run_group_tests_name("file_save", tests, setup, teardown);
}
