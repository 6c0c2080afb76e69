/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's clients that say nothing, little, more than they should, or are somebody else's. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/control_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/loop.h"

#define NOBODY 65534

static const char echo[] = "{\"method\":\"alt.ferry.Echo\",\"parameters\":{\"text\":\"x\"}}";
static const char echoed[] = "{\"parameters\":{\"text\":\"x\",\"n\":0}}";

static void raw_say(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static void assert_answered(int fd, const char *answer)
{
	char buf[512];

	raw_finish(fd, buf, sizeof(buf));
	assert_string_equal(buf, answer);
	close(fd);
}

static void assert_echoes(struct fixture *f)
{
	int fd = raw_connect(f);

	raw_say(fd, echo, sizeof(echo));
	assert_answered(fd, echoed);
}

static void idle_clients_keep_nobody_out(void **state)
{
	struct fixture *f = *state;
	int idle[CONTROL_MAX_CLIENTS + 8];

	for (unsigned int i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = raw_connect(f);
	assert_echoes(f);
	/* Not so the last of them, which has a place and can still say its call. */
	raw_say(idle[ARRAY_SIZE(idle) - 1], echo, sizeof(echo));
	assert_answered(idle[ARRAY_SIZE(idle) - 1], echoed);
	for (unsigned int i = 0; i < ARRAY_SIZE(idle) - 1; i++)
		close(idle[i]);
}

static void who_has_begun_to_speak_outstays_the_silent(void **state)
{
	struct fixture *f = *state;
	int slow = raw_connect(f), idle[CONTROL_MAX_CLIENTS + 8];

	raw_say(slow, echo, 10);
	for (unsigned int i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = raw_connect(f);
	assert_echoes(f);
	raw_say(slow, echo + 10, sizeof(echo) - 10);
	assert_answered(slow, echoed);
	for (unsigned int i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
}

/* As long as they run, calls are not sent away for who comes later. */
static void calls_that_run_do_not_give_way(void **state)
{
	struct fixture *f = *state;
	struct control_client c[CONTROL_MAX_CALLS];
	struct error err = { 0 };
	const char *parameters;
	int idle[CONTROL_MAX_CLIENTS];

	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		assert_int_equal(control_connect(&c[i], f->dir, "web1", &err), 0);
		assert_int_equal(control_send(&c[i], "alt.ferry.Hold", "{}", CONTROL_PROGRESS, -1, &err), 0);
		assert_int_equal(control_receive(&c[i], &parameters, &err), 1);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = raw_connect(f);
	raw_say(idle[ARRAY_SIZE(idle) - 1], echo, sizeof(echo));
	assert_answered(idle[ARRAY_SIZE(idle) - 1],
			"{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":"
			"\"the VM has no room for another call\"}}");
	assert_int_equal(atomic_load(&f->n_running), CONTROL_MAX_CALLS);
	for (unsigned int i = 0; i < ARRAY_SIZE(c); i++) {
		shutdown(c[i].fd, SHUT_WR);
		assert_int_equal(control_receive(&c[i], &parameters, &err), -EREMOTEIO);
		control_disconnect(&c[i]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(idle) - 1; i++)
		close(idle[i]);
}

/* However steadily it speaks. */
static void a_client_has_one_deadline_for_all_of_its_call(void **state)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	struct fixture *f = *state;
	int slow = raw_connect(f);

	while (send(slow, " ", 1, MSG_NOSIGNAL) == 1) {
		nanosleep(&pause, NULL);
		assert_echoes(f);
	}
	assert_int_equal(errno, EPIPE);
	close(slow);
}

/* Waits until the server says that it could not take a client. @said is where messages go meanwhile. */
static void await_shortage(const int said[2])
{
	char text[512];
	ssize_t n = read(said[0], text, sizeof(text) - 1);

	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "cannot take a control client"));
}

static void a_client_that_came_while_descriptors_were_short_is_taken(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), said[2], stderr_fd = dup(STDERR_FILENO),
	    next;
	struct rlimit limit, none;

	strcpy(addr.sun_path, f->path);
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	assert_int_equal(dup2(said[1], STDERR_FILENO), STDERR_FILENO);
	next = dup(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	close(next);
	none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	raw_say(fd, echo, sizeof(echo));
	await_shortage(said);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(dup2(stderr_fd, STDERR_FILENO), STDERR_FILENO);
	close(stderr_fd);
	close(said[0]);
	close(said[1]);
	assert_answered(fd, echoed);
}

/* Only its end is a hang-up. */
static void a_second_call_does_not_cancel_the_first(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;
	struct pollfd p;

	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, "alt.ferry.Hold", "{}", CONTROL_PROGRESS, -1, &err), 0);
	assert_int_equal(control_receive(&c, &parameters, &err), 1);
	assert_int_equal(control_send(&c, "alt.ferry.Echo", "{\"text\":\"x\"}", CONTROL_RESULT, -1, &err), 0);
	for (unsigned int i = 0; i < 10; i++)
		assert_echoes(f);
	assert_int_equal(atomic_load(&f->n_running), 1);
	p = (struct pollfd){ .fd = c.fd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 0);
	shutdown(c.fd, SHUT_WR);
	assert_int_equal(control_receive(&c, &parameters, &err), -EREMOTEIO);
	assert_string_equal(c.error, "alt.ferry.Cancelled");
	/* What came before the end is answered. */
	assert_int_equal(control_receive(&c, &parameters, &err), 0);
	assert_string_equal(parameters, "{\"text\":\"x\",\"n\":0}");
	assert_int_equal(control_receive(&c, &parameters, &err), -EPIPE);
	control_disconnect(&c);
}

