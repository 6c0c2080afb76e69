/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands about VMs as machines, with VMs that answer anything. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/commands_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/control/job_commands.h"
#include "vmm/control/machine_commands.h"

#define HEAD "NAME                     STATE      VCPUS     MEMORY      PID\n"

static void a_list_says_how_each_vm_is(void **state)
{
	static const struct {
		const char *answer, *said;
		int status;
	} cases[] = {
		{ "{\"parameters\":{\"state\":\"running\",\"cpus\":2,\"memory\":1073741824,\"pid\":77}}",
		  HEAD "web1                     running        2      1024M       77\n", 0 },
		{ "{\"parameters\":{\"state\":\"waiting\",\"pid\":77}}",
		  HEAD "web1                     waiting        -          -       77\n", 0 },
		{ "{\"parameters\":{\"state\":\"\\u001b[2J\"}}",
		  HEAD "web1                     ?[2J           -          -        -\n", 0 },
		{ "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"a\"}}",
		  "ferry: web1: the VM does not know \"a\": its Ferry is of another version\n" HEAD, 1 },
	};
	char said[4096];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct server s;
		int status;

		start(&s, cases[i].answer, strlen(cases[i].answer) + 1);
		status = run(client_list, (char *[]){ "list", "--runtime-dir", s.dir, NULL }, said,
			     sizeof(said));
		stop(&s);
		assert_string_equal(said, cases[i].said);
		assert_int_equal(status, cases[i].status);
		assert_non_null(strstr(s.call, "\"alt.ferry.Describe\""));
	}
}

static void a_list_for_programs_is_what_each_vm_says(void **state)
{
	static const char answer[] = "{\"parameters\":{\"name\":\"web1\",\"nics\":[]}}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	assert_int_equal(run(client_list, (char *[]){ "list", "--json", "--runtime-dir", s.dir, NULL }, said,
			     sizeof(said)),
			 0);
	stop(&s);
	assert_string_equal(said, "{\"name\":\"web1\",\"nics\":[]}\n");
}

/* A socket that nobody listens at any more, folders that are no VM's, and what else may lie there. */
static void what_is_no_vm_is_not_listed(void **state)
{
	char dir[] = "/tmp/ferry-list.XXXXXX", said[4096];
	static const char *const names[] = { "web2/control", ".lock", "web3.sock", "a b/control", "web3" };
	static const char *const folders[] = { "web2", "a b", "web4" };
	char path[80];

	assert_non_null(mkdtemp(dir));
	for (unsigned int i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		struct sockaddr_un sun = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s", dir, names[i]);
		assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
		close(fd);
	}
	assert_int_equal(
		run(client_list, (char *[]){ "list", "--runtime-dir", dir, NULL }, said, sizeof(said)), 0);
	assert_string_equal(said, HEAD);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
		assert_int_equal(rmdir(path), 0);
	}
	rmdir(dir);
	/* Nor is there one where no Ferry has ever run. */
	assert_int_equal(
		run(client_list, (char *[]){ "list", "--runtime-dir", dir, NULL }, said, sizeof(said)), 0);
	assert_int_equal(run(client_list, (char *[]){ "list", "--runtime-dir", "/dev/null", NULL }, said,
			     sizeof(said)),
			 1);
	assert_int_equal(run(client_list, (char *[]){ "list", "we/b*", NULL }, said, sizeof(said)),
			 CLIENT_EXIT_USAGE);
}

static void what_the_vm_does_is_the_exit_code(void **state)
{
	static const char done[] = "{\"parameters\":{}}";
	static const char busy[] =
		"{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":\"a migration\"}}";
	static const struct {
		int (*command)(int argc, char **argv);
		const char *method;
	} cases[] = {
		{ client_pause, "\"io.systemd.MachineInstance.Pause\"" },
		{ client_reset, "\"io.systemd.MachineInstance.Reboot\"" },
		{ client_resume, "\"alt.ferry.Resume\"" },
	};
	char said[4096];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct server s;

		start(&s, done, sizeof(done));
		assert_int_equal(run(cases[i].command,
				     (char *[]){ "it", "web1", "--runtime-dir", s.dir, NULL }, said,
				     sizeof(said)),
				 0);
		stop(&s);
		assert_non_null(strstr(s.call, cases[i].method));
		assert_string_equal(said, "");
		start(&s, busy, sizeof(busy));
		assert_int_equal(run(cases[i].command,
				     (char *[]){ "it", "web1", "--runtime-dir", s.dir, NULL }, said,
				     sizeof(said)),
				 1);
		stop(&s);
		assert_string_equal(said, "ferry: a migration\n");
		assert_int_equal(
			run(cases[i].command, (char *[]){ "it", "--force", NULL }, said, sizeof(said)),
			CLIENT_EXIT_USAGE);
	}
}

