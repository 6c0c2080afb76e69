/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry migrate" from the operator's end to the destination's: a client in a process of its own, what it
 * runs in the place of ssh, and a VM that has the guest. */
#define _GNU_SOURCE
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "migration/methods.h"
#include "vmm/control/client.h"
#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/control/server.h"
#include "vmm/guard.h"

/* This program, which is also the client, and what the client runs. */
static char self[128];

/* A VM whose guest is to move, its control socket, and a destination. */
struct rig {
	struct guard guard;
	struct departure s;
	struct arrival a;
	struct methods methods;
	struct control *control;
	struct control_offer offer;
};

static void rig_init(struct rig *r)
{
	const struct control_config config = { .runtime_dir = places.dir,
					       .name = "web1",
					       .offers = &r->offer,
					       .n_offers = 1,
					       .guard = &r->guard };
	struct error err = { 0 };

	memset(r, 0, sizeof(*r));
	r->offer = (struct control_offer){ &methods_interface, &r->methods };
	departure_init(&r->s);
	/* Nobody waits for the guest's first moments elsewhere. */
	r->s.guest.vm.stop_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(guard_init(&r->guard, &err), 0);
	assert_int_equal(methods_init(&r->methods, NULL, &err), 0);
	methods_set_guest(&r->methods, METHODS_HERE, &r->s.guest.vm);
	assert_int_equal(control_create(&r->control, &config, &err), 0);
}

static void rig_exit(struct rig *r)
{
	control_destroy(r->control);
	methods_exit(&r->methods);
	assert_int_equal(guard_exit(&r->guard), 0);
	close(r->s.guest.vm.stop_fd);
	departure_exit(&r->s);
}

/* The client, as a process. */
struct client {
	pid_t pid;
	int said_fd; /* its stdout and stderr, and those of what it runs */
	char said[8192];
	size_t len;
};

/* Of the clients that are started: their --report, NULL for none. */
static const char *report;

/* Starts "ferry migrate web1" with @to, @option, and @ssh (NULL: none). @fd is inherited under its number. */
static void client_start_with(struct client *c, const char *to, const char *option, const char *ssh, int fd)
{
	const char *argv[16] = { self, "client", "web1", "--runtime-dir", places.dir, "--to", to, option };
	unsigned int n = 8;

	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	int said[2];

	*c = (struct client){ 0 };
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	c->said_fd = said[0];
	c->pid = fork();
	if (c->pid == 0) {
		dup2(said[1], STDOUT_FILENO);
		dup2(said[1], STDERR_FILENO);
		if (fd >= 0)
			fcntl(fd, F_SETFD, 0);
		/* However this test was started: nohup, say, has a client heed no SIGHUP. */
		for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++)
			signal(signals[i], SIG_DFL);
		if (ssh) {
			argv[n++] = "--ssh";
			argv[n++] = ssh;
		}
		if (report) {
			argv[n++] = "--report";
			argv[n++] = report;
		}
		execv(self, (char **)(uintptr_t)argv);
		_exit(99);
	}
	close(said[1]);
}

static void client_start(struct client *c, const char *to, const char *ssh, int fd)
{
	client_start_with(c, to, "--stalled=throttle", ssh, fd);
}

/* Reads on until the client has said @words, or (NULL) until it and what it runs have ended. */
static void client_hear(struct client *c, const char *words)
{
	while (!words || !strstr(c->said, words)) {
		ssize_t n = read(c->said_fd, c->said + c->len, sizeof(c->said) - 1 - c->len);

		if (n <= 0 && words)
			fail_msg("no \"%s\" in: %s", words, c->said);
		if (n <= 0)
			return;
		c->len += (size_t)n;
	}
}

static void client_expect(struct client *c, int code)
{
	int status;

	client_hear(c, NULL);
	close(c->said_fd);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("status %x: %s", (unsigned int)status, c->said);
}

static void assert_said(const struct client *c, const char *words)
{
	if (!strstr(c->said, words))
		fail_msg("no \"%s\" in: %s", words, c->said);
}

