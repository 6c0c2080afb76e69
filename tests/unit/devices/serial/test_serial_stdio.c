/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port on stdin and stdout: pipes, files, sockets, and readers that do not read. */
#define _GNU_SOURCE
#include "tests/unit/devices/serial/serial_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void pipes_carry_both_directions_and_stay_as_they_were(void **state)
{
	struct fixture *f = *state;
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	replace_stdio(f, to[0], from[1]);
	start(f);
	say(f, "login: ");
	read_text(from[0], "login: ");
	/* Ctrl-A is nothing special here. */
	write_all(to[1], "\x01x\n", 3);
	hear_text(f, "\x01x\n");
	write_all(to[1], "end", 3);
	close(to[1]);
	hear_text(f, "end");
	/* O_NONBLOCK on the open file would be set for all who share it. */
	assert_int_equal(fcntl(from[1], F_GETFL) & O_NONBLOCK, 0);
	say(f, "last words");
	stop(f);
	read_text(from[0], "last words");
	close(to[0]);
	close(from[0]);
	close(from[1]);
}

static void a_reader_that_has_gone_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	int from[2], null = open("/dev/null", O_RDONLY);

	assert_int_equal(pipe(from), 0);
	replace_stdio(f, null, from[1]);
	start(f);
	close(from[0]);
	for (unsigned int i = 0; i < 200000; i++)
		out(f, DATA, 'x');
	close(from[1]);
	close(null);
}

static void files_are_read_and_written_though_nobody_can_watch_them(void **state)
{
	enum { LEN = 20000 };
	struct fixture *f = *state;
	uint8_t sent[LEN], heard[LEN];
	FILE *from = tmpfile(), *to = tmpfile();

	for (unsigned int i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i % 253);
	write_all(fileno(from), sent, LEN);
	rewind(from);
	replace_stdio(f, fileno(from), fileno(to));
	start(f);
	hear(f, heard, LEN);
	assert_memory_equal(sent, heard, LEN);
	for (unsigned int i = 0; i < LEN; i++)
		out(f, DATA, sent[i]);
	stop(f);
	assert_int_equal(pread(fileno(to), heard, LEN, 0), LEN);
	assert_memory_equal(sent, heard, LEN);
	fclose(from);
	fclose(to);
}

static void an_input_that_has_ended_keeps_nobody_busy(void **state)
{
	struct fixture *f = *state;
	FILE *empty = tmpfile();
	struct termios before;
	int fds[2], pair[2], slave, master;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	master = open_terminal(f, &slave, &before);
	close(fds[1]);
	close(pair[1]);
	close(master);
	{
		const int inputs[] = { fileno(empty), open("/dev/null", O_RDONLY), fds[0], pair[0], slave };

		for (unsigned int i = 0; i < ARRAY_SIZE(inputs); i++) {
			dup2(inputs[i], STDIN_FILENO);
			create(f);
			out(f, MCR, 0x0b);
			assert_comes_to_rest(f);
			end_of_one(f);
			if (i > 0)
				close(inputs[i]);
		}
	}
	fclose(empty);
}

/* Another process to which the shell has given the same stdin may be faster. */
static void input_that_another_process_took_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	int null = open("/dev/null", O_WRONLY), ends[2][2], slave;
	struct termios before;
	int master = open_terminal(f, &slave, &before);

	dup2(null, STDOUT_FILENO);
	assert_int_equal(pipe(ends[0]), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[1]), 0);
	{
		const int inputs[][2] = { { ends[0][0], ends[0][1] },
					  { ends[1][0], ends[1][1] },
					  { slave, master } };

		for (unsigned int i = 0; i < ARRAY_SIZE(inputs); i++) {
			struct epoll_event event;
			uint8_t c;

			dup2(inputs[i][0], STDIN_FILENO);
			create(f);
			out(f, MCR, 0x0b);
			assert_comes_to_rest(f);
			/* Another process takes the input after the loop has been told of it. */
			write_all(inputs[i][1], "x", 1);
			event = next_event(f);
			read_all(inputs[i][0], &c, 1);
			dispatch(f, event);
			assert_comes_to_rest(f);
			/* The input has not ended by that. */
			write_all(inputs[i][1], "y", 1);
			dispatch(f, next_event(f));
			hear(f, &c, 1);
			assert_int_equal(c, 'y');
			end_of_one(f);
			close(inputs[i][0]);
			close(inputs[i][1]);
		}
	}
	close(null);
}

