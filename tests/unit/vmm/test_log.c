/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmm/log.c: where messages go, and that nobody waits for who reads them. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/output.h"
#include "vmm/text.h"

/* Opens a file in a process without some of the three: it must not get the place for messages. */
static int first_file_without(unsigned int closed)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (closed >> fd & 1)
			close(fd);
	}
	if (log_keep_stdio() < 0)
		return 1;
	return open("/", O_RDONLY) > STDERR_FILENO ? 0 : 2;
}

static void no_file_gets_the_number_of_a_missing_stdio(void **state)
{
	for (unsigned int closed = 0; closed < 8; closed++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(first_file_without(closed));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* stderr, until teardown: one end of a pipe, a socket or a terminal, which the test reads or leaves alone. */
struct fixture {
	int saved;
	int reader;
	char text[1 << 20]; /* All that has been read. */
	size_t len;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	f->reader = -1;
	f->saved = dup(STDERR_FILENO);
	*state = f;
	return f->saved < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dup2(f->saved, STDERR_FILENO);
	close(f->saved);
	if (f->reader >= 0)
		close(f->reader);
	free(f);
	alarm(0);
	return 0;
}

static void set_stderr(int fd)
{
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

static void use_pipe(struct fixture *f)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->reader = fds[0];
	set_stderr(fds[1]);
}

static void use_socket(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	f->reader = fds[0];
	set_stderr(fds[1]);
}

/* Makes stderr a terminal that is stopped as by Ctrl-S. */
static void use_stopped_terminal(struct fixture *f)
{
	struct termios raw;
	int slave;

	f->reader = posix_openpt(O_RDWR | O_NOCTTY);
	assert_int_equal(grantpt(f->reader), 0);
	assert_int_equal(unlockpt(f->reader), 0);
	slave = open(ptsname(f->reader), O_RDWR | O_NOCTTY);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	set_stderr(slave);
}

static void use_nonblocking_pipe(struct fixture *f)
{
	use_pipe(f);
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
}

/* Reads until @last has come. */
static void read_until(struct fixture *f, const char *last)
{
	while (!strstr(f->text, last)) {
		ssize_t n = read(f->reader, f->text + f->len, sizeof(f->text) - 1 - f->len);

		assert_true(n > 0);
		f->len += (size_t)n;
		f->text[f->len] = '\0';
	}
}

/* Reads until @last has come, or for a moment nothing comes: then it was dropped. */
static bool read_while_there(struct fixture *f, const char *last)
{
	struct pollfd p = { .fd = f->reader, .events = POLLIN };

	while (!strstr(f->text, last)) {
		ssize_t n = poll(&p, 1, 200) > 0
				    ? read(f->reader, f->text + f->len, sizeof(f->text) - 1 - f->len)
				    : 0;

		if (n <= 0)
			return false;
		f->len += (size_t)n;
		f->text[f->len] = '\0';
	}
	return true;
}

/*
 * Checks messages with numbers, of which some are missing: each line is whole, the numbers rise, and a line
 * in the place of those that are missing says how many they are. Returns the last number.
 */
static unsigned int check_numbers(const char *text, unsigned int *n_missing)
{
	unsigned int next = 0, n;

	*n_missing = 0;
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		assert_non_null(strchr(line, '\n'));
		if (sscanf(line, "ferry: number %u of many, which is long enough to fill a pipe\n", &n) ==
		    1) {
			assert_int_equal(n, next);
			next++;
		} else if (sscanf(line, "ferry: %u messages were not written, because nobody read them\n",
				  &n) == 1) {
			assert_true(n > 0);
			*n_missing += n;
			next += n;
		} else {
			fail_msg("unexpected: %.100s", line);
		}
	}
	return next - 1;
}

static void say_number(unsigned int n)
{
	log_error("number %u of many, which is long enough to fill a pipe", n);
}

static void check_unread(struct fixture *f)
{
	enum { MANY = 20000 };
	unsigned int n_missing, n = 0;
	int flags = fcntl(STDERR_FILENO, F_GETFL);
	char last[64];

	assert_int_equal(log_start(), 0);
	for (; n < MANY; n++)
		say_number(n);
	n--;
	if (isatty(STDERR_FILENO))
		assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
	/* The number is said without another message. */
	read_until(f, "because nobody read them\n");
	/* Then things are as before. That may have been the first loss of several, so it takes a few
	 * attempts. */
	do {
		say_number(++n);
		snprintf(last, sizeof(last), "number %u of many, which is long enough to fill a pipe\n", n);
	} while (!read_while_there(f, last));
	log_stop();
	assert_int_equal(check_numbers(f->text, &n_missing), n);
	assert_true(n_missing > MANY / 2);
	/* The flags are as before, because other processes share the open file. */
	assert_int_equal(fcntl(STDERR_FILENO, F_GETFL), flags);
}

static void messages_to_a_pipe_that_nobody_reads_are_counted(void **state)
{
	use_pipe(*state);
	check_unread(*state);
}

static void messages_to_a_socket_that_nobody_reads_are_counted(void **state)
{
	use_socket(*state);
	check_unread(*state);
}

static void messages_to_a_stopped_terminal_are_counted(void **state)
{
	use_stopped_terminal(*state);
	check_unread(*state);
}

static void messages_to_a_nonblocking_pipe_are_counted(void **state)
{
	use_nonblocking_pipe(*state);
	check_unread(*state);
}

/* The end of the process does not wait for a reader that is not there. */
static void a_reader_that_does_not_read_does_not_hold_up_the_end(void **state)
{
	static void (*const use[])(struct fixture * f) = { use_pipe, use_socket, use_stopped_terminal,
							   use_nonblocking_pipe };

	for (unsigned int i = 0; i < ARRAY_SIZE(use); i++) {
		struct fixture *f = *state;

		use[i](f);
		assert_int_equal(log_start(), 0);
		for (unsigned int n = 0; n < 20000; n++)
			say_number(n);
		log_flush();
		log_stop();
		close(f->reader);
		f->reader = -1;
	}
}

static void the_last_message_reaches_a_reader(void **state)
{
	struct fixture *f = *state;

	use_pipe(f);
	assert_int_equal(log_start(), 0);
	log_error("first words");
	log_flush();
	assert_int_equal(read(f->reader, f->text, sizeof(f->text)), strlen("ferry: first words\n"));
	memset(f->text, 0, sizeof(f->text));
	log_error("last words");
	log_stop();
	/* Afterwards, and before, messages are written where they arise. */
	log_error("afterwards");
	close(STDERR_FILENO);
	read_until(f, "ferry: last words\nferry: afterwards\n");
	assert_int_equal(read(f->reader, f->text, 1), 0);
}

/* A full disk may get room again: the messages that it did not take are counted, and their error told. */
static void messages_that_could_not_be_written_are_counted(void **state)
{
	struct fixture *f = *state;
	int full = open("/dev/full", O_WRONLY);

	assert_true(full >= 0);
	set_stderr(full);
	assert_int_equal(log_start(), 0);
	for (unsigned int i = 0; i < 3; i++)
		say_number(i);
	log_flush();
	use_pipe(f);
	log_error("found better");
	read_until(f, "ferry: 3 messages could not be written: No space left on device\n");
	assert_ptr_equal(strstr(f->text, "ferry: found better\n"), f->text);
	log_stop();
}

static void a_child_of_fork_has_a_log(void **state)
{
	struct fixture *f = *state;
	int status = 0;
	pid_t pid;

	use_pipe(f);
	assert_int_equal(log_start(), 0);
	pid = fork();
	if (pid == 0) {
		log_error("of the child");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	read_until(f, "ferry: of the child\n");
	log_stop();
}

static void *talk(void *arg)
{
	for (unsigned int i = 0; i < 200; i++)
		log_error("%c%c%c%c%c%c%c%c", *(char *)arg, *(char *)arg, *(char *)arg, *(char *)arg,
			  *(char *)arg, *(char *)arg, *(char *)arg, *(char *)arg);
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	static char names[] = "abcd";
	struct fixture *f = *state;
	pthread_t threads[4];
	unsigned int n = 0;

	use_pipe(f);
	assert_int_equal(log_start(), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, talk, &names[i]), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	log_error("all");
	read_until(f, "ferry: all\n");
	log_stop();
	for (const char *line = f->text; strncmp(line, "ferry: all", 10) != 0; line += 16, n++) {
		assert_int_equal(strncmp(line, "ferry: ", 7), 0);
		assert_int_equal(strspn(line + 7, (char[2]){ line[7] }), 8);
		assert_int_equal(line[15], '\n');
	}
	assert_int_equal(n, 800);
}

static void a_strangers_text_forges_no_line(void **state)
{
	struct fixture *f = *state;

	use_pipe(f);
	log_error("a disk named %s", "x\nferry: all is well\033[2J\x9b"
				     "6n\302\233c");
	log_error("%s", "second");
	read_until(f, "second\n");
	assert_string_equal(f->text, "ferry: a disk named x?ferry: all is well?[2J?6n??c\nferry: second\n");
}

/* The message is cut within a character. */
static void a_long_message_is_cut_to_text(void **state)
{
	struct fixture *f = *state;
	char text[4096];

	use_pipe(f);
	for (unsigned int at = 0; at < 2; at++) {
		memset(text, 'a', sizeof(text));
		for (size_t i = at; i + 2 < sizeof(text); i += 2)
			memcpy(text + i, "\303\274", 2);
		text[sizeof(text) - 1] = '\0';
		log_error("%s", text);
	}
	log_error("end");
	read_until(f, "end\n");
	for (const char *line = f->text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		for (unsigned int n; line < end; line += n) {
			n = text_plain_len(line, end);
			assert_true(n > 0);
		}
	}
}

static struct log_limit shared;

static void *flood(void *arg)
{
	for (unsigned int i = 0; i < 10000; i++)
		log_limited(&shared, LOG_WARN, "flood");
	return NULL;
}

static void a_limit_holds_for_all_who_share_it(void **state)
{
	enum { THREADS = 4 };
	struct fixture *f = *state;
	pthread_t threads[THREADS];
	unsigned int n = 0;

	use_pipe(f);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, flood, NULL), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_error("end");
	read_until(f, "end\n");
	for (const char *at = f->text; (at = strstr(at, "ferry: flood\n")); at++)
		n++;
	assert_in_range(n, LOG_BURST, LOG_BURST + THREADS - 1);
	assert_int_equal(shared.n_dropped, THREADS * 10000 - n);
}

static void reasons_that_have_no_place_are_counted(void **state)
{
	struct error err = { 0 }, outer = { 0 };
	char want[48];

	for (unsigned int n = 0; n < 200; n++) {
		error_add(&err, "reason %u, %0*d", n, (int)(n * 7 % 100), 0);
		assert_true(strlen(err.text) < ERROR_LIST_MAX + 32);
		assert_memory_equal(err.text, "reason 0, 0", 11);
		if (err.n_left_out == 0)
			continue;
		snprintf(want, sizeof(want), "; and %u more", err.n_left_out);
		assert_string_equal(err.text + strlen(err.text) - strlen(want), want);
	}
	assert_in_range(err.n_left_out, 150, 190);
	/* Whoever passes them on still tells how many. */
	error_add(&outer, "hello: the destination says: %s", err.text);
	assert_string_equal(outer.text + strlen(outer.text) - strlen(want), want);
}

static void a_reason_that_is_too_long_is_cut(void **state)
{
	struct error one = { 0 }, two = { 0 };

	error_add(&one, "%02000d", 0);
	assert_int_equal(strlen(one.text), ERROR_TEXT_MAX - 1);
	assert_string_equal(one.text + strlen(one.text) - 4, "0...");
	error_add(&one, "x");
	error_add(&one, "y");
	assert_string_equal(one.text + strlen(one.text) - 13, "0; and 2 more");
	error_add(&two, "first");
	error_add(&two, "%02000d", 0);
	assert_int_equal(strlen(two.text), ERROR_LIST_MAX - 1);
	assert_string_equal(two.text + strlen(two.text) - 4, "0...");
	error_add(&two, "third");
	assert_string_equal(two.text + strlen(two.text) - 15, "...; and 1 more");
}

static void output_none(void *opaque)
{
}

static void output_failed(void *opaque, int error)
{
	fail();
}

static void a_flush_waits_until_all_is_written_and_no_longer(void **state)
{
	static const struct output_events events = { .failed = output_failed,
						     .mended = output_none,
						     .room = output_none };
	static const char some[4096];
	struct output *output;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(output_open(&output, fds[1], &events, NULL), 0);
	/* The writer waits for a pipe that is full. */
	for (struct pollfd p = { .fd = fds[1], .events = POLLOUT }; poll(&p, 1, 0) == 1;)
		output_put(output, some, sizeof(some), OUTPUT_PART);
	output_put(output, some, sizeof(some), OUTPUT_PART);
	pid = fork();
	if (pid == 0) {
		char buf[4096];

		close(fds[1]);
		while (read(fds[0], buf, sizeof(buf)) > 0)
			;
		_exit(0);
	}
	/* It waits in vain, and is ended, where nothing tells it. */
	alarm(60);
	output_flush(output, INT32_MAX);
	alarm(0);
	output_close(output, OUTPUT_LAST_MS);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reasons_that_have_no_place_are_counted),
		cmocka_unit_test(a_reason_that_is_too_long_is_cut),
		cmocka_unit_test(no_file_gets_the_number_of_a_missing_stdio),
		T(messages_to_a_pipe_that_nobody_reads_are_counted),
		T(messages_to_a_socket_that_nobody_reads_are_counted),
		T(messages_to_a_stopped_terminal_are_counted),
		T(messages_to_a_nonblocking_pipe_are_counted),
		T(a_reader_that_does_not_read_does_not_hold_up_the_end),
		T(the_last_message_reaches_a_reader),
		T(messages_that_could_not_be_written_are_counted),
		T(a_child_of_fork_has_a_log),
		T(lines_of_threads_do_not_mix),
		T(a_strangers_text_forges_no_line),
		T(a_long_message_is_cut_to_text),
		T(a_limit_holds_for_all_who_share_it),
		cmocka_unit_test(a_flush_waits_until_all_is_written_and_no_longer),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