/* The guest runs here, whatever has been tried, and moves when it can. */
static void assert_stays_and_moves_later(struct rig *r)
{
	struct client c;
	char to[128];

	assert_false(fake_guest_is_paused(&r->s.guest));
	assert_false(r->s.guest.vm.migrating);
	snprintf(to, sizeof(to), "unix:%s", places.path);
	arrival_start(&r->a, NULL);
	close(connect_to_place(places.path));
	client_start(&c, to, NULL, -1);
	client_expect(&c, 0);
	arrival_join(&r->a);
	assert_here(&r->a, &r->s);
	arrival_exit(&r->a);
}

/* This program in the place of ssh: leads to the destination, and fails after @bytes of the source's. */
static const char *ssh_that_passes(const char *bytes, char text[256])
{
	snprintf(text, 256, "%s ssh %s %s", self, places.path, bytes);
	return text;
}

static void a_guest_moves_through_ssh(void **state)
{
	char ssh[256];
	struct client c;
	struct rig r;

	rig_init(&r);
	arrival_start(&r.a, NULL);
	client_start(&c, "ssh:hostB/web1", ssh_that_passes("all", ssh), -1);
	client_expect(&c, 0);
	assert_said(&c, "moved; downtime");
	assert_null(strstr(c.said, "exit code"));
	arrival_join(&r.a);
	assert_here(&r.a, &r.s);
	arrival_exit(&r.a);
	rig_exit(&r);
}

/* The client has ended when the guest has hardly begun to move: what carries the connection goes on. */
static void a_detached_migration_goes_on_through_ssh(void **state)
{
	char ssh[256];
	struct client c;
	struct rig r;
	int status;

	rig_init(&r);
	client_start_with(&c, "ssh:hostB/web1", "--detach", ssh_that_passes("all", ssh), -1);
	client_hear(&c, "under way");
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* Only now is there a destination. */
	arrival_start(&r.a, NULL);
	arrival_join(&r.a);
	assert_here(&r.a, &r.s);
	/* Nothing of it stays. */
	client_hear(&c, NULL);
	close(c.said_fd);
	arrival_exit(&r.a);
	rig_exit(&r);
}

static void assert_reported(const char *path, const char *words)
{
	char text[16384] = "";
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	unlink(path);
	if (!strstr(text, words))
		fail_msg("%s", text);
}

static void cancel_migration(void)
{
	struct control_client c;
	struct error err = { 0 };
	const char *reply;

	assert_int_equal(control_connect(&c, places.dir, "web1", &err), 0);
	assert_int_equal(control_send(&c, CLIENT_METHOD("CancelMigration"), "{}", CONTROL_RESULT, -1, &err),
			 0);
	assert_int_equal(control_receive(&c, &reply, &err), 0);
	control_disconnect(&c);
}

/* Behind the client, which has ended long before: whoever has heard all has seen the end of that, too. */
static void the_report_of_a_detached_migration_is_written(void **state)
{
	char path[64], to[128];
	struct client c;
	struct rig r;
	int status;

	rig_init(&r);
	snprintf(path, sizeof(path), "%s/report", places.dir);
	report = path;
	client_start_with(&c, "exec:exec cat > /dev/null", "--detach", NULL, -1);
	client_hear(&c, "under way");
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(path, F_OK), -1);
	cancel_migration();
	client_hear(&c, NULL);
	close(c.said_fd);
	assert_reported(path, "\"cause\":\"cancelled\"");
	/* And of one that comes to a good end. */
	arrival_start(&r.a, NULL);
	close(connect_to_place(places.path));
	snprintf(to, sizeof(to), "unix:%s", places.path);
	client_start_with(&c, to, "--detach", NULL, -1);
	client_expect(&c, 0);
	report = NULL;
	arrival_join(&r.a);
	assert_here(&r.a, &r.s);
	assert_reported(path, "{\"state\":\"moved\"");
	arrival_exit(&r.a);
	rig_exit(&r);
}

