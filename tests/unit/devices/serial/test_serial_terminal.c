/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's terminal: lent to the guest, shared with other jobs, and given back in every way out. */
#define _GNU_SOURCE
#include "tests/unit/devices/serial/serial_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/vm_line.h"

static void a_terminal_is_the_guests_but_for_ctrl_a(void **state)
{
	struct fixture *f = *state;
	int master, slave;
	struct termios before, during, after;

	master = open_terminal(f, &slave, &before);
	start(f);
	say(f, "hello");
	read_text(master, "hello");
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	write_all(master, "\x03\x01\x01\x01z", 5);
	hear_text(f, "\x03\x01z");
	/* Ctrl-A x works even when the guest does not read. */
	for (unsigned int i = 0; i < 100; i++)
		write_all(master, "typed", 5);
	write_all(master, "\x01", 1);
	assert_false(fake_line_ended());
	write_all(master, "x", 1);
	fake_line_wait_ended();
	stop(f);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	close(slave);
	close(master);
}

static void a_terminal_is_the_operators_until_the_guest_has_arrived(void **state)
{
	struct fixture *f = *state;
	int master, slave;
	struct termios before, during;

	master = open_terminal(f, &slave, &before);
	f->config.receives = true;
	create(f);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag, before.c_lflag);
	f->vm.devices->ops->resume(f->vm.devices, DEVICE_ARRIVED);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	stop(f);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag, before.c_lflag);
	close(slave);
	close(master);
}

static void assert_nothing_typed(int slave)
{
	struct pollfd p = { .fd = slave, .events = POLLIN };
	struct termios raw;
	int n = -1;

	/* In raw mode a line that is not ended shows, too. */
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(ioctl(slave, FIONREAD, &n), 0);
	assert_int_equal(n, 0);
}

/* The VM has ended, nobody reads the terminal any more, and it answers the guest's last question. */
static void what_a_terminal_answers_is_not_typed_into_the_shell(void **state)
{
	struct fixture *f = *state;
	struct termios before, after;
	int slave, master = open_terminal(f, &slave, &before);
	struct pollfd p = { .fd = slave, .events = POLLIN };

	start(f);
	say(f, "power off\033[6n\033[c");
	read_text(master, "power off\033[6n\033[c");
	loop_join(&f->vm.loop);
	f->running = false;
	write_all(master, "\033[24;80R\033[?62;c", 14);
	assert_int_equal(poll(&p, 1, -1), 1);
	stop(f);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_cc[VMIN], before.c_cc[VMIN]);
	assert_nothing_typed(slave);
	close(slave);
	close(master);
}

/* The guard ends the process at once, while the loop's thread may be anywhere. */
static void a_forced_end_gives_the_terminal_back(void **state)
{
	struct fixture *f = *state;
	struct termios before, after;
	int slave, master = open_terminal(f, &slave, &before);

	start(f);
	say(f, "hello");
	read_text(master, "hello");
	write_all(master, "typed\n", 6);
	force_end(f);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_nothing_typed(slave);
	stop(f);
	close(slave);
	close(master);
}

/* A child with @slave as its controlling terminal, and another job in the foreground of it. */
static pid_t in_background(int slave)
{
	pid_t job;

	assert_true(setsid() > 0);
	assert_int_equal(ioctl(slave, TIOCSCTTY, 0), 0);
	job = fork();
	if (job == 0) {
		alarm(120);
		pause();
		_exit(0);
	}
	assert_int_equal(setpgid(job, job), 0);
	assert_int_equal(tcsetpgrp(slave, job), 0);
	return job;
}

static unsigned int lflags(int fd)
{
	struct termios termios;

	assert_int_equal(tcgetattr(fd, &termios), 0);
	return termios.c_lflag & (ICANON | ECHO | ISIG);
}

