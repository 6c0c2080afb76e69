/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The door: who comes in and who does not, what its process may do, and what becomes of it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/door.h"

#define NOBODY 65534
#define FRIEND 65533

struct fixture {
	char dir[32], path[64];
	struct guard guard;
	struct door door;
	pid_t pid;    /* the door's */
	int came[2];  /* a pipe of descriptors */
	int ended_fd; /* an eventfd: @reason is there */
	char reason[256];
};

static void door_came(void *opaque, int fd)
{
	struct fixture *f = opaque;

	assert_int_equal(write(f->came[1], &fd, sizeof(fd)), sizeof(fd));
}

static void door_ended(void *opaque, const char *reason)
{
	struct fixture *f = opaque;

	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	assert_int_equal(eventfd_write(f->ended_fd, 1), 0);
}

static struct door_config config_of(struct fixture *f, uid_t peer_uid)
{
	return (struct door_config){ .path = f->path,
				     .peer_uid = peer_uid,
				     .guard = &f->guard,
				     .came = door_came,
				     .ended = door_ended,
				     .opaque = f };
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	strcpy(f->dir, "/tmp/ferry-door-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(chmod(f->dir, 0755), 0);
	snprintf(f->path, sizeof(f->path), "%s/door", f->dir);
	assert_int_equal(pipe2(f->came, O_CLOEXEC), 0);
	f->ended_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(door_fork(&f->door, &err), 0);
	f->pid = f->door.pid;
	assert_int_equal(guard_init(&f->guard, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	door_close(&f->door);
	assert_int_equal(guard_exit(&f->guard), 0);
	close(f->came[0]);
	close(f->came[1]);
	close(f->ended_fd);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void open_for(struct fixture *f, uid_t peer_uid)
{
	const struct door_config config = config_of(f, peer_uid);
	struct error err = { 0 };

	if (door_open(&f->door, &config, &err) < 0)
		fail_msg("%s", err.text);
}

static int knock(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	ret = errno;
	close(fd);
	errno = ret;
	return -1;
}

static int take(struct fixture *f)
{
	int fd;

	assert_int_equal(read(f->came[0], &fd, sizeof(fd)), sizeof(fd));
	return fd;
}

/* Whoever connects as ourselves comes in, and what it says. */
static void assert_open(struct fixture *f)
{
	int client = knock(f->path), fd;
	char byte = 0;

	assert_true(client >= 0);
	assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
	fd = take(f);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	close(fd);
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	close(client);
}

static void who_may_comes_in_with_what_it_says(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	open_for(f, geteuid());
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (unsigned int i = 0; i < 50; i++)
		assert_open(f);
}

static void many_come_in_at_once(void **state)
{
	struct fixture *f = *state;
	int clients[300];

	open_for(f, geteuid());
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i] = knock(f->path);
		assert_true(clients[i] >= 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++)
		close(take(f));
	for (unsigned int i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
	assert_open(f);
}

/* Connects @n times as the user @uid. Returns how often that was hung up on without a word. */
static unsigned int knock_as(struct fixture *f, uid_t uid, unsigned int n)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		unsigned int n_turned_away = 0;

		if (setresuid(uid, uid, uid) < 0)
			_exit(255);
		for (unsigned int i = 0; i < n; i++) {
			int fd = knock(f->path);
			struct pollfd end = { .fd = fd, .events = POLLIN };
			char byte;

			/* The end comes at once, or not at all. */
			n_turned_away += fd >= 0 && poll(&end, 1, 2000) == 1 && read(fd, &byte, 1) <= 0;
			close(fd);
		}
		_exit((int)n_turned_away);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return (unsigned int)WEXITSTATUS(status);
}

static void another_user_is_turned_away_and_the_wait_goes_on(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	if (geteuid() != 0)
		skip();
	open_for(f, FRIEND);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	assert_int_equal(knock_as(f, NOBODY, 200), 200);
	assert_open(f);
	/* And the one that was named comes in. */
	assert_int_equal(knock_as(f, FRIEND, 1), 0);
	close(take(f));
	assert_open(f);
}

/* The permission of the file alone, where nobody was named. */
static void a_door_for_us_is_not_there_for_others(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	open_for(f, 0);
	assert_int_equal(knock_as(f, NOBODY, 20), 0);
	assert_open(f);
}

static void line_of_status(pid_t pid, const char *key, char *line, int size)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	do {
		assert_non_null(fgets(line, size, file));
	} while (strncmp(line, key, strlen(key)) != 0);
	fclose(file);
}

static unsigned long number_of_status(pid_t pid, const char *key, int base)
{
	char line[256];

	line_of_status(pid, key, line, sizeof(line));
	return strtoul(line + strlen(key), NULL, base);
}

/* Its memory is what it was, however many come. */
static void a_flood_of_strangers_costs_nothing_and_keeps_nobody_out(void **state)
{
	struct fixture *f = *state;
	unsigned long before;
	pid_t pids[4];

	if (geteuid() != 0)
		skip();
	open_for(f, FRIEND);
	assert_open(f);
	before = number_of_status(f->pid, "VmSize:", 10);
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (setresuid(NOBODY, NOBODY, NOBODY) < 0)
				_exit(255);
			for (;;)
				close(knock(f->path));
		}
	}
	for (unsigned int i = 0; i < 100; i++)
		assert_open(f);
	assert_int_equal(number_of_status(f->pid, "VmSize:", 10), before);
	for (unsigned int i = 0; i < ARRAY_SIZE(pids); i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	assert_open(f);
}

static void the_process_has_no_rights_and_no_descriptors_of_others(void **state)
{
	struct fixture *f = *state;
	unsigned int n = 0;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	open_for(f, geteuid());
	assert_open(f);
	assert_int_equal(number_of_status(f->pid, "NoNewPrivs:", 10), 1);
	assert_int_equal(number_of_status(f->pid, "CapEff:", 16), 0);
	assert_int_equal(number_of_status(f->pid, "CapPrm:", 16), 0);
	/* A filter of system calls; 0 where the kernel has none. */
	assert_int_equal(number_of_status(f->pid, "Seccomp:", 10), prctl(PR_GET_SECCOMP) < 0 ? 0 : 2);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)f->pid);
	dir = opendir(path);
	/* It is not for other processes of its user to look into. */
	if (!dir) {
		assert_int_equal(errno, EACCES);
		return;
	}
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	/* Standard streams to nowhere, its socket to us, the listener. */
	assert_int_equal(n, 5);
}

