/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART's other end: clients of its socket, a pipe, a file or a terminal. */
#define _GNU_SOURCE
#include "devices/serial/serial_priv.h"
#include "tests/unit/devices/serial/serial_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

static _Atomic bool no_watches; /* the limit on what may be watched is reached */
static _Atomic unsigned int n_not_watched;

int epoll_ctl(int epoll, int op, int fd, struct epoll_event *ev)
{
	if (no_watches && op == EPOLL_CTL_ADD) {
		n_not_watched++;
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_epoll_ctl, epoll, op, fd, ev);
}

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
	assert_true(n >= 65536 && n < LEN);
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
	say(f, "hello");
	read_text(master, "hello");
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
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
	int first;

	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	first = join(f);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	dispatch(f);
	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* The first client is taken without anybody else coming. */
	say(f, "hello");
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
	read_text(first, "hello");
	close(first);
}

/* A user who has no files. */
#define NOBODY 65534

/* Runs the loop until it has nothing to do: an input that has ended does not keep it busy. */
static void assert_comes_to_rest(struct fixture *f)
{
	struct epoll_event event;
	unsigned int n = 0;

	while (epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0) == 1) {
		struct loop_source *src = event.data.ptr;

		src->fn(src, event.events);
		assert_true(++n < 20);
	}
}

/* So that the same VM can have another one. */
static void end_of_one(struct fixture *f)
{
	serial_destroy(f->serial);
	f->serial = NULL;
	f->vm.pio = (struct bus){ 0 };
	f->vm.devices = NULL;
}

static void a_client_that_cannot_be_watched_yet_is_heard_later(void **state)
{
	struct fixture *f = *state;
	uint64_t deadline_ns = end_of(30000);
	int client;

	start(f);
	no_watches = true;
	client = join(f);
	write_all(client, "ls\n", 3);
	/* Both directions, and once more when something is to be read. */
	while (n_not_watched < 3) {
		assert_true(now_ns() < deadline_ns);
		poll(NULL, 0, 1);
	}
	no_watches = false;
	hear_text(f, "ls\n");
	say(f, "hello\n");
	read_text(client, "hello\n");
	close(client);
	stop(f);
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
			assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
			out(f, MCR, 0x0b);
			assert_comes_to_rest(f);
			end_of_one(f);
			if (i > 0)
				close(inputs[i]);
		}
	}
	fclose(empty);
}

/* Whom else the shell has given the same stdin may be faster. */
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
			char c;

			dup2(inputs[i][0], STDIN_FILENO);
			assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
			assert_comes_to_rest(f);
			write_all(inputs[i][1], "x", 1);
			read_all(inputs[i][0], &c, 1);
			/* As when it was taken after the loop had been told. */
			f->serial->input.src.fn(&f->serial->input.src, EPOLLIN);
			assert_comes_to_rest(f);
			assert_false(f->serial->eof);
			end_of_one(f);
			close(inputs[i][0]);
			close(inputs[i][1]);
		}
	}
	close(null);
}

static int look_for_end(void *arg)
{
	struct fixture *f = arg;

	f->ended = f->serial->eof;
	return 0;
}

/* The writer of the FIFO has gone, and another comes. */
static void a_fifo_is_heard_again(void **state)
{
	struct fixture *f = *state;
	int null = open("/dev/null", O_WRONLY), fd, writer;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	fd = open(f->path, O_RDONLY | O_NONBLOCK);
	replace_stdio(f, fd, null);
	start(f);
	for (unsigned int i = 0; i < 3; i++) {
		writer = open(f->path, O_WRONLY);
		write_all(writer, "come in", 7);
		hear_text(f, "come in");
		close(writer);
		for (f->ended = false; !f->ended;)
			loop_call(&f->vm.loop, look_for_end, f);
	}
	close(fd);
	close(null);
}

static int nothing(void *arg)
{
	return 0;
}

/* Nobody's terminal, or pipe, or socket: neither the guest nor the main loop waits, and the end comes. */
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

/* The newest, of what nobody read. */
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
	stop(f);
	/* And again, to the end of the VM. */
	f->vm.pio = (struct bus){ 0 };
	f->vm.devices = NULL;
	f->vm.loop.stop = false;
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

static void assert_nothing_typed(int slave)
{
	struct pollfd p = { .fd = slave, .events = POLLIN };
	struct termios raw;
	int n = -1;

	/* In any mode: a line that is not ended is no input to a shell yet. */
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

/* As the guard ends a process, up to the end. */
static void force_end(struct fixture *f)
{
	struct guard guard = { .lock = PTHREAD_MUTEX_INITIALIZER };

	serial_guard(f->serial, &guard);
	for (struct guard_undo *undo = guard.undos; undo; undo = undo->next)
		undo->fn(undo);
	while (guard.undos)
		guard_del(guard.undos);
}

static void a_forced_end_removes_the_socket(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(access(f->path, F_OK), 0);
	force_end(f);
	assert_int_equal(access(f->path, F_OK), -1);
	stop(f);
}

/* The guard's way out: at once, and while the loop's thread may be anywhere. */
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

	assert_int_equal(serial_create(&f->serial, &f->vm, &f->config, &f->err), 0);
	write_all(master, "for the shell\n", 14);
	read_text(master, "for the shell\r\n");
	assert_comes_to_rest(f);
	say(f, "guest");
	assert_int_equal(loop_start(&f->vm.loop, "serial"), 0);
	f->running = true;
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

/* In a process of its own, because of its session. */
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

/* Stopped and continued: raw in between for nobody, and the guest's again. */
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

/* A fault of ours: the shell has its terminal all the same. */
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
			/* Not into the log of the sanitizers, which stand in for the default. */
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
		T(test_socket),
		T(test_flow_control),
		T(test_slow_reader),
		T(test_backlog),
		T(test_socket_refused),
		T(test_pipes),
		T(test_broken_pipe),
		T(test_files),
		T(test_terminal),
		T(test_terminal_of_a_destination),
		T(test_no_descriptors),
		T(a_client_that_cannot_be_watched_yet_is_heard_later),
		T(an_input_that_has_ended_keeps_nobody_busy),
		T(input_that_another_process_took_is_not_waited_for),
		T(a_fifo_is_heard_again),
		T(a_stopped_terminal_holds_up_nobody_and_comes_back),
		T(a_pipe_that_nobody_reads_holds_up_nobody),
		T(what_a_terminal_answers_is_not_typed_into_the_shell),
		T(a_forced_end_removes_the_socket),
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
