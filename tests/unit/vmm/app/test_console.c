/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "console", in a process of its own on a terminal, with the VM played here. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/app/console.h"
#include "vmm/util.h"

struct fixture {
	char dir[32], path[64];
	int listener;
	int master, slave; /* of the terminal */
	struct termios before;
	pid_t pid;
	int console; /* the VM's end */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	alarm(60);
	strcpy(f->dir, "/tmp/ferry-console.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/web1.sock", f->dir);
	strcpy(sun.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	f->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(grantpt(f->master), 0);
	assert_int_equal(unlockpt(f->master), 0);
	f->slave = open(ptsname(f->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(tcgetattr(f->slave, &f->before), 0);
	f->console = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->listener);
	close(f->master);
	close(f->slave);
	if (f->console >= 0)
		close(f->console);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	alarm(0);
	return 0;
}

/* Starts the client with these as its stdin and stdout, and the terminal for messages. */
static void begin(struct fixture *f, int in, int out)
{
	char *argv[] = { "console", "web1", "--runtime-dir", f->dir, NULL };

	fflush(stdout);
	f->pid = fork();
	if (f->pid == 0) {
		setsid();
		ioctl(f->slave, TIOCSCTTY, 0);
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		dup2(f->slave, STDERR_FILENO);
		/* Other ends of pipes, above all. */
		for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
			close(fd);
		_exit(console_run(4, argv));
	}
}

/* Takes the client's call, with the console that is to come with it, and answers. */
static void answer(struct fixture *f, const char *text)
{
	char call[512] = { 0 }, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = call, .iov_len = sizeof(call) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	struct cmsghdr *cmsg;

	assert_true(fd >= 0);
	assert_true(recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) > 0);
	assert_non_null(strstr(call, "\"alt.ferry.Console\""));
	cmsg = CMSG_FIRSTHDR(&msg);
	assert_non_null(cmsg);
	memcpy(&f->console, CMSG_DATA(cmsg), sizeof(int));
	assert_int_equal(write(fd, text, strlen(text) + 1), strlen(text) + 1);
	close(fd);
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->console, text, strlen(text)), strlen(text));
}

/* Reads from the terminal until @text has come. */
static void await(int fd, const char *text)
{
	char buf[8192] = { 0 };
	size_t n = 0;

	while (!strstr(buf, text)) {
		assert_true(n < sizeof(buf) - 1);
		assert_int_equal(read(fd, buf + n, 1), 1);
		n++;
	}
}

static void type(struct fixture *f, const char *keys)
{
	assert_int_equal(write(f->master, keys, strlen(keys)), strlen(keys));
}

static void assert_typed(struct fixture *f, const char *keys)
{
	char buf[256] = { 0 };

	for (size_t n = 0; n < strlen(keys); n++)
		assert_int_equal(read(f->console, buf + n, 1), 1);
	assert_string_equal(buf, keys);
}

static bool is_raw(struct fixture *f)
{
	struct termios now;

	assert_int_equal(tcgetattr(f->slave, &now), 0);
	return !(now.c_lflag & (ICANON | ECHO | ISIG));
}

/* A console that is there, on the terminal. */
static void begin_on_terminal(struct fixture *f)
{
	begin(f, f->slave, f->slave);
	answer(f, "{\"parameters\":{}}");
	say(f, "hello from the guest\r\n");
	await(f->master, "hello from the guest");
	while (!is_raw(f))
		poll(NULL, 0, 1);
}

static int end(struct fixture *f)
{
	int status;

	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	return status;
}

static void assert_restored(struct fixture *f)
{
	struct termios now;

	assert_int_equal(tcgetattr(f->slave, &now), 0);
	assert_int_equal(now.c_lflag, f->before.c_lflag);
	assert_int_equal(now.c_iflag, f->before.c_iflag);
	assert_int_equal(now.c_oflag, f->before.c_oflag);
}