static void a_guest_moves_over_a_descriptor(void **state)
{
	struct client c;
	struct rig r;
	char to[32];
	int fd;

	rig_init(&r);
	arrival_start(&r.a, NULL);
	fd = connect_to_place(places.path);
	snprintf(to, sizeof(to), "fd:%d", fd);
	client_start(&c, to, NULL, fd);
	close(fd);
	client_expect(&c, 0);
	arrival_join(&r.a);
	assert_here(&r.a, &r.s);
	arrival_exit(&r.a);
	rig_exit(&r);
}

static void an_ssh_that_fails_leaves_the_guest_here(void **state)
{
	char ssh[256];
	struct client c;
	struct rig r;

	rig_init(&r);
	snprintf(ssh, sizeof(ssh), "%s refused", self);
	client_start(&c, "ssh:hostB", ssh, -1);
	client_expect(&c, 1);
	assert_said(&c, "me@hostB: Permission denied (publickey).");
	assert_said(&c, "hello: the peer has closed the connection");
	assert_said(&c, "ended with exit code 255: what ssh ends with where it cannot connect or log in");
	assert_int_equal(r.s.guest.vm.gate.n_pauses, 0);
	/* Nothing is left of it in the VM either. */
	client_start(&c, "ssh:hostB", "/nonexistent/ssh", -1);
	client_expect(&c, 1);
	assert_said(&c, "cannot run /nonexistent/ssh: No such file or directory");
	assert_stays_and_moves_later(&r);
	rig_exit(&r);
}

static void an_ssh_that_dies_on_the_way_leaves_the_guest_here(void **state)
{
	/* In the HELLO, behind it, and in the guest's memory. */
	static const char *const bytes[] = { "10", "600", "20000", "60000" };
	char ssh[256];
	struct client c;
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(bytes); i++) {
		arrival_start(&r.a, NULL);
		client_start(&c, "ssh:hostB/web1", ssh_that_passes(bytes[i], ssh), -1);
		client_expect(&c, 1);
		assert_said(&c, "ended with exit code 255");
		arrival_call_off(&r.a);
		arrival_join(&r.a);
		assert_not_here(&r.a);
		arrival_exit(&r.a);
		assert_false(fake_guest_is_paused(&r.s.guest));
	}
	assert_stays_and_moves_later(&r);
	rig_exit(&r);
}

/* The operator's Ctrl-C: the client waits for what becomes of it, and says it. */
static void a_signal_calls_the_migration_off(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct client c;
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		/* A destination that says nothing. */
		client_start(&c, "exec:exec cat > /dev/null", NULL, -1);
		client_hear(&c, "hello");
		kill(c.pid, signals[i]);
		client_expect(&c, 1);
		assert_said(&c, "calling off");
		assert_said(&c, "hello: cancelled");
	}
	assert_stays_and_moves_later(&r);
	rig_exit(&r);
}

/* Whoever carries the bytes fails when the VM has hung up, and that explains nothing. */
static void the_end_of_ssh_is_no_reason_where_the_migration_was_ended_here(void **state)
{
	static const struct {
		const char *to, *option, *reason;
	} cases[] = {
		{ "exec:cat > /dev/null; exit 255", "--timeout=1", "hello: not done within the 1 s" },
		{ "exec:cat > /dev/null; exit 255", "--stalled=throttle", "hello: cancelled" },
	};
	struct client c;
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		client_start_with(&c, cases[i].to, cases[i].option, NULL, -1);
		client_hear(&c, "hello");
		if (i == 1)
			kill(c.pid, SIGINT);
		client_expect(&c, 1);
		assert_said(&c, cases[i].reason);
		if (strstr(c.said, "exit code"))
			fail_msg("%s", c.said);
	}
	assert_stays_and_moves_later(&r);
	rig_exit(&r);
}

/* However a client ends, nothing that it has started stays: the pipe's end is waited for. */
static void a_client_that_is_killed_takes_its_child_along(void **state)
{
	struct client c;
	struct rig r;
	int status;

	rig_init(&r);
	client_start(&c, "exec:exec sleep 1000", NULL, -1);
	client_hear(&c, "hello");
	kill(c.pid, SIGKILL);
	client_hear(&c, NULL);
	close(c.said_fd);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFSIGNALED(status));
	/* The VM notices in its own time. */
	while (atomic_load(&r.s.guest.vm.migrating))
		sched_yield();
	assert_stays_and_moves_later(&r);
	rig_exit(&r);
}

