/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry connect" between a program that gives it pipes, as ssh does, and a VM: whatever either of them says
 * arrives, and neither's end is waited for without end. */
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
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/control/connect.h"
#include "vmm/control/interface.h"
#include "vmm/control/server.h"

struct fixture {
	char dir[32];
	struct guard guard;
	struct control *control;
	struct control_offer offer;
	/* What the VM does with the connection @fd, and answers. NULL: nothing, until the client hangs up. */
	void (*serve)(struct fixture *f, int fd);
	const char *refusal;
	struct stat passed; /* the connection that came */
	uint64_t n_received;
};

static void method_connect(struct control_call *call, void *opaque)
{
	struct fixture *f = opaque;
	int fd = control_take_fd(call);
	struct pollfd hangup = { .fd = control_call_fd(call), .events = POLLIN };

	assert_int_equal(fstat(fd, &f->passed), 0);
	if (f->serve)
		f->serve(f, fd);
	else
		assert_int_equal(poll(&hangup, 1, -1), 1);
	close(fd);
	if (f->refusal)
		control_fail(call, CLIENT_ERROR_BUSY, f->refusal);
	else
		control_reply(call, "{}");
}

static const struct control_method methods[] = { { .name = "Connect", .fn = method_connect } };

static const struct control_interface interface = {
	.name = CLIENT_INTERFACE,
	.methods = methods,
	.n_methods = ARRAY_SIZE(methods),
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };
	const struct control_config config = {
		.runtime_dir = f->dir, .name = "web1", .offers = &f->offer, .n_offers = 1, .guard = &f->guard
	};

	f->offer = (struct control_offer){ &interface, f };
	strcpy(f->dir, "/tmp/ferry-connect-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(guard_init(&f->guard, &err), 0);
	assert_int_equal(control_create(&f->control, &config, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	control_destroy(f->control);
	assert_int_equal(guard_exit(&f->guard), 0);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* A "ferry connect", and our ends of its standard streams. */
struct connection {
	pid_t pid;
	int in, out, err;
};

static pid_t start_with(struct fixture *f, const char *name, int in, int out, int err)
{
	char *argv[] = { "connect", (char *)(uintptr_t)name, "--runtime-dir", f->dir };
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
		    dup2(err, STDERR_FILENO) < 0)
			_exit(99);
		/* No other process's end keeps a pipe open. */
		close_range(STDERR_FILENO + 1, ~0u, 0);
		guard_failed_calls();
		_exit(client_connect(ARRAY_SIZE(argv), argv));
	}
	close(in);
	if (out != in)
		close(out);
	close(err);
	return pid;
}

static struct connection start(struct fixture *f, const char *name)
{
	int in[2], out[2], err[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	return (struct connection){
		.pid = start_with(f, name, in[0], out[1], err[1]), .in = in[1], .out = out[0], .err = err[0]
	};
}

/* Returns its exit code, once it has said all on stderr. */
static int end(struct connection *c, char *said, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int status;

	while ((n = read(c->err, said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_true(WIFEXITED(status));
	close(c->err);
	return WEXITSTATUS(status);
}

/* Bytes that tell where they stood. */
static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)((uint32_t)i * 2654435761u >> 24);
}

static void write_all(int fd, uint64_t len)
{
	uint8_t buf[100000];
	uint64_t done = 0;

	while (done < len) {
		uint64_t some = min_u64(len - done, sizeof(buf));

		for (uint64_t i = 0; i < some; i++)
			buf[i] = byte_at(done + i);
		for (uint64_t at = 0; at < some;) {
			ssize_t n = write(fd, buf + at, some - at);

			assert_true(n > 0);
			at += (uint64_t)n;
		}
		done += some;
	}
}

/* Reads to the end. Returns how much came, all of it as write_all() wrote it. */
static uint64_t read_all(int fd)
{
	uint8_t bytes[100000];
	uint64_t len = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++, len++) {
			if (bytes[i] != byte_at(len))
				fail_msg("byte %llu", (unsigned long long)len);
		}
	}
	return len;
}

#define MUCH (MIB(8) + 12345)

static void serve_both_ways(struct fixture *f, int fd)
{
	f->n_received = read_all(fd);
	write_all(fd, MUCH);
}

/* The source ends first, and hears the rest all the same. */
static void bytes_and_ends_go_both_ways(void **state)
{
	struct fixture *f = *state;
	struct connection c;
	char said[256];

	f->serve = serve_both_ways;
	c = start(f, "web1");
	write_all(c.in, MUCH);
	close(c.in);
	assert_int_equal(read_all(c.out), MUCH);
	close(c.out);
	assert_int_equal(end(&c, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(f->n_received, MUCH);
}

static void serve_refusal(struct fixture *f, int fd)
{
	/* With what the source has said still unread. */
	write_all(fd, 1000);
}

/* What the VM has said to the source before it hung up is not lost, nor is the reason. */
static void a_refusal_reaches_the_source_and_stderr(void **state)
{
	struct fixture *f = *state;
	struct connection c;
	char said[256];

	f->serve = serve_refusal;
	f->refusal = "another source was faster";
	c = start(f, "web1");
	/* It may have ended by now. */
	assert_true(write(c.in, "HELLO", 5) == 5 || errno == EPIPE);
	assert_int_equal(read_all(c.out), 1000);
	assert_int_equal(end(&c, said, sizeof(said)), 1);
	assert_string_equal(said, "ferry: another source was faster\n");
	close(c.in);
	close(c.out);
}

static void serve_echo(struct fixture *f, int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(write(fd, &byte, 1), 1);
}

static void a_socket_goes_to_the_vm_itself(void **state)
{
	struct fixture *f = *state;
	struct connection c;
	int fds[2], err[2];
	struct stat st;
	char said[256], byte = 'x';

	f->serve = serve_echo;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	assert_int_equal(fstat(fds[1], &st), 0);
	c = (struct connection){ .pid = start_with(f, "web1", fds[1], fds[1], err[1]), .err = err[0] };
	assert_int_equal(write(fds[0], &byte, 1), 1);
	byte = 0;
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	/* Nobody else has it open. */
	assert_int_equal(read(fds[0], &byte, 1), 0);
	assert_int_equal(end(&c, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	assert_int_equal(f->passed.st_ino, st.st_ino);
	close(fds[0]);
}

static void where_no_vm_is_that_is_said(void **state)
{
	struct fixture *f = *state;
	struct connection c = start(f, "web2");
	char said[256];

	assert_int_equal(end(&c, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "no VM named web2 is running"));
	assert_int_equal(read_all(c.out), 0);
	close(c.in);
	close(c.out);
}

static void serve_until_cut(struct fixture *f, int fd)
{
	char byte;

	assert_true(write(fd, "x", 1) == 1 || errno == EPIPE);
	assert_true(read(fd, &byte, 1) <= 0);
}

/* The VM hears of it at once, though stdin is open still. */
static void a_reader_that_goes_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	struct connection c;
	char said[256];

	f->serve = serve_until_cut;
	f->refusal = "the peer has closed the connection";
	c = start(f, "web1");
	close(c.out);
	assert_int_equal(end(&c, said, sizeof(said)), 1);
	assert_string_equal(said, "ferry: the peer has closed the connection\n");
	close(c.in);
}

static void serve_in_silence(struct fixture *f, int fd)
{
	char byte;

	assert_true(read(fd, &byte, 1) <= 0);
}

static void a_reader_that_goes_while_the_vm_says_nothing_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct connection c;
	char said[256];

	f->serve = serve_in_silence;
	f->refusal = "the peer has closed the connection";
	c = start(f, "web1");
	close(c.out);
	assert_int_equal(end(&c, said, sizeof(said)), 1);
	assert_string_equal(said, "ferry: the peer has closed the connection\n");
	close(c.in);
}

static void serve_much(struct fixture *f, int fd)
{
	write_all(fd, 100000);
}

/* One whose stdout nobody reads, and one whose VM does not answer. */
static void nobody_is_waited_for_without_end(void **state)
{
	struct fixture *f = *state;
	struct connection unread, unanswered;
	uint64_t start_ns = now_ns();
	char said[256];

	f->serve = serve_much;
	unread = start(f, "web1");
	assert_int_equal(end(&unread, said, sizeof(said)), 0);
	assert_non_null(strstr(said, "the guest runs here, but"));
	close(unread.in);
	close(unread.out);
	assert_in_range(now_ns() - start_ns, 5000000000, 60000000000);

	f->serve = NULL;
	start_ns = now_ns();
	unanswered = start(f, "web1");
	close(unanswered.in);
	assert_int_equal(end(&unanswered, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "the VM does not answer"));
	close(unanswered.out);
	assert_in_range(now_ns() - start_ns, 5000000000, 60000000000);
}

#define CONNECT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONNECT_TEST(bytes_and_ends_go_both_ways),
		CONNECT_TEST(a_refusal_reaches_the_source_and_stderr),
		CONNECT_TEST(a_socket_goes_to_the_vm_itself),
		CONNECT_TEST(where_no_vm_is_that_is_said),
		CONNECT_TEST(a_reader_that_goes_ends_the_connection),
		CONNECT_TEST(a_reader_that_goes_while_the_vm_says_nothing_is_noticed),
		CONNECT_TEST(nobody_is_waited_for_without_end),
	};

	guard_failed_calls();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