static void every_key_is_the_guests_until_the_third_escape(void **state)
{
	struct fixture *f = *state;

	begin_on_terminal(f);
	type(f, "ls\r\x03\x1a");
	assert_typed(f, "ls\r\x03\x1a");
	type(f, "\x1d\x1dx\x1d\x1d");
	assert_typed(f, "\x1d\x1dx\x1d\x1d");
	type(f, "y\x1d\x1d\x1d");
	assert_int_equal(end(f), 0);
	assert_restored(f);
}

static void a_signal_ends_it_and_the_terminal_is_as_before(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		int status;

		begin_on_terminal(f);
		kill(f->pid, signals[i]);
		status = end(f);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_restored(f);
		close(f->console);
	}
	f->console = -1;
}

static void while_it_is_stopped_the_terminal_is_as_before(void **state)
{
	struct fixture *f = *state;
	int status;

	begin_on_terminal(f);
	kill(f->pid, SIGTSTP);
	assert_int_equal(waitpid(f->pid, &status, WUNTRACED), f->pid);
	assert_true(WIFSTOPPED(status));
	assert_restored(f);
	kill(f->pid, SIGCONT);
	while (!is_raw(f))
		poll(NULL, 0, 1);
	type(f, "on");
	assert_typed(f, "on");
	kill(f->pid, SIGTERM);
	end(f);
	assert_restored(f);
}

static void the_end_of_the_vm_is_the_end(void **state)
{
	struct fixture *f = *state;

	begin_on_terminal(f);
	say(f, "reboot: Power down");
	close(f->console);
	f->console = -1;
	assert_int_equal(end(f), 0);
	await(f->master, "Power down");
	assert_restored(f);
}

static void a_vm_that_refuses_leaves_the_terminal_alone(void **state)
{
	struct fixture *f = *state;

	begin(f, f->slave, f->slave);
	answer(f, "{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":\"eight are there\"}}");
	assert_int_equal(WEXITSTATUS(end(f)), 1);
	await(f->master, "eight are there");
	assert_restored(f);
	unlink(f->path);
	begin(f, f->slave, f->slave);
	assert_int_equal(WEXITSTATUS(end(f)), 1);
	await(f->master, "no VM named web1");
}

static void without_a_terminal_it_is_a_pipe(void **state)
{
	enum { LEN = 300000 };
	struct fixture *f = *state;
	int in[2], out[2];
	char *said = calloc(1, LEN + 1), buf[4096];
	size_t n = 0;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	begin(f, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	answer(f, "{\"parameters\":{}}");
	assert_int_equal(write(in[1], "\x1d\x1d\x1d", 3), 3);
	assert_typed(f, "\x1d\x1d\x1d");
	/* The end of what is typed is not the end of what is said. */
	close(in[1]);
	memset(said, 'a', LEN);
	if (fork() == 0) {
		for (size_t at = 0; at < LEN;)
			at += (size_t)write(f->console, said + at, LEN - at);
		_exit(0);
	}
	close(f->console);
	f->console = -1;
	for (;;) {
		ssize_t got = read(out[0], buf, sizeof(buf));

		assert_true(got >= 0);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	assert_int_equal(n, LEN);
	assert_int_equal(end(f), 0);
	close(out[0]);
	free(said);
}

/* Its reader has gone: nobody is there to be told what the guest says. */
static void an_end_of_stdout_is_an_error(void **state)
{
	struct fixture *f = *state;
	int out[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	begin(f, null, out[1]);
	close(out[0]);
	close(out[1]);
	answer(f, "{\"parameters\":{}}");
	say(f, "anybody?\n");
	assert_int_equal(WEXITSTATUS(end(f)), 1);
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_key_is_the_guests_until_the_third_escape, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_signal_ends_it_and_the_terminal_is_as_before, setup,
						teardown),
		cmocka_unit_test_setup_teardown(while_it_is_stopped_the_terminal_is_as_before, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_vm_is_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_vm_that_refuses_leaves_the_terminal_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_terminal_it_is_a_pipe, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_of_stdout_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
