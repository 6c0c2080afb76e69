/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that output is appended to: its bound, and what becomes of it where others move it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/output_file.h"

#define BOUND 100u

struct folder {
	char dir[32];
	char path[64], before[64];
	struct output_file *file;
};

static int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/ferry-output.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/log", f->dir);
	snprintf(f->before, sizeof(f->before), "%s/log.1", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct folder *f = *state;
	char command[64];

	if (f->file)
		output_file_close(f->file);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void begin(struct folder *f)
{
	assert_int_equal(output_file_open(&f->file, f->path, BOUND), 0);
}

static void put(struct folder *f, const char *text)
{
	assert_int_equal(output_file_write(f->file, text, strlen(text)), strlen(text));
}

static void assert_has(const char *path, const char *text)
{
	char buf[1024] = { 0 };
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
	close(fd);
	assert_string_equal(buf, text);
}

static void make(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void output_goes_behind_what_is_there(void **state)
{
	struct folder *f = *state;
	struct stat st;

	begin(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	put(f, "one\n");
	output_file_close(f->file);
	begin(f);
	put(f, "two\n");
	assert_has(f->path, "one\ntwo\n");
}

static void a_full_file_becomes_the_one_before(void **state)
{
	struct folder *f = *state;
	char forty[41] = { 0 }, sixty[61] = { 0 }, eighty[81] = { 0 }, hundred[101];

	memset(forty, 'a', 40);
	memset(eighty, 'a', 80);
	begin(f);
	put(f, forty);
	put(f, forty);
	assert_int_equal(access(f->before, F_OK), -1);
	put(f, forty);
	assert_has(f->before, eighty);
	assert_has(f->path, forty);
	/* The last of the bound is used, and one byte more is not. */
	memset(sixty, 'b', 60);
	put(f, sixty);
	snprintf(hundred, sizeof(hundred), "%s%s", forty, sixty);
	assert_has(f->before, eighty);
	assert_has(f->path, hundred);
	put(f, "c");
	assert_has(f->before, hundred);
	assert_has(f->path, "c");
}

static void what_was_there_counts(void **state)
{
	struct folder *f = *state;
	char text[151] = { 0 };

	memset(text, 'x', 150);
	make(f->path, text);
	begin(f);
	put(f, "new\n");
	assert_has(f->before, text);
	assert_has(f->path, "new\n");
}

static void a_file_that_is_moved_away_begins_anew(void **state)
{
	struct folder *f = *state;
	char away[80];

	snprintf(away, sizeof(away), "%s/away", f->dir);
	begin(f);
	put(f, "one\n");
	assert_int_equal(rename(f->path, away), 0);
	put(f, "two\n");
	assert_has(away, "one\n");
	assert_has(f->path, "two\n");
	assert_int_equal(unlink(f->path), 0);
	put(f, "three\n");
	assert_has(f->path, "three\n");
	/* Another file has the name by now. */
	assert_int_equal(rename(f->path, away), 0);
	make(f->path, "theirs\n");
	put(f, "four\n");
	assert_has(f->path, "theirs\nfour\n");
	/* Cut short in its place, as copytruncate does. */
	assert_int_equal(truncate(f->path, 0), 0);
	put(f, "five\n");
	assert_has(f->path, "five\n");
}

static void what_is_no_file_of_its_own_is_refused(void **state)
{
	struct folder *f = *state;
	char other[80], longest[NAME_MAX + 40];

	snprintf(other, sizeof(other), "%s/other", f->dir);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(output_file_open(&f->file, f->path, BOUND), -ENOTSUP);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink(other, f->path), 0);
	assert_int_equal(output_file_open(&f->file, f->path, BOUND), -ELOOP);
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(output_file_open(&f->file, f->dir, BOUND), -EISDIR);
	assert_int_equal(output_file_open(&f->file, "/tmp/", BOUND), -EISDIR);
	assert_int_equal(output_file_open(&f->file, "/dev/null", BOUND), -ENOTSUP);
	strcat(other, "/log");
	assert_int_equal(output_file_open(&f->file, other, BOUND), -ENOENT);
	memset(longest, 'n', sizeof(longest));
	memcpy(longest, f->dir, strlen(f->dir));
	longest[strlen(f->dir)] = '/';
	/* There is room for the name and not for that of the file before. */
	longest[strlen(f->dir) + 1 + NAME_MAX - 1] = '\0';
	assert_int_equal(output_file_open(&f->file, longest, BOUND), -ENAMETOOLONG);
	longest[strlen(f->dir) + 1 + NAME_MAX - 2] = '\0';
	assert_int_equal(output_file_open(&f->file, longest, BOUND), 0);
}

/* A name that a stranger has taken, in a folder that is open to all. */
static void what_takes_the_files_place_is_not_written_to(void **state)
{
	struct folder *f = *state;
	char other[80];

	snprintf(other, sizeof(other), "%s/other", f->dir);
	make(other, "theirs\n");
	begin(f);
	put(f, "one\n");
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(symlink(other, f->path), 0);
	assert_int_equal(output_file_write(f->file, "two\n", 4), -ELOOP);
	assert_has(other, "theirs\n");
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(output_file_write(f->file, "two\n", 4), -ENOTSUP);
	assert_int_equal(unlink(f->path), 0);
	put(f, "three\n");
	assert_has(f->path, "three\n");
}

static void a_bound_that_cannot_be_kept_is_an_error(void **state)
{
	struct folder *f = *state;
	char text[101] = { 0 }, inside[80];

	memset(text, 'x', 100);
	begin(f);
	put(f, text);
	/* A folder that is not empty cannot be replaced. */
	assert_int_equal(mkdir(f->before, 0700), 0);
	snprintf(inside, sizeof(inside), "%s/inside", f->before);
	make(inside, "");
	assert_true(output_file_write(f->file, "y", 1) < 0);
	assert_has(f->path, text);
	assert_int_equal(unlink(inside), 0);
	assert_int_equal(rmdir(f->before), 0);
	put(f, "y");
	assert_has(f->before, text);
}

static void a_name_without_a_folder_is_one_in_this(void **state)
{
	struct folder *f = *state;
	char here[PATH_MAX];

	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(output_file_open(&f->file, "log", BOUND), 0);
	assert_int_equal(chdir(here), 0);
	put(f, "one\n");
	assert_has(f->path, "one\n");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(output_goes_behind_what_is_there),
		TEST(a_full_file_becomes_the_one_before),
		TEST(what_was_there_counts),
		TEST(a_file_that_is_moved_away_begins_anew),
		TEST(what_is_no_file_of_its_own_is_refused),
		TEST(what_takes_the_files_place_is_not_written_to),
		TEST(a_bound_that_cannot_be_kept_is_an_error),
		TEST(a_name_without_a_folder_is_one_in_this),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