/* Runs @fn as another user, who is let through to the socket. Only root can become somebody else. */
static int as_nobody(struct fixture *f, int (*fn)(struct fixture *f))
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	chmod(f->dir, 0711);
	*strrchr(f->dir, '/') = '\0';
	chmod(f->dir, 0711);
	f->dir[strlen(f->dir)] = '/';
	*strrchr(f->path, '/') = '\0';
	chmod(f->path, 0711);
	f->path[strlen(f->path)] = '/';
	chmod(f->path, 0666);
	pid = fork();
	if (pid == 0)
		_exit(setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ? 99 : fn(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int call_as_nobody(struct fixture *f)
{
	struct control_client c;
	struct error err = { 0 };
	const char *parameters;

	if (control_connect(&c, f->dir, "web1", &err) != 0)
		return 1;
	/* Root, who may be spoken to, and who does not listen. */
	if (control_send(&c, "alt.ferry.Echo", "{\"text\":\"x\"}", CONTROL_RESULT, -1, &err) != 0)
		return 2;
	if (control_receive(&c, &parameters, &err) != -EREMOTEIO)
		return 3;
	return strcmp(c.error, "org.varlink.service.PermissionDenied") == 0 ? 0 : 4;
}

static void another_users_call_is_not_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(as_nobody(f, call_as_nobody), 0);
	assert_echoes(f);
}

/* Listens where a VM would, and says whether anything was said to it. */
static void pretend(const char *path, int ready)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	char c;

	strcpy(addr.sun_path, path);
	umask(0);
	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ||
	    bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(listener, 1) < 0 ||
	    write(ready, "", 1) != 1)
		_exit(99);
	fd = accept(listener, NULL, NULL);
	_exit(recv(fd, &c, 1, 0) == 0 ? 0 : 1);
}

static void nothing_is_said_to_another_users_socket(void **state)
{
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	char path[128], byte;
	int ready[2], status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	*strrchr(f->dir, '/') = '\0';
	chmod(f->dir, 0777);
	snprintf(path, sizeof(path), "%s/web2", f->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0777), 0);
	strcat(path, "/control");
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		pretend(path, ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(control_connect(&c, f->dir, "web2", &err), -EPERM);
	assert_non_null(strstr(err.text, "is the user with id 65534"));
	assert_int_equal(c.fd, -1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	f->dir[strlen(f->dir)] = '/';
	close(ready[0]);
	close(ready[1]);
}

static void a_socket_put_in_our_place_is_not_removed(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(bind(other, (struct sockaddr *)&addr, sizeof(addr)), 0);
	control_destroy(f->control);
	f->control = NULL;
	assert_int_equal(access(f->path, F_OK), 0);
	close(other);
	unlink(f->path);
	strcpy(addr.sun_path, f->path);
	*strrchr(addr.sun_path, '/') = '\0';
	assert_int_equal(rmdir(addr.sun_path), 0);
}

static void a_wait_for_the_runtime_directory_ends_with_the_signal(void **state)
{
	struct fixture *f = *state;
	struct control *second;
	struct error err;
	char lock[128];
	int fd;

	snprintf(lock, sizeof(lock), "%s/.lock", f->dir);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	loop_signal(f->guard.stop_fd);
	assert_int_equal(create(f, "web2", &second, &err), -ECANCELED);
	close(fd);
	unlink(lock);
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLIENT_TEST(idle_clients_keep_nobody_out),
		CLIENT_TEST(who_has_begun_to_speak_outstays_the_silent),
		CLIENT_TEST(calls_that_run_do_not_give_way),
		CLIENT_TEST(a_client_has_one_deadline_for_all_of_its_call),
		CLIENT_TEST(a_client_that_came_while_descriptors_were_short_is_taken),
		CLIENT_TEST(a_second_call_does_not_cancel_the_first),
		CLIENT_TEST(another_users_call_is_not_read),
		CLIENT_TEST(nothing_is_said_to_another_users_socket),
		CLIENT_TEST(a_socket_put_in_our_place_is_not_removed),
		CLIENT_TEST(a_wait_for_the_runtime_directory_ends_with_the_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
