/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operator's ways to another Ferry: what each makes of its place, and what becomes of the child. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/descriptors.h"
#include "vmm/control/transport.h"
#include "vmm/guard.h"

#define NOBODY 65534

static char dir[] = "/tmp/ferry-transport-XXXXXX";
static char script[64], path[64], unix_path[80];

static const struct transport_options plain = { .name = "web1", .peer_uid = TRANSPORT_ANY_UID };

/* Makes the program that --ssh names. */
static void write_script(const char *text)
{
	FILE *file = fopen(script, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", text);
	fclose(file);
	assert_int_equal(chmod(script, 0700), 0);
}

/* Opens @to, and reads what the child says until it hangs up. */
static int open_and_read(struct transport *t, const char *to, const struct transport_options *o, char *text,
			 size_t size)
{
	struct error err = { 0 };
	size_t len = 0;
	ssize_t n;

	assert_int_equal(transport_open(t, to, o, &err), 0);
	assert_int_equal(shutdown(t->fd, SHUT_WR), 0);
	while ((n = read(t->fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	err = (struct error){ 0 };
	return transport_close(t, &err);
}

static void assert_refused(const char *to, const struct transport_options *o, int ret, const char *why)
{
	unsigned int before = fake_count_descriptors();
	struct error err = { 0 };
	struct transport t;

	if (transport_open(&t, to, o, &err) != ret || !strstr(err.text, why))
		fail_msg("%s: %s", to, err.text);
	assert_int_equal(t.fd, -1);
	assert_int_equal(t.child, 0);
	assert_int_equal(fake_count_descriptors(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void a_place_that_is_none_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		const char *to, *why;
	} cases[] = {
		{ "",
		  "is no place for a guest: give ssh:HOST, tls:HOST:PORT, unix:PATH, fd:N or exec:COMMAND" },
		{ "host", "is no place" },
		{ "SSH:host", "is no place" },
		{ "tcp:127.0.0.1:4444", "use ssh:HOST, or tls:HOST:PORT" },
		{ "ssh:", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh://host", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:-oProxyCommand=x", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:root@-x", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:@host", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:-l@host", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:a b@host", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:a`id`@host", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:ho st", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host;id", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:$(id)", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:fe80::1", "an IPv6 address in brackets" },
		{ "ssh:[::1", "an IPv6 address in brackets" },
		{ "ssh:[::1]22", "an IPv6 address in brackets" },
		{ "ssh:[]", "an IPv6 address in brackets" },
		{ "ssh:[-::1]", "an IPv6 address in brackets" },
		{ "ssh:host:", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host:0", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host:65536", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host:-22", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host:22x", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host:000022", "[USER@]HOST[:PORT][/NAME]" },
		{ "ssh:host/", "cannot be the name of the VM there" },
		{ "ssh:host/a b", "cannot be the name of the VM there" },
		{ "ssh:host/-x", "cannot be the name of the VM there" },
		{ "ssh:host/a;id", "cannot be the name of the VM there" },
		{ "ssh:host/a/b", "cannot be the name of the VM there" },
		{ "unix:", "1 to 107" },
		{ "fd:", "beyond stderr" },
		{ "fd:0", "beyond stderr" },
		{ "fd:2", "beyond stderr" },
		{ "fd:-1", "beyond stderr" },
		{ "fd:3x", "beyond stderr" },
		{ "fd:99999999", "beyond stderr" },
		{ "exec:", "needs a command" },
	};
	char longest[700] = "ssh:";
	struct transport_options o = plain;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i].to, &plain, -EINVAL, cases[i].why);
	memset(longest + 4, 'h', sizeof(longest) - 5);
	assert_refused(longest, &plain, -EINVAL, "longer than 511 bytes");
	memcpy(longest, "unix:", 5);
	assert_refused(longest, &plain, -EINVAL, "1 to 107");
	/* The VM's own name may be one that no other end could be told. */
	o.name = "-x";
	assert_refused("ssh:host", &o, -EINVAL, "give another behind a '/'");
	o = plain;
	o.ssh = "  ";
	assert_refused("ssh:host", &o, -EINVAL, "--ssh takes a program");
	o.ssh = "s a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a";
	assert_refused("ssh:host", &o, -EINVAL, "up to 31 arguments");
}

static void ssh_is_told_host_port_and_name(void **state)
{
	static const struct {
		const char *to, *args;
	} cases[] = {
		{ "ssh:hostB", "-o BatchMode=yes -- hostB ferry connect web1" },
		{ "ssh:root@host-b.example/db", "-o BatchMode=yes -- root@host-b.example ferry connect db" },
		{ "ssh:h:2222", "-o BatchMode=yes -p 2222 -- h ferry connect web1" },
		{ "ssh:me@corp@h_1:22/a", "-o BatchMode=yes -p 22 -- me@corp@h_1 ferry connect a" },
		{ "ssh:[fe80::1%eth0]", "-o BatchMode=yes -- fe80::1%eth0 ferry connect web1" },
		{ "ssh:u@[::1]:22/a.b", "-o BatchMode=yes -p 22 -- u@::1 ferry connect a.b" },
	};
	char ssh[128], text[1024], expected[256];
	struct transport_options o = plain;
	struct transport t;

	write_script("for a; do echo \"<$a>\"; done");
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char *at = expected, args[128], *save = NULL;

		snprintf(ssh, sizeof(ssh), "%s  -F\t/some/file ", script);
		o.ssh = ssh;
		at += sprintf(at, "<-F\t/some/file>\n");
		strcpy(args, cases[i].args);
		for (char *word = strtok_r(args, " ", &save); word; word = strtok_r(NULL, " ", &save))
			at += sprintf(at, "<%s>\n", word);
		assert_int_equal(open_and_read(&t, cases[i].to, &o, text, sizeof(text)), 0);
		assert_string_equal(text, expected);
	}
}

static void ssh_runs_another_command_at_a_host_alone(void **state)
{
	static const char *const words[] = { "ferry", "doctor", "--json", NULL };
	static const char *const wrong[] = { "", "host/web1", "host/", "-x", "a b", "host:0" };
	struct transport_options o = plain;
	struct error err = { 0 };
	struct transport t;
	char text[256];
	ssize_t n;

	write_script("echo \"$@\"");
	o.ssh = script;
	assert_int_equal(transport_run_at(&t, "me@[::1]:22", words, &o, &err), 0);
	n = recv(t.fd, text, sizeof(text) - 1, MSG_WAITALL);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "-o BatchMode=yes -p 22 -- me@::1 ferry doctor --json\n");
	assert_int_equal(transport_close(&t, &err), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(transport_check_host(wrong[i], &o, &err), -EINVAL);
		assert_int_equal(transport_run_at(&t, wrong[i], words, &o, &err), -EINVAL);
		assert_int_equal(t.fd, -1);
	}
}

static void bytes_go_both_ways_through_a_command(void **state)
{
	struct error err = { 0 };
	struct transport t;
	char text[64];

	assert_int_equal(transport_open(&t, "exec:tr a-z A-Z; exec cat /dev/null", &plain, &err), 0);
	assert_int_equal(fcntl(t.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(t.fd, "hello", 5), 5);
	assert_int_equal(shutdown(t.fd, SHUT_WR), 0);
	assert_int_equal(recv(t.fd, text, sizeof(text), MSG_WAITALL), 5);
	assert_memory_equal(text, "HELLO", 5);
	assert_int_equal(transport_close(&t, &err), 0);
}

/* Neither what Ferry has open nor what it ignores is the child's. */
static unsigned long long ignored_signals(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long set = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) && sscanf(line, "SigIgn: %llx", &set) != 1)
		;
	fclose(file);
	return set;
}

static void a_child_gets_nothing_but_its_connection(void **state)
{
	int extra = eventfd(0, 0), high = fcntl(extra, F_DUPFD, 700);
	struct transport t;
	sigset_t blocked;
	char text[1024], expected[128];

	/* What was ignored when all this began stays so, as for a client under nohup. */
	snprintf(expected, sizeof(expected), "SigBlk:\t%016x\nSigIgn:\t%016llx\n", 0, ignored_signals());
	assert_true(extra > 2 && high >= 700);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	guard_failed_calls();
	/* ls has the folder open that it lists. */
	open_and_read(&t, "exec:exec ls /proc/self/fd", &plain, text, sizeof(text));
	assert_string_equal(text, "0\n1\n2\n3\n");
	open_and_read(&t, "exec:exec grep -E '^Sig(Blk|Ign)' /proc/self/status", &plain, text, sizeof(text));
	assert_string_equal(text, expected);
	guard_default_calls();
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	close(extra);
	close(high);
}

static void a_child_is_not_in_the_clients_group_nor_if_detached_in_its_session(void **state)
{
	struct transport_options o = plain;
	struct transport t;
	char text[1024], *at;
	int group, session;

	for (int detached = 0; detached < 2; detached++) {
		o.detached = detached;
		open_and_read(&t, "exec:exec cat /proc/self/stat", &o, text, sizeof(text));
		at = strrchr(text, ')');
		assert_non_null(at);
		assert_int_equal(sscanf(at, ") %*c %*d %d %d", &group, &session), 2);
		assert_int_equal(group, atoi(text));
		if (detached)
			assert_int_equal(session, atoi(text));
		else
			assert_int_equal(session, getsid(0));
	}
}

static void a_program_that_cannot_be_run_is_named(void **state)
{
	struct transport_options o = plain;

	o.ssh = "/nonexistent/ssh -v";
	assert_refused("ssh:host", &o, -ENOENT, "cannot run /nonexistent/ssh: No such file");
	o.ssh = "/dev/null";
	assert_refused("ssh:host", &o, -EACCES, "cannot run /dev/null: Permission denied");
}

static void a_child_that_fails_is_told_with_its_end(void **state)
{
	static const struct {
		const char *command, *why;
	} cases[] = {
		{ "exec:exit 7", "the command ended with exit code 7" },
		{ "exec:nonexistent-command 2> /dev/null", "exit code 127: a command was not found" },
		{ "exec:kill -9 $$", "the command was ended by signal 9" },
		{ "exec:cat", NULL },
		{ "exec:exit 0", NULL },
	};
	struct transport_options o = plain;
	struct transport t;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };

		assert_int_equal(transport_open(&t, cases[i].command, &plain, &err), 0);
		transport_let_go(&t);
		assert_int_equal(transport_close(&t, &err), cases[i].why ? -ECHILD : 0);
		if (cases[i].why)
			assert_non_null(strstr(err.text, cases[i].why));
		else
			assert_string_equal(err.text, "");
	}
	write_script("exit 255");
	o.ssh = script;
	for (unsigned int i = 0; i < 2; i++) {
		struct error err = { 0 };

		/* Whoever started the client may have had no interest in children. */
		signal(SIGCHLD, i ? SIG_IGN : SIG_DFL);
		assert_int_equal(transport_open(&t, "ssh:host", &o, &err), 0);
		assert_int_equal(transport_close(&t, &err), -ECHILD);
		assert_non_null(
			strstr(err.text, "exit code 255: what ssh ends with where it cannot connect"));
	}
}

