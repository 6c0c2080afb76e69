/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands about a migration, with a VM that answers anything: what they ask for, what they say, and
 * how they end. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/commands_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/control/interface.h"
#include "vmm/control/job_commands.h"

#define MORE(report) "{\"parameters\":{\"state\":\"running\",\"report\":" report "},\"continues\":true}\0"
#define RUNNING      "{\"state\":\"running\",\"stage\":\"memory\",\"to\":\"ssh:b\",\"elapsedNs\":1000000000}"
#define MOVED        "{\"state\":\"moved\",\"stage\":\"commit\",\"to\":\"ssh:b\",\"downtimeNs\":12000000}"
#define FAILED       "{\"state\":\"failed\",\"stage\":\"memory\",\"to\":\"ssh:b\",\"reason\":\"memory: no room\"}"

static char report_dir[] = "/tmp/ferry-report-XXXXXX", report_path[64];

/* A case: what is asked, what is answered, how it ends, and what is said. */
struct exchange {
	const char *answer;
	size_t len;
	int status;
	const char *said;
};

/* Runs @command with @args, of which the VM's directory is put behind, against @x. Returns what was asked. */
static const char *exchange(int (*command)(int argc, char **argv), const char *const *args,
			    const struct exchange *x)
{
	static struct server s;
	char said[8192], *argv[12];
	int n = 0, status;

	start(&s, x->answer, x->len);
	while (args[n]) {
		argv[n] = (char *)(uintptr_t)args[n];
		n++;
	}
	argv[n++] = "--runtime-dir";
	argv[n++] = s.dir;
	argv[n] = NULL;
	status = run(command, argv, said, sizeof(said));
	stop(&s);
	if (status != x->status || !strstr(said, x->said))
		fail_msg("%s ended with %d and said \"%s\", not \"%s\"", args[0], status, said, x->said);
	return s.call;
}

#define ANSWER(text) .answer = (text), .len = sizeof(text)