/* The writer of the FIFO has gone, and another comes. */
static void a_fifo_is_heard_again(void **state)
{
	struct fixture *f = *state;
	int null = open("/dev/null", O_WRONLY), fd, writer;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	fd = open(f->path, O_RDONLY | O_NONBLOCK);
	replace_stdio(f, fd, null);
	create(f);
	out(f, MCR, 0x0b);
	for (unsigned int i = 0; i < 3; i++) {
		writer = open(f->path, O_WRONLY);
		write_all(writer, "come in", 7);
		assert_comes_to_rest(f);
		hear_text(f, "come in");
		close(writer);
		assert_comes_to_rest(f);
	}
	close(fd);
	close(null);
}

/* A user who has no files. */
#define NOBODY 65534

static int nothing(void *arg)
{
	return 0;
}

/* Nobody reads stdout, of any kind: neither the guest nor the main loop waits, and the end comes. */
static void check_unread_stdout(struct fixture *f, int slave)
{
	enum { MANY = 1000000 };

	start(f);
	for (unsigned int i = 0; i < MANY; i++)
		out(f, DATA, 'x');
	/* The main loop does other things. */
	loop_call(&f->vm.loop, nothing, NULL);
	say(f, "the end");
	loop_call(&f->vm.loop, nothing, NULL);
	if (slave >= 0)
		assert_int_equal(tcflow(slave, TCOON), 0);
}

/* Reads until the newest of what nobody read has come. */
static void read_to_the_end(int fd)
{
	char last[8] = { 0 };

	while (strcmp(last, "the end") != 0) {
		memmove(last, last + 1, 6);
		read_all(fd, last + 6, 1);
	}
}

static void a_stopped_terminal_holds_up_nobody_and_comes_back(void **state)
{
	struct fixture *f = *state;
	struct termios before;
	int slave, master = open_terminal(f, &slave, &before);

	cfmakeraw(&before);
	assert_int_equal(tcsetattr(slave, TCSANOW, &before), 0);
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	/* The terminal is another user's, so it cannot be opened anew. */
	assert_int_equal(fchmod(slave, 0), 0);
	setfsuid(NOBODY);
	check_unread_stdout(f, slave);
	setfsuid(geteuid());
	read_to_the_end(master);
	/* The terminal is stopped again, to the end of the VM. */
	end_of_one(f);
	assert_int_equal(tcflow(slave, TCOOFF), 0);
	check_unread_stdout(f, -1);
	stop(f);
	close(slave);
	close(master);
}

static void a_pipe_that_nobody_reads_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	int from[2], null = open("/dev/null", O_RDONLY);

	assert_int_equal(pipe(from), 0);
	replace_stdio(f, null, from[1]);
	check_unread_stdout(f, -1);
	read_to_the_end(from[0]);
	assert_int_equal(fcntl(from[1], F_GETFL) & O_NONBLOCK, 0);
	for (unsigned int i = 0; i < 300000; i++)
		out(f, DATA, 'y');
	stop(f);
	close(from[0]);
	close(from[1]);
	close(null);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pipes_carry_both_directions_and_stay_as_they_were),
		T(a_reader_that_has_gone_holds_up_nobody),
		T(files_are_read_and_written_though_nobody_can_watch_them),
		T(an_input_that_has_ended_keeps_nobody_busy),
		T(input_that_another_process_took_is_not_waited_for),
		T(a_fifo_is_heard_again),
		T(a_stopped_terminal_holds_up_nobody_and_comes_back),
		T(a_pipe_that_nobody_reads_holds_up_nobody),
	};

	signal(SIGPIPE, SIG_IGN);
	/* The tests replace stdin, stdout and stderr, and put them back: all three must be open. */
	if (log_keep_stdio() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
