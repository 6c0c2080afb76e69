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
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm/app/console.h"
#include "vmm/output.h"
#include "vmm/util.h"

struct fixture {
	char dir[32], path[64];
	int listener;
	int master, slave; /* of the terminal */
	struct termios before;
	pid_t pid;
	int console, events; /* the VM's end */
};

static const int ending_signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

#define TAKEN "{\"parameters\":{}}"
#define READY "{\"parameters\":{\"event\":\"READY\"},\"continues\":true}"

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	/* A shell's background job, such as a test run may be, has some of them ignored. */
	for (unsigned int i = 0; i < ARRAY_SIZE(ending_signals); i++)
		signal(ending_signals[i], SIG_DFL);
	alarm(60);
	strcpy(f->dir, "/tmp/ferry-console.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/web1", f->dir);
	assert_int_equal(mkdir(f->path, 0700), 0);
	strcat(f->path, "/control");
	strcpy(sun.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	f->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(grantpt(f->master), 0);
	assert_int_equal(unlockpt(f->master), 0);
	f->slave = open(ptsname(f->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(tcgetattr(f->slave, &f->before), 0);
	f->console = f->events = -1;
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
	if (f->events >= 0)
		close(f->events);
	unlink(f->path);
	*strrchr(f->path, '/') = '\0';
	rmdir(f->path);
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
	if (strcmp(text, TAKEN) != 0)
		return;
	/* Then the client asks to be told of the end. */
	if (f->events >= 0)
		close(f->events);
	f->events = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(f->events >= 0);
	assert_true(recv(f->events, call, sizeof(call), 0) > 0);
	assert_non_null(strstr(call, ".SubscribeEvents\""));
	assert_true(send(f->events, READY, sizeof(READY), MSG_NOSIGNAL) > 0);
}

/* Ends the VM, which says @last unless that is NULL. */
static void let_end(struct fixture *f, const char *last)
{
	close(f->console);
	f->console = -1;
	if (last)
		assert_true(send(f->events, last, strlen(last) + 1, MSG_NOSIGNAL) > 0);
	close(f->events);
	f->events = -1;
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
	answer(f, TAKEN);
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
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(ending_signals); i++) {
		int status;

		begin_on_terminal(f);
		kill(f->pid, ending_signals[i]);
		status = end(f);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), ending_signals[i]);
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

static void a_crash_gives_the_terminal_back(void **state)
{
	struct fixture *f = *state;

	begin_on_terminal(f);
	kill(f->pid, SIGABRT);
	assert_int_equal(WTERMSIG(end(f)), SIGABRT);
	assert_restored(f);
}

static void the_way_out_is_heard_where_the_vm_takes_nothing(void **state)
{
	struct fixture *f = *state;
	char keys[1024];

	begin_on_terminal(f);
	memset(keys, 'k', sizeof(keys));
	/* More than the socket and the client hold. */
	for (unsigned int i = 0; i < 1024; i++)
		assert_true(write(f->master, keys, sizeof(keys)) > 0);
	type(f, "\x1d\x1d\x1d");
	assert_int_equal(end(f), 0);
	assert_restored(f);
}

static void signals_that_are_ignored_stay_so(void **state)
{
	struct fixture *f = *state;

	signal(SIGINT, SIG_IGN);
	begin_on_terminal(f);
	signal(SIGINT, SIG_DFL);
	kill(f->pid, SIGINT);
	type(f, "still here");
	assert_typed(f, "still here");
	kill(f->pid, SIGTERM);
	assert_int_equal(WTERMSIG(end(f)), SIGTERM);
	assert_restored(f);
}

/* Nobody tells a process of that by a signal whose controlling terminal is another. */
static void a_terminal_that_goes_is_the_end(void **state)
{
	struct fixture *f = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave, status;

	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	begin(f, slave, slave);
	close(slave);
	answer(f, TAKEN);
	say(f, "login: ");
	await(master, "login: ");
	close(master);
	status = end(f);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGHUP);
}

static void a_vm_that_does_not_answer_keeps_no_signal_waiting(void **state)
{
	struct fixture *f = *state;
	uint64_t before_ns = now_ns();
	int fd;

	begin(f, f->slave, f->slave);
	fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	kill(f->pid, SIGTERM);
	assert_int_equal(WTERMSIG(end(f)), SIGTERM);
	/* It waits 5 s for an answer. */
	assert_true(now_ns() - before_ns < 4000000000u);
	assert_restored(f);
	close(fd);
}

static void the_end_of_the_vm_is_the_end(void **state)
{
	struct fixture *f = *state;

	begin_on_terminal(f);
	say(f, "reboot: Power down");
	let_end(f, NULL);
	assert_int_equal(end(f), 0);
	await(f->master, "Power down");
	assert_restored(f);
}

