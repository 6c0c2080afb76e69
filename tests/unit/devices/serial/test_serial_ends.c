/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port on a file, and on a pseudo terminal. */
#define _GNU_SOURCE
#include "tests/unit/devices/serial/serial_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_BOUND KIB(64)

/* Finds the one pseudo terminal that this process is the master of. */
static void find_terminal(char *name, size_t len)
{
	int fd = 3;

	while (fd < 64 && ptsname_r(fd, name, len) != 0)
		fd++;
	assert_true(fd < 64);
}

static void use_file(struct fixture *f)
{
	f->config.serial = SERIAL_FILE;
	f->config.serial_max = FILE_BOUND;
}

static size_t contents(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, buf, len - 1);
	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
	return (size_t)n;
}

static void output_is_in_the_file_at_the_end(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char buf[256];

	use_file(f);
	start(f);
	say(f, "one\ntwo\nthree");
	end_of_one(f);
	contents(f->path, buf, sizeof(buf));
	assert_string_equal(buf, "one\ntwo\nthree");
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* The next one goes on behind that. */
	start(f);
	say(f, "\nfour\n");
	stop(f);
	contents(f->path, buf, sizeof(buf));
	assert_string_equal(buf, "one\ntwo\nthree\nfour\n");
}

static void a_guest_that_always_talks_fills_no_disk(void **state)
{
	struct fixture *f = *state;
	char before[80], line[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
	const uint64_t end_ns = end_of(60000);
	struct stat st;

	snprintf(before, sizeof(before), "%s.1", f->path);
	use_file(f);
	start(f);
	for (unsigned int i = 0; i < 6000; i++)
		say(f, line);
	/* On a busy machine most of that is dropped, for nobody waits for the file. */
	while (stat(before, &st) < 0 && now_ns() < end_ns)
		say(f, line);
	say(f, "the end\n");
	stop(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(st.st_size > 0 && (uint64_t)st.st_size <= FILE_BOUND);
	assert_int_equal(stat(before, &st), 0);
	assert_true((uint64_t)st.st_size <= FILE_BOUND);
	assert_int_equal(unlink(before), 0);
}

static void a_file_that_cannot_be_written_is_said_at_the_start(void **state)
{
	struct fixture *f = *state;
	char path[80];

	use_file(f);
	snprintf(path, sizeof(path), "%s/missing/log", f->dir);
	f->config.serial_path = path;
	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "/missing/log\": No such file or directory"));
	f->err = (struct error){ 0 };
	f->config.serial_path = "/dev/null";
	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), -ENOTSUP);
	assert_non_null(strstr(f->err.text, "no regular file"));
	f->serial = NULL;
}

/* A full disk, as a limit on the file's length plays it. */
static void a_full_disk_loses_output_and_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, none;
	char buf[256];

	use_file(f);
	start(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (unsigned int i = 0; i < 100000; i++)
		out(f, DATA, i % 64 == 63 ? '\n' : '.');
	assert_int_equal(stat(f->path, &(struct stat){ 0 }), 0);
	stop(f);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(contents(f->path, buf, sizeof(buf)), 0);
}

/* Pseudo terminals */

static int open_pty(struct fixture *f, char name[32])
{
	int fd;

	f->config.serial = SERIAL_PTY;
	create(f);
	find_terminal(name, 32);
	fd = open(name, O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	return fd;
}

static void a_terminal_program_is_at_the_guests_line(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	uint8_t all[256], back[256] = { 0 };
	char name[32];
	int fd = open_pty(f, name);

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	run(f);
	say(f, "login: ");
	read_text(fd, "login: ");
	write_all(fd, "root\r", 5);
	hear_text(f, "root\r");
	/* Each byte is as it was, in both directions: no echo, no signals, no ends of lines. */
	for (unsigned int i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	write_all(fd, all, sizeof(all));
	hear(f, back, sizeof(back));
	assert_memory_equal(all, back, sizeof(all));
	for (unsigned int i = 0; i < sizeof(all); i++)
		out(f, DATA, all[i]);
	memset(back, 0, sizeof(back));
	read_all(fd, back, sizeof(back));
	assert_memory_equal(all, back, sizeof(all));
	close(fd);
}

static void programs_come_and_go(void **state)
{
	struct fixture *f = *state;
	char name[32];
	int fd = open_pty(f, name);

	run(f);
	say(f, "one");
	read_text(fd, "one");
	close(fd);
	say(f, "two");
	for (unsigned int i = 0; i < 3; i++) {
		fd = open(name, O_RDWR | O_NOCTTY);
		read_text(fd, "two");
		write_all(fd, "three", 5);
		hear_text(f, "three");
		say(f, "two");
		close(fd);
	}
	fd = open(name, O_RDWR | O_NOCTTY);
	read_text(fd, "two");
	close(fd);
}

static void a_terminal_that_nobody_reads_costs_nothing(void **state)
{
	enum { LEN = 1000000 };
	struct fixture *f = *state;
	uint8_t tail[8] = { 0 };
	struct pollfd p;
	uint64_t n = 0;
	char name[32];
	int fd = open_pty(f, name);

	for (unsigned int i = 0; i < LEN; i++) {
		out(f, DATA, '.');
		if (i % 10000 == 0)
			assert_comes_to_rest(f);
	}
	say(f, "the end!");
	assert_comes_to_rest(f);
	/* The newest output comes to whoever looks at last. */
	run(f);
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	while (memcmp(tail, "the end!", sizeof(tail)) != 0) {
		assert_int_equal(poll(&p, 1, 60000), 1);
		memmove(tail, tail + 1, sizeof(tail) - 1);
		read_all(fd, &tail[7], 1);
		n++;
	}
	assert_true(n >= 65536 && n < LEN);
	close(fd);
}

static void last_words_are_waited_for(void **state)
{
	struct fixture *f = *state;
	char name[32], text[64];
	int out_pipe[2], status, fd = open_pty(f, name);
	pid_t pid;

	assert_int_equal(pipe(out_pipe), 0);
	run(f);
	pid = fork();
	if (pid == 0) {
		/* A reader that is slow. */
		poll(NULL, 0, 50);
		_exit(read(fd, text, sizeof(text)) == 4 && write(out_pipe[1], text, 4) == 4 ? 0 : 1);
	}
	say(f, "bye!");
	stop(f);
	read_text(out_pipe[0], "bye!");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* Ferry's end is closed, and whoever is at the other one is told. */
	assert_true(read(fd, text, sizeof(text)) <= 0);
	close(fd);
	close(out_pipe[0]);
	close(out_pipe[1]);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(output_is_in_the_file_at_the_end),
		T(a_guest_that_always_talks_fills_no_disk),
		T(a_file_that_cannot_be_written_is_said_at_the_start),
		T(a_full_disk_loses_output_and_holds_up_nobody),
		T(a_terminal_program_is_at_the_guests_line),
		T(programs_come_and_go),
		T(a_terminal_that_nobody_reads_costs_nothing),
		T(last_words_are_waited_for),
	};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