static void await_end(struct fixture *f)
{
	eventfd_t count;

	assert_int_equal(eventfd_read(f->ended_fd, &count), 0);
	assert_int_equal(count, 1);
}

static void its_death_is_told(void **state)
{
	struct fixture *f = *state;

	open_for(f, geteuid());
	assert_open(f);
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	await_end(f);
	assert_non_null(strstr(f->reason, f->path));
	assert_non_null(strstr(f->reason, "has ended (signal 9)"));
}

/* Ctrl-C and service managers mean all processes of a group, and ours ends in order. */
static void a_signal_to_all_processes_does_not_end_it(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct fixture *f = *state;

	open_for(f, geteuid());
	assert_open(f);
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++)
		assert_int_equal(kill(f->pid, signals[i]), 0);
	assert_open(f);
}

/* What the other process of the test below tells of itself. */
struct told {
	pid_t door_pid;
	char dir[32], path[64];
};

static void tell_and_wait(int fd)
{
	struct told told;
	struct fixture *f;
	void *state;

	setup(&state);
	f = state;
	open_for(f, geteuid());
	told.door_pid = f->pid;
	strcpy(told.dir, f->dir);
	strcpy(told.path, f->path);
	if (write(fd, &told, sizeof(told)) == sizeof(told))
		pause();
	_exit(1);
}

static void it_ends_with_a_process_that_is_killed(void **state)
{
	struct told told;
	int pipe_fds[2], status;
	pid_t pid;

	/* So that we are told of a grandchild's end. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0)
		tell_and_wait(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &told, sizeof(told)), sizeof(told));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(waitpid(told.door_pid, &status, 0), told.door_pid);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	/* The file is a dead process's, and nobody listens. */
	assert_int_equal(knock(told.path), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(unlink(told.path), 0);
	assert_int_equal(rmdir(told.dir), 0);
}

static void assert_closed(struct fixture *f)
{
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(f->door.pid, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void what_it_made_goes_with_it(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };

	open_for(f, geteuid());
	door_close(&f->door);
	assert_closed(f);
	/* Closing it again does nothing, nor is a listener needed. */
	door_close(&f->door);
	assert_int_equal(door_fork(&f->door, &err), 0);
	door_close(&f->door);
	assert_closed(f);
}

static void a_path_that_is_in_use_stays_as_it_is(void **state)
{
	struct fixture *f = *state, other = *f;
	const struct door_config config = config_of(&other, geteuid());
	struct error err = { 0 };

	open_for(f, geteuid());
	assert_int_equal(door_fork(&other.door, &err), 0);
	assert_int_equal(door_open(&other.door, &config, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, f->path));
	door_close(&other.door);
	assert_open(f);
}

/* It says so and goes on, once this process has room again. */
static void a_shortage_of_descriptors_here_loses_one_client_alone(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, none;
	int client, next;
	char byte;

	open_for(f, geteuid());
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	next = dup(client);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	close(client);
	client = knock(f->path);
	assert_int_equal(read(client, &byte, 1), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	close(client);
	assert_open(f);
}

/* A process that has fallen into other hands can say what it likes. */
static void nonsense_from_the_process_ends_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} words[] = {
		{ "x", 1 },
		{ "", 0 },
		{ "0123456789012345678901234567890123456789", 40 },
		/* Nobody in particular has come. */
		{ "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16 },
		{ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16 },
		{ "\377\377\377\377\0\0\0\0\0\0\0\0\0\0\0\0", 16 },
	};
	struct fixture *f = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		const struct door_config config = config_of(f, geteuid());
		struct door door = { .fd = -1 };
		struct error err = { 0 };
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
		door.fd = fds[0];
		door.pid = fork();
		if (door.pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
		}
		assert_int_equal(door_open(&door, &config, &err), 0);
		assert_int_equal(send(fds[1], words[i].bytes, words[i].len, MSG_NOSIGNAL), words[i].len);
		await_end(f);
		door_close(&door);
		close(fds[1]);
	}
}

#define DOOR_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DOOR_TEST(who_may_comes_in_with_what_it_says),
		DOOR_TEST(many_come_in_at_once),
		DOOR_TEST(another_user_is_turned_away_and_the_wait_goes_on),
		DOOR_TEST(a_door_for_us_is_not_there_for_others),
		DOOR_TEST(a_flood_of_strangers_costs_nothing_and_keeps_nobody_out),
		DOOR_TEST(the_process_has_no_rights_and_no_descriptors_of_others),
		DOOR_TEST(its_death_is_told),
		DOOR_TEST(a_signal_to_all_processes_does_not_end_it),
		cmocka_unit_test(it_ends_with_a_process_that_is_killed),
		DOOR_TEST(what_it_made_goes_with_it),
		DOOR_TEST(a_path_that_is_in_use_stays_as_it_is),
		DOOR_TEST(a_shortage_of_descriptors_here_loses_one_client_alone),
		DOOR_TEST(nonsense_from_the_process_ends_it),
	};

	log_level = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
