/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port on a unix socket: clients, one after the other, fast and slow. */
#define _GNU_SOURCE
#include "tests/unit/devices/serial/serial_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

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

static void clients_take_turns_at_the_socket(void **state)
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

	/* A client that has ended its input still gets output. */
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

static void input_beyond_all_room_waits_and_none_is_lost(void **state)
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

/* The guest is not held up meanwhile. */
static void a_reader_that_does_not_read_ends_with_the_newest_output(void **state)
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

static void a_client_finds_the_last_64_kib_of_output(void **state)
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

static void what_is_in_use_or_no_socket_is_not_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct serial *other;
	struct vm vm = { 0 };
	int fd;

	assert_int_equal(loop_init(&vm.loop), 0);

	/* A socket that was left by a process that is gone is replaced. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sun.sun_path, f->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	start(f);
	/* A socket in use is refused, and still there. */
	assert_true(serial_create(&other, &vm, &f->config, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "in use"));
	close(join(f));
	stop(f);
	/* A file that is no socket is refused, and still there. */
	close(open(f->path, O_CREAT | O_WRONLY, 0600));
	assert_true(serial_create(&other, &vm, &f->config, &f->err) < 0);
	assert_int_equal(access(f->path, F_OK), 0);
	loop_exit(&vm.loop);
}

static void a_client_that_cannot_be_taken_waits_and_costs_nothing(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, none;
	struct epoll_event event;
	int first;

	create(f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	first = join(f);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	dispatch(f, next_event(f));
	assert_int_equal(epoll_wait(f->vm.loop.epoll_fd, &event, 1, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* The first client is taken without anybody else coming. */
	say(f, "hello");
	run(f);
	read_text(first, "hello");
	close(first);
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
	/* The loop is asked for each direction, and once more when something is to be read. */
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

static void a_forced_end_removes_the_socket(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(access(f->path, F_OK), 0);
	force_end(f);
	assert_int_equal(access(f->path, F_OK), -1);
	stop(f);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(clients_take_turns_at_the_socket),
		T(input_beyond_all_room_waits_and_none_is_lost),
		T(a_reader_that_does_not_read_ends_with_the_newest_output),
		T(a_client_finds_the_last_64_kib_of_output),
		T(what_is_in_use_or_no_socket_is_not_replaced),
		T(a_client_that_cannot_be_taken_waits_and_costs_nothing),
		T(a_client_that_cannot_be_watched_yet_is_heard_later),
		T(a_forced_end_removes_the_socket),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