static void a_child_that_stays_is_ended(void **state)
{
	static const char *const commands[] = {
		"exec:exec sleep 1000",
		"exec:trap '' TERM; while :; do sleep 1; done",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		struct error err = { 0 };
		struct transport t;
		pid_t child;

		assert_int_equal(transport_open(&t, commands[i], &plain, &err), 0);
		child = t.child;
		assert_int_equal(transport_close(&t, &err), 0);
		assert_int_equal(kill(child, 0), -1);
		assert_int_equal(errno, ESRCH);
	}
}

/* The VM has the socket then, and the connection ends with that. */
static void what_is_let_go_of_does_not_keep_the_connection(void **state)
{
	struct error err = { 0 };
	struct transport t;
	int vms;

	assert_int_equal(transport_open(&t, "exec:exec cat", &plain, &err), 0);
	vms = dup(t.fd);
	transport_let_go(&t);
	assert_int_equal(t.fd, -1);
	close(vms);
	assert_int_equal(transport_close(&t, &err), 0);
}

/* Binds, and listens as @uid. Returns the child that does. */
static pid_t listen_as(uid_t uid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ready[2];
	pid_t pid;
	char byte;

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		/* The credentials are those of the time of listen(). */
		if ((uid != geteuid() && setuid(uid) < 0) || listen(fd, 8) < 0 || write(ready[1], "", 1) != 1)
			_exit(99);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(fd);
	return pid;
}