/* Whoever calls, not this client alone. */
static void a_call_without_a_connection_is_refused_by_name(void **state)
{
	static const struct {
		int (*open)(void);
		const char *why;
	} cases[] = {
		{ no_descriptor, "the connection to the destination is missing" },
		{ no_socket, "what was passed is no socket" },
		{ datagram_socket, "what was passed is no stream socket" },
		{ unconnected_socket, "what was passed is a socket without a connection" },
	};
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct control_client c;
		struct error err = { 0 };
		const char *reply;
		int fd = cases[i].open();

		assert_int_equal(control_connect(&c, places.dir, "web1", &err), 0);
		assert_int_equal(
			control_send(&c, "alt.ferry.Migrate", "{\"to\":\"x\"}", CONTROL_RESULT, fd, &err), 0);
		if (fd >= 0)
			close(fd);
		assert_int_equal(control_receive(&c, &reply, &err), -EREMOTEIO);
		assert_string_equal(c.error, CLIENT_ERROR_CONNECTION);
		if (!strstr(err.text, cases[i].why))
			fail_msg("%s", err.text);
		control_disconnect(&c);
	}
	assert_int_equal(r.s.guest.vm.gate.n_pauses, 0);
	assert_stays_and_moves_later(&r);
	rig_exit(&r);
}

/* "ssh PATH BYTES [OPTION...] -- hostB ferry connect web1": as ssh does, with "ferry connect" behind it. */
static int run_as_ssh(int argc, char **argv)
{
	size_t left = strcmp(argv[3], "all") == 0 ? SIZE_MAX : (size_t)atol(argv[3]);
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
				{ .fd = connect_to_place(argv[2]), .events = POLLIN } };
	static char buf[65536];

	if (argc < 9 || strcmp(argv[argc - 5], "--") != 0 || strcmp(argv[argc - 3], "ferry") != 0 ||
	    strcmp(argv[argc - 2], "connect") != 0 || strcmp(argv[argc - 1], "web1") != 0)
		return 98;
	for (;;) {
		poll(fds, 2, -1);
		for (int i = 0; i < 2; i++) {
			size_t room = i == 0 && left < sizeof(buf) ? left : sizeof(buf);
			ssize_t n;

			if (!fds[i].revents)
				continue;
			n = read(fds[i].fd, buf, room);
			if (n <= 0)
				return 0;
			if (write(i ? STDOUT_FILENO : fds[1].fd, buf, (size_t)n) != n)
				return 255;
			left -= i == 0 ? (size_t)n : 0;
			if (left == 0)
				return 255;
		}
	}
}

static int run_as_refused(void)
{
	fprintf(stderr, "me@hostB: Permission denied (publickey).\n");
	return 255;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_moves_through_ssh),
		cmocka_unit_test(a_detached_migration_goes_on_through_ssh),
		cmocka_unit_test(the_report_of_a_detached_migration_is_written),
		cmocka_unit_test(a_guest_moves_over_a_descriptor),
		cmocka_unit_test(an_ssh_that_fails_leaves_the_guest_here),
		cmocka_unit_test(an_ssh_that_dies_on_the_way_leaves_the_guest_here),
		cmocka_unit_test(a_signal_calls_the_migration_off),
		cmocka_unit_test(the_end_of_ssh_is_no_reason_where_the_migration_was_ended_here),
		cmocka_unit_test(a_client_that_is_killed_takes_its_child_along),
		cmocka_unit_test(a_call_without_a_connection_is_refused_by_name),
	};

	alarm(120);
	if (argc > 3 && strcmp(argv[1], "ssh") == 0)
		return run_as_ssh(argc, argv);
	if (argc > 1 && strcmp(argv[1], "refused") == 0)
		return run_as_refused();
	if (argc > 1 && strcmp(argv[1], "client") == 0) {
		guard_failed_calls();
		return client_migrate(argc - 1, argv + 1);
	}
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	return run_in_dir("migrate_client", tests, ARRAY_SIZE(tests));
}