/* The VM is this process, which does not end. */
static void a_guest_that_does_not_shut_down_is_not_cut_off(void **state)
{
	static const char done[] = "{\"parameters\":{}}";
	char said[4096];
	struct server s;

	start(&s, done, sizeof(done));
	assert_int_equal(run(client_stop,
			     (char *[]){ "stop", "web1", "--timeout", "1", "--runtime-dir", s.dir, NULL },
			     said, sizeof(said)),
			 1);
	stop(&s);
	assert_non_null(strstr(s.call, "\"io.systemd.MachineInstance.PowerOff\""));
	assert_string_equal(said, "ferry: the VM has not ended in the time that it was given\n");
}

static void a_vm_without_a_guest_is_stopped_by_force(void **state)
{
	static const char none[] =
		"{\"error\":\"alt.ferry.NotRunning\",\"parameters\":{\"reason\":\"no guest\"}}";
	char said[4096];
	struct server s;

	start(&s, none, sizeof(none));
	assert_int_equal(run(client_stop, (char *[]){ "stop", "web1", "--runtime-dir", s.dir, NULL }, said,
			     sizeof(said)),
			 1);
	stop(&s);
	assert_string_equal(said, "ferry: no guest\n");
}

/* Stops a VM that is a process of its own, and ends some time after it has answered. Returns whether it had
 * ended when the command did. */
static bool stop_child(bool force)
{
	static const char done[] = "{\"parameters\":{}}";
	char said[4096], dir[32];
	char *argv[] = { "stop", "web1", "--runtime-dir", dir, force ? "--force" : NULL, NULL };
	int ready[2], status;
	struct server s;
	pid_t pid;
	bool ended;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		const char *method = force ? "MachineInstance.Terminate\"" : "MachineInstance.PowerOff\"";

		start(&s, done, sizeof(done));
		assert_int_equal(write(ready[1], s.dir, sizeof(dir)), sizeof(dir));
		stop(&s);
		/* What a process takes down after its last answer. */
		usleep(100000);
		_exit(strstr(s.call, method) ? 0 : 1);
	}
	assert_int_equal(read(ready[0], dir, sizeof(dir)), sizeof(dir));
	assert_int_equal(run(client_stop, argv, said, sizeof(said)), 0);
	assert_string_equal(said, "");
	ended = waitpid(pid, &status, WNOHANG) == pid;
	assert_true(!ended || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	close(ready[0]);
	close(ready[1]);
	return ended;
}

static void a_vm_that_is_stopped_has_ended_with_all_it_had(void **state)
{
	assert_true(stop_child(false));
	assert_true(stop_child(true));
}

/* Removes the folder @path with the socket in it. */
static void remove_folder(const char *path)
{
	char socket[128];

	snprintf(socket, sizeof(socket), "%s/control", path);
	remove(socket);
	remove(path);
}

/* Two VMs in one folder, and what is left there of a third. */
struct pair {
	struct server one, two;
	char other[80], dead[80];
};

static void pair_start(struct pair *p, const char *first, const char *second)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	start(&p->one, first, strlen(first) + 1);
	start(&p->two, second, strlen(second) + 1);
	snprintf(p->other, sizeof(p->other), "%s/web2", p->one.dir);
	snprintf(p->dead, sizeof(p->dead), "%s/web3", p->one.dir);
	assert_int_equal(rename(p->two.folder, p->other), 0);
	assert_int_equal(mkdir(p->dead, 0700), 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control", p->dead);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
}

static void pair_stop(struct pair *p)
{
	remove_folder(p->other);
	remove_folder(p->dead);
	stop(&p->two);
	stop(&p->one);
}

static void a_pattern_stands_for_all_vms_that_run(void **state)
{
	static const char done[] = "{\"parameters\":{}}";
	struct pair p;
	char said[4096];

	pair_start(&p, done, done);
	/* None of them twice. */
	assert_int_equal(run(client_pause,
			     (char *[]){ "pause", "web[12]", "web2", "*", "--runtime-dir", p.one.dir, NULL },
			     said, sizeof(said)),
			 0);
	pair_stop(&p);
	assert_string_equal(said, "");
	assert_non_null(strstr(p.one.call, "Pause"));
	assert_non_null(strstr(p.two.call, "Pause"));
}

