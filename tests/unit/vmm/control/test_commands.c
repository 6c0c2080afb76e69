/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands that call a VM, with a VM that answers anything: what of it reaches the operator's
 * terminal. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/commands_fixture.h"

#include <string.h>
#include <unistd.h>

#include "vmm/control/commands.h"

#define HOSTILE "\\u001b[6n\\u009b6n\\u007f\\r\\nferry: all is well\\u202e"
#define SHOWN   "?[6n??6n???ferry: all is well???"

static void a_stage_and_a_reason_are_shown_as_plain_text(void **state)
{
	static const char answer[] =
		"{\"parameters\":{\"stage\":\"\\u001b[6n\\u009b6n\\r\",\"elapsedNs\":1000000000},"
		"\"continues\":true}\0"
		"{\"error\":\"alt.ferry.MigrationFailed\",\"parameters\":{\"reason\":\"" HOSTILE "\"}}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	run(client_migrate, (char *[]){ "migrate", "web1", "--to", "exec:cat", "--runtime-dir", s.dir, NULL },
	    said, sizeof(said));
	stop(&s);
	assert_non_null(strstr(said, "1.00 s  ?[6n??6n?\n"));
	assert_non_null(strstr(said, "ferry: " SHOWN "\n"));
}

static void an_errors_name_is_shown_as_plain_text(void **state)
{
	static const char answer[] = "{\"error\":\"" HOSTILE "\"}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	run(client_resume, (char *[]){ "resume", "web1", "--runtime-dir", s.dir, NULL }, said, sizeof(said));
	stop(&s);
	assert_string_equal(said, "ferry: " SHOWN "\n");
}

/* A raw byte 0x9b is not JSON's: the whole answer is refused, and not shown. */
static void an_answer_that_is_no_utf8_is_refused(void **state)
{
	static const char answer[] = "{\"error\":\"a\x9b"
				     "6n\"}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	run(client_resume, (char *[]){ "resume", "web1", "--runtime-dir", s.dir, NULL }, said, sizeof(said));
	stop(&s);
	assert_non_null(strstr(said, "not what Ferry speaks"));
}

static void what_is_typed_wrong_is_shown_as_plain_text(void **state)
{
	char said[4096];

	run(client_migrate, (char *[]){ "migrate", "a\033[2J\x9b\nb", "--to", "exec:cat", NULL }, said,
	    sizeof(said));
	assert_non_null(strstr(said, "ferry: \"a?[2J??b\" cannot be the name of a VM"));
	run(client_migrate, (char *[]){ "migrate", "web1", "--\033c", NULL }, said, sizeof(said));
	assert_non_null(strstr(said, "--?c is not known"));
}

static void a_place_that_is_none_is_wrong_usage_whether_there_is_the_vm_or_not(void **state)
{
	static const struct {
		const char *to;
		int status;
	} cases[] = {
		{ "nowhere", 2 }, { "tcp:h:1", 2 }, { "ssh:", 2 },         { "tls:h:1", 2 },
		{ "fd:1", 2 },    { "unix:", 2 },   { "unix:/nobody", 1 }, { "ssh:hostB/other", 1 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[] = { "migrate",       "web1",    "--to", (char *)(uintptr_t)cases[i].to,
				 "--runtime-dir", "/nobody", NULL };
		char said[4096];

		if (run(client_migrate, argv, said, sizeof(said)) != cases[i].status)
			fail_msg("%s: %s", cases[i].to, said);
	}
}

/* An answer that makes no sense is never "yes". */
static void a_check_prints_its_obstacles_and_says_so_by_its_exit_code(void **state)
{
	static const struct {
		const char *answer, *said;
		int status;
	} cases[] = {
		{ "{\"parameters\":{\"streamVersion\":2,\"obstacles\":[]}}",
		  "nothing stands against the move\n", 0 },
		{ "{\"parameters\":{\"obstacles\":[\"no \\\"CPU\\\"\",\"" HOSTILE "\"]}}",
		  "no \"CPU\"\n" SHOWN "\n", 1 },
		{ "{\"parameters\":{\"obstacles\":[\"no disk\",7]}}",
		  "ferry: the VM's answer makes no sense\nno disk\n", 1 },
		{ "{\"parameters\":{\"obstacles\":7}}", "ferry: the VM's answer makes no sense\n", 1 },
		{ "{\"parameters\":{}}", "ferry: the VM's answer makes no sense\n", 1 },
		{ "{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":\"later\"}}", "ferry: later\n",
		  1 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[] = {
			"migrate", "web1", "--to", "exec:cat", "--check", "--runtime-dir", NULL, NULL
		};
		char said[4096];
		struct server s;
		int status;

		start(&s, cases[i].answer, strlen(cases[i].answer) + 1);
		argv[6] = s.dir;
		status = run(client_migrate, argv, said, sizeof(said));
		stop(&s);
		/* Behind it stands what the command of exec: says of its end. */
		if (strncmp(said, cases[i].said, strlen(cases[i].said)) != 0)
			fail_msg("%u: %s", i, said);
		assert_int_equal(status, cases[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stage_and_a_reason_are_shown_as_plain_text),
		cmocka_unit_test(an_errors_name_is_shown_as_plain_text),
		cmocka_unit_test(an_answer_that_is_no_utf8_is_refused),
		cmocka_unit_test(what_is_typed_wrong_is_shown_as_plain_text),
		cmocka_unit_test(a_place_that_is_none_is_wrong_usage_whether_there_is_the_vm_or_not),
		cmocka_unit_test(a_check_prints_its_obstacles_and_says_so_by_its_exit_code),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