static void why_the_vm_has_ended_is_said(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *last, *said;
	} cases[] = {
		{ "{\"parameters\":{\"event\":\"SHUTDOWN\",\"data\":{\"state\":\"moved\"}}}",
		  "the guest has moved, and has its console there" },
		{ "{\"parameters\":{\"event\":\"SHUTDOWN\",\"data\":{\"state\":\"ended\"}}}",
		  "ended: the VM has\r\n" },
		/* One of an earlier version, one that says what makes no sense, and one that was killed. */
		{ "{\"parameters\":{\"event\":\"SHUTDOWN\"}}", "the VM has, or its guest has moved" },
		{ "{\"parameters\":{\"event\":\"SHUTDOWN\",\"data\":{\"state\":7}}}",
		  "the VM has, or its guest has moved" },
		{ NULL, "the VM has, or its guest has moved" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		begin_on_terminal(f);
		let_end(f, cases[i].last);
		await(f->master, cases[i].said);
		assert_int_equal(end(f), 0);
		assert_restored(f);
	}
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
	answer(f, TAKEN);
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
	let_end(f, NULL);
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

static uint64_t cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Lets the time pass in which a client would give up. No event tells that it has not; it does nothing. */
static void let_it_wait(struct fixture *f)
{
	uint64_t before_ns;

	poll(NULL, 0, 100);
	before_ns = cpu_ns(f->pid);
	poll(NULL, 0, OUTPUT_LAST_MS + 200);
	assert_true(cpu_ns(f->pid) - before_ns < 20000000);
}

/* Starts one on pipes, has all be full, and returns how much that was. */
static size_t fill(struct fixture *f, int *in, int *out)
{
	int ins[2], outs[2];
	char said[1000];
	size_t n = 0;

	memset(said, '.', sizeof(said));
	assert_int_equal(pipe2(ins, O_CLOEXEC), 0);
	assert_int_equal(pipe2(outs, O_CLOEXEC), 0);
	begin(f, ins[0], outs[1]);
	close(ins[0]);
	close(outs[1]);
	*in = ins[1];
	*out = outs[0];
	answer(f, TAKEN);
	for (struct pollfd p = { .fd = f->console, .events = POLLOUT }; poll(&p, 1, 1000) == 1;) {
		ssize_t put = send(f->console, said, sizeof(said), MSG_DONTWAIT | MSG_NOSIGNAL);

		assert_true(put > 0);
		n += (size_t)put;
	}
	return n;
}

static void the_last_words_wait_for_their_reader(void **state)
{
	struct fixture *f = *state;
	char said[4096];
	size_t n_said, n = 0;
	ssize_t got;
	int in, out;

	n_said = fill(f, &in, &out);
	let_it_wait(f);
	let_end(f, NULL);
	let_it_wait(f);
	assert_int_equal(write(in, "typed in vain", 13), 13);
	/* All but what is still in the pipe and the client's memory. */
	while (n < n_said - 100000 && (got = read(out, said, sizeof(said))) > 0)
		n += (size_t)got;
	let_it_wait(f);
	while ((got = read(out, said, sizeof(said))) > 0)
		n += (size_t)got;
	assert_int_equal(n, n_said);
	assert_int_equal(end(f), 0);
	close(in);
	close(out);
}

static void a_signal_ends_that_wait(void **state)
{
	struct fixture *f = *state;
	int in, out;
	char said[4096];
	size_t n_said = fill(f, &in, &out), n = 0;

	assert_true(n_said > 100000);
	let_end(f, NULL);
	while (n < n_said - 100000)
		n += (size_t)read(out, said, sizeof(said));
	let_it_wait(f);
	kill(f->pid, SIGTERM);
	assert_int_equal(WTERMSIG(end(f)), SIGTERM);
	close(in);
	close(out);
}

static void a_file_is_typed_as_a_whole(void **state)
{
	enum { LEN = 300000 };
	struct fixture *f = *state;
	uint8_t *sent = malloc(LEN), *got = malloc(LEN);
	FILE *file = tmpfile();

	for (unsigned int i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	assert_int_equal(fwrite(sent, 1, LEN, file), LEN);
	rewind(file);
	begin(f, fileno(file), f->slave);
	fclose(file);
	answer(f, TAKEN);
	for (size_t at = 0; at < LEN;) {
		ssize_t n = read(f->console, got + at, LEN - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_memory_equal(sent, got, LEN);
	let_it_wait(f);
	say(f, "done");
	await(f->master, "done");
	let_end(f, NULL);
	assert_int_equal(end(f), 0);
	free(sent);
	free(got);
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
	answer(f, TAKEN);
	say(f, "anybody?\n");
	assert_int_equal(WEXITSTATUS(end(f)), 1);
	close(null);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_key_is_the_guests_until_the_third_escape),
		TEST(a_signal_ends_it_and_the_terminal_is_as_before),
		TEST(while_it_is_stopped_the_terminal_is_as_before),
		TEST(a_crash_gives_the_terminal_back),
		TEST(the_way_out_is_heard_where_the_vm_takes_nothing),
		TEST(signals_that_are_ignored_stay_so),
		TEST(a_terminal_that_goes_is_the_end),
		TEST(a_vm_that_does_not_answer_keeps_no_signal_waiting),
		TEST(the_end_of_the_vm_is_the_end),
		TEST(why_the_vm_has_ended_is_said),
		TEST(a_vm_that_refuses_leaves_the_terminal_alone),
		TEST(without_a_terminal_it_is_a_pipe),
		TEST(the_last_words_wait_for_their_reader),
		TEST(a_signal_ends_that_wait),
		TEST(a_file_is_typed_as_a_whole),
		TEST(an_end_of_stdout_is_an_error),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