static void the_worst_of_several_is_the_exit_code(void **state)
{
	static const char busy[] =
		"{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":\"a migration\"}}";
	struct pair p;
	char said[4096];

	pair_start(&p, busy, "{\"parameters\":{}}");
	assert_int_equal(run(client_reset, (char *[]){ "reset", "web*", "--runtime-dir", p.one.dir, NULL },
			     said, sizeof(said)),
			 1);
	pair_stop(&p);
	assert_string_equal(said, "ferry: web1: a migration\n");
	assert_non_null(strstr(p.two.call, "Reboot"));
}

static void the_status_of_several_says_whose_it_is(void **state)
{
	static const char none[] = "{\"parameters\":{\"state\":\"none\"}}";
	static const struct {
		char *option;
		const char *said;
	} cases[] = {
		{ NULL, "web1: no migration\nweb2: no migration\n" },
		{ "--json",
		  "{\"name\":\"web1\",\"state\":\"none\"}\n{\"name\":\"web2\",\"state\":\"none\"}\n" },
	};
	char said[4096];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pair p;

		pair_start(&p, none, none);
		assert_int_equal(
			run(client_status,
			    (char *[]){ "status", "web*", "--runtime-dir", p.one.dir, cases[i].option, NULL },
			    said, sizeof(said)),
			0);
		pair_stop(&p);
		assert_string_equal(said, cases[i].said);
	}
}

/* The second has heard of it before the first has been waited for. */
static void several_are_stopped_at_once(void **state)
{
	static const char done[] = "{\"parameters\":{}}";
	struct pair p;
	char said[4096];

	pair_start(&p, done, done);
	assert_int_equal(run(client_stop,
			     (char *[]){ "stop", "web?", "--timeout", "1", "--runtime-dir", p.one.dir, NULL },
			     said, sizeof(said)),
			 1);
	pair_stop(&p);
	assert_string_equal(said, "ferry: web1: the VM has not ended in the time that it was given\n"
				  "ferry: web2: the VM has not ended in the time that it was given\n");
	assert_non_null(strstr(p.two.call, "PowerOff"));
}

static void a_pattern_that_stands_for_none_is_an_error(void **state)
{
	char dir[] = "/tmp/ferry-none.XXXXXX", said[4096];
	static int (*const commands[])(int argc, char **argv) = { client_pause, client_stop, client_list };

	assert_non_null(mkdtemp(dir));
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		assert_int_equal(run(commands[i], (char *[]){ "it", "web*", "--runtime-dir", dir, NULL },
				     said, sizeof(said)),
				 1);
		assert_non_null(strstr(said, "is called as in \"web*\""));
	}
	rmdir(dir);
	assert_int_equal(run(client_pause, (char *[]){ "pause", "a/*", NULL }, said, sizeof(said)),
			 CLIENT_EXIT_USAGE);
}

static void a_list_can_be_of_some(void **state)
{
	static const char answer[] = "{\"parameters\":{\"state\":\"running\"}}";
	struct pair p;
	char said[4096];

	pair_start(&p, answer, answer);
	assert_int_equal(run(client_list,
			     (char *[]){ "list", "*1", "web2", "web3", "--runtime-dir", p.one.dir, NULL },
			     said, sizeof(said)),
			 1);
	pair_stop(&p);
	assert_non_null(strstr(said, "\nweb1 "));
	assert_non_null(strstr(said, "\nweb2 "));
	assert_null(strstr(said, "\nweb3 "));
	assert_non_null(strstr(said, "is called as in \"web3\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_says_how_each_vm_is),
		cmocka_unit_test(a_pattern_stands_for_all_vms_that_run),
		cmocka_unit_test(the_worst_of_several_is_the_exit_code),
		cmocka_unit_test(the_status_of_several_says_whose_it_is),
		cmocka_unit_test(several_are_stopped_at_once),
		cmocka_unit_test(a_pattern_that_stands_for_none_is_an_error),
		cmocka_unit_test(a_list_can_be_of_some),
		cmocka_unit_test(a_list_for_programs_is_what_each_vm_says),
		cmocka_unit_test(what_is_no_vm_is_not_listed),
		cmocka_unit_test(what_the_vm_does_is_the_exit_code),
		cmocka_unit_test(a_guest_that_does_not_shut_down_is_not_cut_off),
		cmocka_unit_test(a_vm_without_a_guest_is_stopped_by_force),
		cmocka_unit_test(a_vm_that_is_stopped_has_ended_with_all_it_had),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