static void a_status_is_said_in_words(void **state)
{
	static const char *const args[] = { "status", "web1", NULL };
	static const struct exchange cases[] = {
		{ ANSWER("{\"parameters\":{\"state\":\"none\"}}"), 0, "no migration\n" },
		{ ANSWER("{\"parameters\":{\"state\":\"running\",\"report\":" RUNNING "}}"), 0,
		  "to ssh:b:\n   1.00 s  memory" },
		{ ANSWER("{\"parameters\":{\"state\":\"moved\",\"report\":" MOVED "}}"), 0,
		  "moved; downtime 12.00 ms" },
		{ ANSWER("{\"parameters\":{\"state\":\"failed\",\"report\":" FAILED "}}"), 0,
		  "failed; memory: no room" },
		{ ANSWER("{\"parameters\":{\"state\":\"\\u001b[2J\",\"report\":{\"to\":\"\\u001b[2J\"}}}"), 0,
		  "to ?[2J:" },
		{ ANSWER("{\"error\":\"alt.ferry.X\",\"parameters\":{\"reason\":\"why\"}}"), 1,
		  "ferry: why\n" },
		{ ANSWER("{"), 1, "ferry: " },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		assert_non_null(
			strstr(exchange(client_status, args, &cases[i]), "alt.ferry.MigrationStatus"));
}

static void a_status_is_followed_to_its_end(void **state)
{
	static const char *const args[] = { "status", "web1", "--follow", NULL };
	static const struct exchange moved = {
		ANSWER(MORE(RUNNING) MORE(RUNNING) "{\"parameters\":{\"state\":\"moved\",\"report\":" MOVED
						   "}}"),
		0, "   1.00 s  memory  \nto ssh:b:\nmoved; downtime 12.00 ms"
	};
	static const struct exchange ended = { .answer = MORE(RUNNING),
					       .len = sizeof(MORE(RUNNING)) - 1,
					       .status = 1,
					       .said = "the VM ended before it answered" };

	assert_non_null(strstr(exchange(client_status, args, &moved), "\"more\":true"));
	exchange(client_status, args, &ended);
}

static void several_are_followed_to_the_end_of_each(void **state)
{
	static const char *const lines[] = { "status", "web1", "web9", "--follow", NULL };
	static const char *const objects[] = { "status", "web9", "web1", "--follow", "--json", NULL };
	static const struct exchange words = {
		ANSWER(MORE(RUNNING) "{\"parameters\":{\"state\":\"moved\",\"report\":" MOVED "}}"), 1,
		"web1:    1.00 s  memory  \nweb1: to ssh:b:\nmoved; downtime 12.00 ms"
	};
	/* The one that is not there does not keep the others from being heard. */
	static const struct exchange other = { ANSWER("{\"parameters\":{\"state\":\"none\"}}"), 1,
					       "no VM named web9" };
	static const struct exchange json = {
		ANSWER(MORE(RUNNING) "{\"parameters\":{\"state\":\"moved\",\"report\":" MOVED "}}"), 1,
		"}\n{\"name\":\"web1\",\"state\":\"moved\",\"report\":" MOVED "}\n"
	};
	static const struct exchange ended = { .answer = MORE(RUNNING),
					       .len = sizeof(MORE(RUNNING)) - 1,
					       .status = 1,
					       .said = "web1: the VM ended before it answered" };

	assert_non_null(strstr(exchange(client_status, lines, &words), "\"more\":true"));
	exchange(client_status, lines, &other);
	exchange(client_status, objects, &json);
	exchange(client_status, lines, &ended);
}

static void a_status_can_be_had_as_json_and_in_a_file(void **state)
{
	const char *const args[] = { "status", "web1", "--json", "--report", report_path, NULL };
	static const struct exchange failed = {
		ANSWER("{\"parameters\":{\"state\":\"failed\",\"report\":" FAILED "}}"), 0,
		"{\"state\":\"failed\",\"report\":" FAILED "}\n"
	};
	static const struct exchange none = { ANSWER("{\"parameters\":{\"state\":\"none\"}}"), 1,
					      "no migration" };
	char text[256] = "";
	int fd;

	exchange(client_status, args, &failed);
	fd = open(report_path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_string_equal(text, FAILED);
	exchange(client_status, args, &none);
}

static void a_cancel_ends_as_the_migration_did(void **state)
{
	static const char *const args[] = { "cancel", "web1", NULL };
	static const struct exchange cases[] = {
		{ ANSWER("{\"parameters\":{\"cancelled\":true,\"state\":\"failed\",\"reason\":\"cancelled\"}"
			 "}"),
		  0, "the guest goes on here: cancelled" },
		{ ANSWER("{\"parameters\":{\"cancelled\":false,\"state\":\"moved\",\"reason\":\"\"}}"), 1,
		  "too late: the guest has moved" },
		{ ANSWER("{\"parameters\":{\"cancelled\":false,\"state\":\"unknown\",\"reason\":\"who "
			 "knows\"}}"),
		  CLIENT_EXIT_UNKNOWN, "too late: who knows" },
		{ ANSWER("{\"error\":\"" CLIENT_ERROR_NONE "\",\"parameters\":{\"reason\":\"none\"}}"), 1,
		  "ferry: none" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		assert_non_null(
			strstr(exchange(client_cancel, args, &cases[i]), "alt.ferry.CancelMigration"));
}

static void tune_asks_for_what_was_given(void **state)
{
	static const struct {
		const char *const args[7];
		const char *parameters;
	} cases[] = {
		{ { "tune", "web1", "--downtime", "50" }, "{\"downtimeMs\":50}" },
		{ { "tune", "web1", "--bandwidth", "500M" }, "{\"bandwidth\":524288000}" },
		{ { "tune", "web1", "--bandwidth=none", "--stalled", "stop" },
		  "{\"bandwidth\":0,\"stalled\":\"stop\"}" },
	};
	static const struct exchange done = { ANSWER("{\"parameters\":{}}"), 0, "" };

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!strstr(exchange(client_tune, cases[i].args, &done), cases[i].parameters))
			fail_msg("%s", cases[i].parameters);
	}
}

static void what_is_asked_wrong_is_refused_by_name(void **state)
{
	static const struct {
		int (*command)(int argc, char **argv);
		const char *args[7];
		const char *said;
	} cases[] = {
		{ client_tune, { "tune", "web1" }, "nothing to change" },
		{ client_tune, { "tune", "web1", "--downtime", "0" }, "--downtime" },
		{ client_tune, { "tune", "web1", "--downtime", "+5" }, "--downtime" },
		{ client_tune, { "tune", "web1", "--bandwidth", "1K" }, "--bandwidth" },
		{ client_tune, { "tune", "web1", "--bandwidth", "-1" }, "--bandwidth" },
		{ client_tune, { "tune", "web1", "--bandwidth", "2048G" }, "--bandwidth" },
		{ client_tune, { "tune", "web1", "--stalled", "wait" }, "--stalled" },
		{ client_tune,
		  { "tune", "web1", "--compress", "on" },
		  "--compress is for \"ferry migrate\"" },
		{ client_migrate,
		  { "migrate", "web1", "--to=exec:cat", "--compress=lz4" },
		  "--compress takes" },
		{ client_tune, { "tune", "web1", "--timeout", "5" }, "--timeout is for \"ferry migrate\"" },
		{ client_status, { "status" }, "the name of the VM is missing" },
		{ client_status,
		  { "status", "a", "b", "--report", "r" },
		  "--report is for one VM at a time" },
		{ client_cancel, { "cancel", "a", "b" }, "takes 1 VM at a time" },
		{ client_status, { "status", "web1", "--report" }, "--report needs a value: --report FILE" },
		{ client_cancel,
		  { "cancel", "web1", "--json" },
		  "--json is for \"ferry doctor\", \"ferry list\", \"ferry events\", \"ferry nic\", \"ferry "
		  "status\"" },
		{ client_cancel, { "cancel", "web1", "--json=1" }, "--json is for" },
		{ client_status, { "status", "web1", "--json=1" }, "--json has no value" },
		{ client_status, { "status", "web1", "--folow" }, "did you mean --follow?" },
		{ client_status, { "status", "web1", "--json", "--json" }, "--json is given twice" },
		{ client_migrate, { "migrate", "web1" }, "--to PLACE is missing" },
		{ client_migrate, { "migrate", "web1", "--to=fd:9", "--timeout=0" }, "--timeout" },
		{ client_migrate, { "migrate", "web1", "--to=fd:9", "--timeout=604801" }, "--timeout" },
		{ client_report, { "report" }, "the file with the report is missing" },
		{ client_report, { "report", "a", "b" }, "one file" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char said[1024], *argv[8] = { NULL };

		for (unsigned int j = 0; cases[i].args[j]; j++)
			argv[j] = (char *)(uintptr_t)cases[i].args[j];
		assert_int_equal(run(cases[i].command, argv, said, sizeof(said)), CLIENT_EXIT_USAGE);
		if (!strstr(said, cases[i].said))
			fail_msg("\"%s\", not \"%s\"", said, cases[i].said);
	}
}

/* Writes @text to the report's file. */
static void write_report(const char *text)
{
	FILE *file = fopen(report_path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void a_report_is_drawn_or_refused(void **state)
{
	char said[8192], *argv[] = { "report", report_path, NULL };

	write_report(MOVED);
	assert_int_equal(run(client_report, argv, said, sizeof(said)), 0);
	assert_non_null(strstr(said, "<svg "));
	write_report("[]");
	assert_int_equal(run(client_report, argv, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "no report of a migration"));
	unlink(report_path);
	assert_int_equal(run(client_report, argv, said, sizeof(said)), 1);
	assert_non_null(strstr(said, "No such file"));
}

/* Reads what "migrate --report" has left, and removes it. */
static void take_report(char *text, size_t size)
{
	int fd = open(report_path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, size - 1);

	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
	unlink(report_path);
}

static void migrate_writes_a_report_whatever_the_end_is(void **state)
{
	const char *const args[] = { "migrate", "web1", "--to", "exec:cat", "--report", report_path, NULL };
	static const struct {
		struct exchange x;
		const char *report;
	} cases[] = {
		{ { ANSWER("{\"parameters\":{\"report\":" MOVED "}}"), 0, "moved; downtime 12.00 ms" },
		  MOVED },
		{ { ANSWER("{\"error\":\"" CLIENT_ERROR_FAILED
			   "\",\"parameters\":{\"reason\":\"memory: no room\","
			   "\"phase\":\"memory\",\"report\":" FAILED "}}"),
		    1, "ferry: memory: no room" },
		  FAILED },
		{ { ANSWER("{\"error\":\"" CLIENT_ERROR_BUSY
			   "\",\"parameters\":{\"reason\":\"not \\\"now\\\"\"}}"),
		    1, "ferry: not \"now\"" },
		  "{\"state\":\"failed\",\"stage\":\"connect\",\"to\":\"exec:cat\",\"reason\":\"not "
		  "\\\"now\\\"\"}" },
		{ { ANSWER(""), CLIENT_EXIT_UNKNOWN, "is to be seen at the destination" },
		  "{\"state\":\"unknown\"" },
	};
	char text[1024], said[1024], *argv[12] = { NULL };

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct exchange x = cases[i].x;

		x.len -= i == 3;
		exchange(client_migrate, args, &x);
		take_report(text, sizeof(text));
		if (strncmp(text, cases[i].report, strlen(cases[i].report)) != 0)
			fail_msg("%s", text);
	}
	/* No VM at all. */
	for (unsigned int i = 0; args[i]; i++)
		argv[i] = (char *)(uintptr_t)args[i];
	argv[6] = "--runtime-dir";
	argv[7] = report_dir;
	assert_int_equal(run(client_migrate, argv, said, sizeof(said)), 1);
	take_report(text, sizeof(text));
	assert_non_null(strstr(text, "\"reason\":\"no VM named web1 is running"));
}

static void migrate_asks_for_what_was_given(void **state)
{
	static const char *const args[] = { "migrate",        "web1",           "--to=exec:cat",
					    "--bandwidth=1G", "--downtime=20",  "--timeout=100",
					    "--stalled=stop", "--compress=off", NULL };
	static const char *const detached[] = { "migrate", "web1", "--to=exec:cat", "--detach", NULL };
	static const char *const wanted[] = { "\"bandwidth\":1073741824", "\"downtimeMs\":20",
					      "\"timeoutMs\":",           "\"stalled\":\"stop\"",
					      "\"compress\":\"off\"",     "\"to\":\"exec:cat\"" };
	static const struct exchange moved = { ANSWER("{\"parameters\":{\"report\":" MOVED "}}"), 0,
					       "moved" };
	static const struct exchange begun = { ANSWER("{\"parameters\":{\"report\":" RUNNING "}}"), 0,
					       "\"ferry status web1\" shows it" };
	const char *call = exchange(client_migrate, args, &moved);

	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!strstr(call, wanted[i]))
			fail_msg("%s", call);
	}
	call = exchange(client_migrate, detached, &begun);
	assert_non_null(strstr(call, "\"detach\":true"));
	assert_null(strstr(call, "\"more\":true"));
	/* What was not given the VM decides. */
	assert_null(strstr(call, "downtimeMs"));
}

static int setup(void **state)
{
	if (!mkdtemp(report_dir))
		return -1;
	snprintf(report_path, sizeof(report_path), "%s/report", report_dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(report_path);
	return rmdir(report_dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_status_is_said_in_words),
		cmocka_unit_test(a_status_is_followed_to_its_end),
		cmocka_unit_test(several_are_followed_to_the_end_of_each),
		cmocka_unit_test(a_status_can_be_had_as_json_and_in_a_file),
		cmocka_unit_test(a_cancel_ends_as_the_migration_did),
		cmocka_unit_test(tune_asks_for_what_was_given),
		cmocka_unit_test(what_is_asked_wrong_is_refused_by_name),
		cmocka_unit_test(a_report_is_drawn_or_refused),
		cmocka_unit_test(migrate_writes_a_report_whatever_the_end_is),
		cmocka_unit_test(migrate_asks_for_what_was_given),
	};

	alarm(120);
	return cmocka_run_group_tests_name("job_commands", tests, setup, teardown);
}
