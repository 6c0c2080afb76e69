/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART's other end: clients of its socket, a pipe, a file or a terminal. */
#define _GNU_SOURCE
#include "tests/unit/serial_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>

static void test_socket(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int client, second;

	start(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	say(f, "before anybody came\n");
	client = join(f);
	read_text(client, "before anybody came\n");
	say(f, "hello\n");
	read_text(client, "hello\n");
	write_all(client, "ls\n", 3);
	hear_text(f, "ls\n");

	/* The second waits until the first has gone, and what the guest says goes to the first. */
	second = join(f);
	write_all(second, "me", 2);
	say(f, "one");
	read_text(client, "one");
	close(client);
	hear_text(f, "me");
	say(f, "two");
	read_text(second, "two");

	/* Half closed: input has ended, output goes on. */
	write_all(second, "bye", 3);
	shutdown(second, SHUT_WR);
	hear_text(f, "bye");
	say(f, "still here");
	read_text(second, "still here");
	close(second);
	client = join(f);
	write_all(client, "again", 5);
	hear_text(f, "again");
	close(client);
	stop(f);
	assert_int_equal(access(f->path, F_OK), -1);
}

/* More than everything on the way can hold: nothing is lost and nothing waits for ever. */
static void test_flow_control(void **state)
{
	enum { LEN = 600000 };
	struct fixture *f = *state;
	uint8_t *sent = malloc(LEN), *heard = malloc(LEN);
	int client;
	pid_t pid;

	for (unsigned int i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	start(f);
	client = join(f);
	pid = fork();
	if (pid == 0) {
		for (size_t at = 0; at < LEN;)
			at += (size_t)write(client, sent + at, LEN - at);
		_exit(0);
	}
	close(client);
	hear(f, heard, LEN);
	assert_memory_equal(sent, heard, LEN);
	free(sent);
	free(heard);
}

/* A reader that does not read never holds up the guest; when it does read it ends with the newest. */
static void test_slow_reader(void **state)
{
	enum { LEN = 1000000 };
	struct fixture *f = *state;
	uint8_t tail[8] = { 0 };
	uint64_t n = 0;
	int client;

	start(f);
	client = join(f);
	for (unsigned int i = 0; i < LEN; i++)
		out(f, DATA, '.');
	say(f, "the end!");
	while (memcmp(tail, "the end!", sizeof(tail)) != 0) {
		memmove(tail, tail + 1, sizeof(tail) - 1);
		read_all(client, &tail[7], 1);
		n++;
	}
	assert_true(n > 65536 && n < LEN);
	close(client);
}

static void test_backlog(void **state)
{
	struct fixture *f = *state;
	uint8_t *kept = malloc(65536);
	int client;

	start(f);
	for (unsigned int i = 0; i < 100000; i++)
		out(f, DATA, (uint8_t)(i % 251));
	client = join(f);
	read_all(client, kept, 65536);
	for (unsigned int i = 0; i < 65536; i++)
		assert_int_equal(kept[i], (i + 100000 - 65536) % 251);
	say(f, "|");
	read_text(client, "|");
	free(kept);
	close(client);
}

static void test_socket_refused(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct serial *other;
	struct vm vm = { 0 };
	int fd;

	assert_int_equal(loop_init(&vm.loop), 0);

	/* Left by a process that is gone: replaced. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sun.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	start(f);
	/* In use: refused, and still there. */
	assert_true(serial_create(&other, &vm, &f->config, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "in use"));
	close(join(f));
	stop(f);
	/* Not a socket: refused, and still there. */
	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	assert_true(serial_create(&other, &vm, &f->config, &f->err) < 0);
	assert_int_equal(access(f->path, F_OK), 0);
	loop_exit(&vm.loop);
}

/* Makes @in_fd stdin and @out_fd stdout until teardown. */
static void replace_stdio(struct fixture *f, int in_fd, int out_fd)
{
	fflush(stdout);
	f->config.serial = SERIAL_STDIO;
	f->saved[0] = dup(0);
	f->saved[1] = dup(1);
	dup2(in_fd, 0);
	dup2(out_fd, 1);
}

static void test_pipes(void **state)
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
	/* Nobody else's file was made non-blocking. */
	assert_int_equal(fcntl(from[1], F_GETFL) & O_NONBLOCK, 0);
	say(f, "last words");
	stop(f);
	read_text(from[0], "last words");
	close(to[0]);
	close(from[0]);
	close(from[1]);
}

/* The reader has gone: the guest goes on. */
static void test_broken_pipe(void **state)
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

/* Files cannot be watched; both work all the same. */
static void test_files(void **state)
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

/* A terminal as stdin and stdout until teardown: its other end, its own, and how it is set. */
static int open_terminal(struct fixture *f, int *slave, struct termios *before)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);

	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(*slave >= 0);
	assert_int_equal(tcgetattr(*slave, before), 0);
	replace_stdio(f, *slave, *slave);
	return master;
}

static void test_terminal(void **state)
{
	struct fixture *f = *state;
	int master, slave;
	struct termios before, during, after;

	master = open_terminal(f, &slave, &before);
	start(f);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	say(f, "hello");
	read_text(master, "hello");
	write_all(master, "\x03\x01\x01\x01z", 5);
	hear_text(f, "\x03\x01z");
	/* Even when the guest does not read. */
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

/* Where a guest is still to arrive the terminal is the operator's, Ctrl-C included, until it has. */
static void test_terminal_of_a_destination(void **state)
{
	struct fixture *f = *state;
	int master, slave;
	struct termios before, during;

	master = open_terminal(f, &slave, &before);
	f->config.from = "unix:/somewhere";
	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag, before.c_lflag);
	f->vm.devices->ops->resume(f->vm.devices, true);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	stop(f);
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag, before.c_lflag);
	close(slave);
	close(master);
}

/* One event, as the loop would. */
static void dispatch(struct fixture *f)
{
	struct epoll_event event;
	struct loop_source *src;

	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0), 1);
	src = event.data.ptr;
	src->fn(src, event.events);
}

/* A client that cannot be taken waits, and costs nothing meanwhile. */
static void test_no_descriptors(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, none;
	struct epoll_event event;
	int first, second;

	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	first = join(f);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	dispatch(f);
	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* It is taken when the next one comes. */
	second = join(f);
	dispatch(f);
	say(f, "hello");
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
	read_text(first, "hello");
	close(first);
	close(second);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_socket),         T(test_flow_control),
		T(test_slow_reader),    T(test_backlog),
		T(test_socket_refused), T(test_pipes),
		T(test_broken_pipe),    T(test_files),
		T(test_terminal),       T(test_terminal_of_a_destination),
		T(test_no_descriptors),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
