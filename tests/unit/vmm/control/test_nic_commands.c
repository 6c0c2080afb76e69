/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "nic" and "metrics", with VMs that answer anything. */
#include "tests/unit/vmm/control/commands_fixture.h"

#include <stdio.h>
#include <string.h>

#include "vmm/control/commands.h"
#include "vmm/control/nic_commands.h"

static char said[8192];

/* Has a VM answer @answer to one call of @command, and returns the exit code. */
static int ask(int (*command)(int argc, char **argv), const char *answer, char *option, struct server *s)
{
	char *argv[] = { "it", "web1", "--runtime-dir", s->dir, option, NULL };
	int status;

	start(s, answer, strlen(answer) + 1);
	status = run(command, argv, said, sizeof(said));
	stop(s);
	return status;
}

static const char nic[] =
	"{\"parameters\":{\"name\":\"net0\",\"vdpa\":\"/dev/"
	"\\u001b\\\"0\\\"\",\"mode\":\"shadow\",\"why\":\"as "
	"asked for\",\"linkUp\":true,\"queuePairs\":2,\"features\":[\"CSUM\",\"MAC\"],\"control\":{"
	"\"promiscuous\":[\"on\"],\"macTable\":[\"1 unicast address: 02:00:00:00:00:01\",\"0 multicast "
	"addresses\"]},\"commands\":{\"done\":4,\"refusedByDevice\":1},\"queues\":[{\"name\":\"rx0\","
	"\"entries\":"
	"256,\"deviceKicks\":3},{\"name\":\"tx0\",\"entries\":256}]}}";

static void a_nic_is_said_in_words(void **state)
{
	struct server s;

	assert_int_equal(ask(client_nic, nic, NULL, &s), 0);
	assert_string_equal(said, "net0\n"
				  "  vdpa: /dev/?\"0\"\n"
				  "  mode: shadow\n"
				  "  why: as asked for\n"
				  "  link up: yes\n"
				  "  queue pairs: 2\n"
				  "  features: CSUM, MAC\n"
				  "  control:\n"
				  "    promiscuous: on\n"
				  "    mac table: 1 unicast address: 02:00:00:00:00:01, 0 multicast "
				  "addresses\n"
				  "  commands:\n"
				  "    done: 4\n"
				  "    refused by device: 1\n"
				  "  queues:\n"
				  "    rx0: entries 256, device kicks 3\n"
				  "    tx0: entries 256\n");
	assert_non_null(strstr(s.call, "\"alt.ferry.DescribeNic\""));
}

static void a_nic_for_programs_is_what_the_vm_says(void **state)
{
	static const char answer[] = "{\"parameters\":{\"name\":\"net0\",\"mode\":\"off\"}}";
	struct server s;

	assert_int_equal(ask(client_nic, answer, "--json", &s), 0);
	assert_string_equal(said, "{\"name\":\"net0\",\"mode\":\"off\"}\n");
}

static void what_is_no_answer_about_a_nic_is_an_error(void **state)
{
	static const struct {
		const char *answer, *said;
	} cases[] = {
		{ "{\"parameters\":{}}", "the VM's answer makes no sense" },
		{ "{\"parameters\":{\"name\":7}}", "the VM's answer makes no sense" },
		{ "{\"error\":\"alt.ferry.NotRunning\",\"parameters\":{\"reason\":\"no guest\"}}",
		  "no guest" },
		{ "{\"error\":\"alt.ferry.Busy\",\"parameters\":{\"reason\":\"net0 stands still\"}}",
		  "net0 stands still" },
	};
	struct server s;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(ask(client_nic, cases[i].answer, NULL, &s), 1);
		assert_non_null(strstr(said, cases[i].said));
	}
	assert_int_equal(run(client_nic, (char *[]){ "nic", NULL }, said, sizeof(said)), CLIENT_EXIT_USAGE);
	assert_int_equal(run(client_nic, (char *[]){ "nic", "a", "b", NULL }, said, sizeof(said)),
			 CLIENT_EXIT_USAGE);
}

