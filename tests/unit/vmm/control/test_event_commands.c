/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "events", with VMs that tell anything. */
#include "tests/unit/vmm/control/commands_fixture.h"

#include <stdio.h>
#include <string.h>

#include "vmm/control/commands.h"
#include "vmm/control/event_commands.h"

static char said[8192];

#define MESSAGE(event, more) "{\"parameters\":{\"event\":\"" event "\"}" more "}\0"

static void each_event_is_a_line_until_the_vm_ends(void **state)
{
	static const char answer[] = MESSAGE("READY", ",\"continues\":true")
		MESSAGE("ST\\u001bOP",
			",\"continues\":true") "{\"parameters\":{\"event\":\"MIGRATION\",\"data\":{\"a\":"
					       "1}},\"continues\":true}\0" MESSAGE("SHUTDOWN", "");
	struct server s;
	char *at = said;
	static const char *const events[] = { " READY\n", " ST?OP\n", " MIGRATION {\"a\":1}\n",
					      " SHUTDOWN\n" };

	start(&s, answer, sizeof(answer) - 1);
	assert_int_equal(run(client_events, (char *[]){ "events", "web1", "--runtime-dir", s.dir, NULL },
			     said, sizeof(said)),
			 0);
	stop(&s);
	assert_non_null(strstr(s.call, "\"io.systemd.MachineInstance.SubscribeEvents\""));
	assert_non_null(strstr(s.call, "\"more\":true"));
	for (unsigned int i = 0; i < ARRAY_SIZE(events); i++) {
		/* 2026-12-01T02:03:04.567Z, and the name. */
		assert_int_equal(at[10], 'T');
		assert_int_equal(at[23], 'Z');
		assert_memory_equal(at + 24, " web1 ", 6);
		at = strstr(at, events[i]);
		assert_non_null(at);
		at += strlen(events[i]);
	}
	assert_string_equal(at, "");
}

static void an_event_for_programs_is_an_object_a_line(void **state)
{
	static const char answer[] =
		MESSAGE("READY",
			",\"continues\":true") "{\"parameters\":{ },\"continues\":true}\0{\"parameters\":{}}";
	struct server s;
	char *at;

	start(&s, answer, sizeof(answer));
	assert_int_equal(run(client_events,
			     (char *[]){ "events", "--json", "web1", "--runtime-dir", s.dir, NULL }, said,
			     sizeof(said)),
			 0);
	stop(&s);
	assert_memory_equal(said, "{\"time\":\"20", 11);
	assert_non_null(strstr(said, "Z\",\"name\":\"web1\",\"event\":\"READY\"}\n"));
	/* One that says nothing has no comma too many, with a blank between its braces or without. */
	at = strstr(said, "\",\"name\":\"web1\"}\n");
	assert_non_null(at);
	assert_non_null(strstr(at + 1, "\",\"name\":\"web1\"}\n"));
}

static void a_vm_that_cannot_be_asked_is_an_error_beside_the_others(void **state)
{
	static const char answer[] = MESSAGE("SHUTDOWN", "");
	struct server s;

	start(&s, answer, sizeof(answer) - 1);
	assert_int_equal(run(client_events,
			     (char *[]){ "events", "web9", "web1", "--runtime-dir", s.dir, NULL }, said,
			     sizeof(said)),
			 1);
	stop(&s);
	assert_non_null(strstr(said, "no VM named web9"));
	assert_non_null(strstr(said, "SHUTDOWN\n"));
}

static void what_is_no_event_is_an_error(void **state)
{
	static const struct {
		const char *answer, *said;
	} cases[] = {
		{ "{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":\"too many\"}}",
		  "web1: too many" },
		{ "nonsense", "web1: the VM's answer is not what Ferry speaks" },
		/* A process that is killed says no last word. */
		{ "{\"parameters\":{\"event\":\"READY\"},\"continues\":true}",
		  "web1: the VM ended before it answered" },
	};
	struct server s;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		start(&s, cases[i].answer, strlen(cases[i].answer) + 1);
		assert_int_equal(run(client_events,
				     (char *[]){ "events", "web1", "--runtime-dir", s.dir, NULL }, said,
				     sizeof(said)),
				 1);
		stop(&s);
		assert_non_null(strstr(said, cases[i].said));
	}
	assert_int_equal(run(client_events, (char *[]){ "events", NULL }, said, sizeof(said)),
			 CLIENT_EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_is_a_line_until_the_vm_ends),
		cmocka_unit_test(an_event_for_programs_is_an_object_a_line),
		cmocka_unit_test(a_vm_that_cannot_be_asked_is_an_error_beside_the_others),
		cmocka_unit_test(what_is_no_event_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