/* A background job leaves the terminal alone, is not stopped, and has it once it is in the foreground. */
static void play_jobs(struct fixture *f, int master, int slave)
{
	struct termios tostop;
	unsigned int before;
	uint8_t heard;
	pid_t job;

	/* With TOSTOP a job that writes from the background is stopped. */
	assert_int_equal(tcgetattr(slave, &tostop), 0);
	tostop.c_lflag |= TOSTOP;
	assert_int_equal(tcsetattr(slave, TCSANOW, &tostop), 0);
	job = in_background(slave);
	before = lflags(slave);

	create(f);
	write_all(master, "for the shell\n", 14);
	read_text(master, "for the shell\r\n");
	assert_comes_to_rest(f);
	say(f, "guest");
	run(f);
	read_text(master, "guest");
	assert_int_equal(lflags(slave), before);
	/* The shell has read its line, and the job is brought to the foreground. */
	assert_int_equal(tcflush(slave, TCIFLUSH), 0);
	assert_int_equal(tcsetpgrp(slave, getpgrp()), 0);
	while (lflags(slave) != 0)
		poll(NULL, 0, 10);
	write_all(master, "k", 1);
	hear(f, &heard, 1);
	assert_int_equal(heard, 'k');
	/* To the background again: what is typed is somebody else's. */
	assert_int_equal(tcsetpgrp(slave, job), 0);
	write_all(master, "s", 1);
	stop(f);
	/* Another job has the terminal now, and its settings stay. */
	assert_int_equal(lflags(slave), 0);
	kill(job, SIGKILL);
	waitpid(job, NULL, 0);
}

/* Runs @fn in a process of its own, which can begin a session. */
static void as_child(struct fixture *f, void (*fn)(struct fixture *f, int master, int slave))
{
	struct termios before;
	int status = 0, slave, master = open_terminal(f, &slave, &before);
	pid_t pid = fork();

	if (pid == 0) {
		alarm(120);
		fn(f, master, slave);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(slave);
	close(master);
}

static void a_background_job_leaves_the_terminal_alone(void **state)
{
	as_child(*state, play_jobs);
}

/* The terminal is as it was while the process is stopped, and the guest's again when it is continued. */
static void play_stop(struct fixture *f, int master, int slave)
{
	unsigned int before = lflags(slave);
	int status;
	pid_t pid;

	assert_true(setsid() > 0);
	assert_int_equal(ioctl(slave, TIOCSCTTY, 0), 0);
	pid = fork();
	if (pid == 0) {
		alarm(120);
		start(f);
		say(f, "ready");
		hear_text(f, "bye");
		stop(f);
		_exit(lflags(slave) != before);
	}
	read_text(master, "ready");
	assert_int_equal(lflags(slave), 0);
	assert_int_equal(kill(pid, SIGTSTP), 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(lflags(slave), before);
	assert_int_equal(kill(pid, SIGCONT), 0);
	while (lflags(slave) != 0)
		poll(NULL, 0, 10);
	write_all(master, "bye", 3);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Ferry crashes, and the shell has its terminal all the same. */
static void play_crash(struct fixture *f, int master, int slave)
{
	static const int crashes[] = { SIGABRT, SIGSEGV, SIGBUS };
	unsigned int before = lflags(slave);

	for (unsigned int i = 0; i < ARRAY_SIZE(crashes); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(120);
			start(f);
			say(f, "ready");
			hear_text(f, "bye");
			/* The sanitizers stand in for a signal's default, and would write their log for a
			 * fault. */
			raise(crashes[i]);
			_exit(1);
		}
		read_text(master, "ready");
		assert_int_equal(lflags(slave), 0);
		write_all(master, "bye", 3);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), crashes[i]);
		assert_int_equal(lflags(slave), before);
	}
}

static void a_crash_gives_the_terminal_back(void **state)
{
	as_child(*state, play_crash);
}

static void a_stopped_process_gives_the_terminal_back(void **state)
{
	as_child(*state, play_stop);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_terminal_is_the_guests_but_for_ctrl_a),
		T(a_terminal_is_the_operators_until_the_guest_has_arrived),
		T(what_a_terminal_answers_is_not_typed_into_the_shell),
		T(a_forced_end_gives_the_terminal_back),
		T(a_background_job_leaves_the_terminal_alone),
		T(a_stopped_process_gives_the_terminal_back),
		T(a_crash_gives_the_terminal_back),
	};

	signal(SIGPIPE, SIG_IGN);
	/* The tests replace stdin, stdout and stderr, and put them back: all three must be open. */
	if (log_keep_stdio() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