static void end_listener(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	unlink(path);
}

static void a_unix_socket_is_connected_to(void **state)
{
	struct error err = { 0 };
	struct transport t;
	pid_t pid;

	assert_refused(unix_path, &plain, -ENOENT, "is \"ferry receive\" waiting there?");
	pid = listen_as(geteuid());
	assert_int_equal(transport_open(&t, unix_path, &plain, &err), 0);
	assert_int_equal(fcntl(t.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(t.child, 0);
	assert_int_equal(transport_close(&t, &err), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_refused(unix_path, &plain, -ECONNREFUSED, "is \"ferry receive\" waiting there?");
	unlink(path);
}

/* A guest's memory is not for whoever has been quicker with a name. */
static void another_users_listener_is_for_who_names_that_user(void **state)
{
	struct transport_options o = plain;
	struct error err = { 0 };
	struct transport t;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = listen_as(NOBODY);
	/* The listener is this process's child, which assert_refused() would take for a transport's. */
	assert_int_equal(transport_open(&t, unix_path, &o, &err), -EPERM);
	assert_non_null(strstr(err.text, "is the user with id 65534, neither you nor root"));
	assert_int_equal(t.fd, -1);
	o.peer_uid = NOBODY - 1;
	assert_int_equal(transport_open(&t, unix_path, &o, &err), -EPERM);
	o.peer_uid = NOBODY;
	assert_int_equal(transport_open(&t, unix_path, &o, &err), 0);
	transport_let_go(&t);
	end_listener(pid);
}

static void a_descriptor_must_be_a_connection(void **state)
{
	struct error err = { 0 };
	struct transport t;
	char to[32];
	int fds[2], fd = eventfd(0, EFD_CLOEXEC);

	snprintf(to, sizeof(to), "fd:%d", fd);
	assert_refused(to, &plain, -ENOTSOCK, "is no socket");
	close(fd);
	assert_refused(to, &plain, -EBADF, "is no socket");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(to, sizeof(to), "fd:%d", fd);
	assert_refused(to, &plain, -ENOTCONN, "is a socket without a connection");
	close(fd);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(to, sizeof(to), "fd:%d", fd);
	assert_refused(to, &plain, -EPROTOTYPE, "is no stream socket");
	close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	snprintf(to, sizeof(to), "fd:%d", fds[0]);
	assert_int_equal(transport_open(&t, to, &plain, &err), 0);
	assert_int_equal(t.fd, fds[0]);
	assert_int_equal(transport_close(&t, &err), 0);
	close(fds[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_that_is_none_is_refused_with_what_would_be_right),
		cmocka_unit_test(ssh_is_told_host_port_and_name),
		cmocka_unit_test(ssh_runs_another_command_at_a_host_alone),
		cmocka_unit_test(bytes_go_both_ways_through_a_command),
		cmocka_unit_test(a_child_gets_nothing_but_its_connection),
		cmocka_unit_test(a_child_is_not_in_the_clients_group_nor_if_detached_in_its_session),
		cmocka_unit_test(a_program_that_cannot_be_run_is_named),
		cmocka_unit_test(a_child_that_fails_is_told_with_its_end),
		cmocka_unit_test(a_child_that_stays_is_ended),
		cmocka_unit_test(what_is_let_go_of_does_not_keep_the_connection),
		cmocka_unit_test(a_unix_socket_is_connected_to),
		cmocka_unit_test(another_users_listener_is_for_who_names_that_user),
		cmocka_unit_test(a_descriptor_must_be_a_connection),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	/* Another user's listener is in it. */
	chmod(dir, 0711);
	snprintf(script, sizeof(script), "%s/ssh", dir);
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(unix_path, sizeof(unix_path), "unix:%s", path);
	alarm(120);
	ret = cmocka_run_group_tests_name("transport", tests, NULL, NULL);
	unlink(script);
	rmdir(dir);
	return ret;
}