/* Lists where there should be values, and the other way round, to no depth that anybody minds. */
static void whatever_a_nic_is_said_to_be_is_printed(void **state)
{
	static const char answer[] =
		"{\"parameters\":{\"name\":\"n\",\"a\":[],\"b\":{},\"c\":[[1]],\"d\":{\"e\":{\"f\":{\"g\":{"
		"\"h\":{\"i\":1}}}}},\"j\":null,\"k\":[{}],\"queues\":7}}";
	struct server s;

	assert_int_equal(ask(client_nic, answer, NULL, &s), 0);
	assert_non_null(strstr(said, "  queues: 7\n"));
}

/* A family's lines, with its head. */
#define FAMILY(name, lines) "# HELP " name " Help.\\n# TYPE " name " counter\\n" lines

static void several_vms_are_one_text(void **state)
{
	static const char *const answers[] = {
		"{\"parameters\":{\"text\":\"" FAMILY("ferry_a", "ferry_a{vm=\\\"web1\\\"} 1\\n")
			FAMILY("ferry_b", "ferry_b{vm=\\\"web1\\\"} 2\\n") "\"}}",
		"{\"parameters\":{\"text\":\"" FAMILY("ferry_a", "ferry_a{vm=\\\"web2\\\"} 3\\n")
			FAMILY("ferry_ab", "ferry_ab{vm=\\\"web2\\\"} 4\\n") "\"}}",
	};
	struct server one, two;
	char other[80];

	start(&one, answers[0], strlen(answers[0]) + 1);
	/* The other VM's folder is in the same directory, under its own name. */
	start(&two, answers[1], strlen(answers[1]) + 1);
	snprintf(other, sizeof(other), "%s/web2", one.dir);
	assert_int_equal(rename(two.folder, other), 0);
	assert_int_equal(run(client_metrics,
			     (char *[]){ "metrics", "web1", "web2", "--runtime-dir", one.dir, NULL }, said,
			     sizeof(said)),
			 0);
	remove(strcat(other, "/control"));
	*strrchr(other, '/') = '\0';
	remove(other);
	stop(&two);
	stop(&one);
	assert_string_equal(said,
			    "# HELP ferry_a Help.\n# TYPE ferry_a counter\n"
			    "ferry_a{vm=\"web1\"} 1\nferry_a{vm=\"web2\"} 3\n"
			    "# HELP ferry_b Help.\n# TYPE ferry_b counter\nferry_b{vm=\"web1\"} 2\n"
			    "# HELP ferry_ab Help.\n# TYPE ferry_ab counter\nferry_ab{vm=\"web2\"} 4\n");
	assert_non_null(strstr(one.call, "\"alt.ferry.Metrics\""));
}

static void a_vm_that_does_not_answer_is_said_beside_the_others(void **state)
{
	static const char answer[] =
		"{\"parameters\":{\"text\":\"" FAMILY("ferry_a", "ferry_a{vm=\\\"web1\\\"} 1\\n") "\"}}";
	struct server s;

	start(&s, answer, sizeof(answer));
	assert_int_equal(run(client_metrics,
			     (char *[]){ "metrics", "web9", "web1", "--runtime-dir", s.dir, NULL }, said,
			     sizeof(said)),
			 1);
	stop(&s);
	assert_non_null(strstr(said, "web9: "));
	assert_non_null(strstr(said, "ferry_a{vm=\"web1\"} 1\n"));
	assert_int_equal(ask(client_metrics, "{\"parameters\":{\"text\":7}}", NULL, &s), 1);
	assert_non_null(strstr(said, "web1: the VM's answer makes no sense"));
	assert_int_equal(
		ask(client_metrics, "{\"parameters\":{\"text\":\"x\\u001b\\n# HELP \\n# TYPE\"}}", NULL, &s),
		0);
	assert_int_equal(run(client_metrics, (char *[]){ "metrics", NULL }, said, sizeof(said)),
			 CLIENT_EXIT_USAGE);
	assert_int_equal(run(client_metrics, (char *[]){ "metrics", "a b", NULL }, said, sizeof(said)),
			 CLIENT_EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_nic_is_said_in_words),
		cmocka_unit_test(a_nic_for_programs_is_what_the_vm_says),
		cmocka_unit_test(what_is_no_answer_about_a_nic_is_an_error),
		cmocka_unit_test(whatever_a_nic_is_said_to_be_is_printed),
		cmocka_unit_test(several_vms_are_one_text),
		cmocka_unit_test(a_vm_that_does_not_answer_is_said_beside_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
