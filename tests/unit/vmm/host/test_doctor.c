/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry doctor": its options, exit codes, and a peer that a script plays. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/control/json.h"
#include "vmm/host/doctor.h"

static char script[64];
static struct host_report peer_seen;
static uint64_t mem_seen;

static void compare(struct host_report *r, const struct host_report *peer, const char *host,
		    const struct host_moments *moments, uint64_t mem)
{
	peer_seen = *peer;
	mem_seen = mem;
	assert_true(moments->from_us <= moments->to_us);
	host_report_add(r, peer->n_fails ? HOST_FAIL : HOST_OK, "peer", "", "%s is there", host);
}

/* Keeps in @said what the command prints, to stdout and stderr. Returns its exit code. */
static int run(struct host_rig *rig, char **options, char said[65536])
{
	const struct doctor_parts parts = { host_fake_probe, 1, 2, compare };
	char *argv[16] = { "doctor", "--runtime-dir", rig->dir };
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), argc = 3, status;
	FILE *file = tmpfile();
	ssize_t len;

	for (; *options; options++)
		argv[argc++] = *options;
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	dup2(fileno(file), STDERR_FILENO);
	status = doctor_run(argc, argv, &parts);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	len = pread(fileno(file), said, 65535, 0);
	assert_true(len >= 0);
	said[len] = '\0';
	fclose(file);
	return status;
}

#define RUN(...) run(rig, (char *[]){ __VA_ARGS__ }, said)

static void a_host_on_which_a_guest_could_run_ends_with_0(void **state)
{
	struct host_rig *rig = *state;
	char said[65536];

	assert_int_equal(RUN(NULL), 0);
	assert_non_null(strstr(said, "ok    kvm: "));
	assert_non_null(strstr(said, "\na guest of 512 MiB could run here\n"));
}

static void a_host_without_kvm_ends_with_1(void **state)
{
	struct host_rig *rig = *state;
	char said[65536];

	host_answers.machine = -ENOENT;
	assert_int_equal(RUN(NULL), 1);
	assert_non_null(strstr(said, "fail  kvm: no KVM for this test\n"));
	assert_non_null(strstr(said, "\na guest of 512 MiB could not run here: 1 of these fails\n"));
}

static void a_nic_that_is_asked_for_and_cannot_be_had_ends_with_1(void **state)
{
	struct host_rig *rig = *state;
	char said[65536], net[] = "vdpa=/dev/vhost-vdpa-77";

	host_answers.nic = -EACCES;
	assert_int_equal(RUN("--net", net, NULL), 1);
	assert_non_null(strstr(said, "fail  vhost-vdpa-77: cannot open /dev/vhost-vdpa-77\n"));
}

static void json_is_one_strict_object(void **state)
{
	struct host_rig *rig = *state;
	struct json *json = malloc(sizeof(*json));
	char said[65536], name[32];

	assert_int_equal(RUN("--json", NULL), 0);
	assert_int_equal(said[strlen(said) - 1], '\n');
	assert_true(json_parse(json, said, strlen(said)));
	assert_true(json_true(json, "ok"));
	assert_true(json_string(json, json->tokens, "version", name, sizeof(name)));
	assert_string_equal(name, FERRY_VERSION);
	free(json);
}

static void wrong_usage_is_told_and_tries_nothing(void **state)
{
	static char *const cases[][3] = {
		{ "--nonsense", "", "--nonsense" },        { "--mem", "1", "--mem takes a size" },
		{ "--mem", "5T", "--mem takes a size" },   { "--net", "soft,tap=tap0", "needs no look" },
		{ "--net", "vdpa=/a,mode=quick", "mode" }, { "--peer", "host/vm", "is no host" },
		{ "--peer", "-oProxyCommand=x", "HOST" },  { "web1", "", "\"web1\" is not an option" },
		{ "--to", "ssh:hostB", "--to" },
	};
	struct host_rig *rig = *state;
	char said[65536], value[32];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(value, cases[i][1]);
		if (RUN(cases[i][0], value[0] ? value : NULL, NULL) != CLIENT_EXIT_USAGE ||
		    !strstr(said, cases[i][2]))
			fail_msg("%s: %s", cases[i][0], said);
	}
	assert_int_equal(RUN("--ssh", NULL), CLIENT_EXIT_USAGE);
	assert_int_equal(host_answers.n_opened, 0);
}

/* Makes the program in the place of ssh. */
static void write_script(struct host_rig *rig, const char *text)
{
	char body[512];

	snprintf(body, sizeof(body), "#!/bin/sh\n%s\n", text);
	host_write(rig, "ssh", body);
	snprintf(script, sizeof(script), "%s/ssh", rig->dir);
	assert_int_equal(chmod(script, 0700), 0);
}

static void a_peers_report_is_compared_also_if_its_command_fails(void **state)
{
	struct host_rig *rig = *state;
	char said[65536], text[128];

	assert_int_equal(RUN("--json", NULL), 0);
	host_write(rig, "answer", said);
	snprintf(text, sizeof(text), "echo \"$@\" >%s/args; cat %s/answer; exit 1", rig->dir, rig->dir);
	write_script(rig, text);
	assert_int_equal(RUN("--peer", "root@hostB:2222", "--ssh", script, NULL), 0);
	assert_non_null(strstr(said, "ok    peer: root@hostB:2222 is there\n"));
	assert_non_null(strstr(said, "could run here, and move to root@hostB:2222\n"));
	assert_true(mem_seen == MIB(512));
	assert_string_equal(peer_seen.facts.version, FERRY_VERSION);
	assert_int_equal(host_read(said, 256, "%s/args", rig->dir), 0);
	assert_string_equal(said, "-o BatchMode=yes -p 2222 -- root@hostB ferry doctor --json");
}

static void a_peer_without_a_report_fails_with_how_it_ended(void **state)
{
	static const struct {
		const char *script, *part;
	} cases[] = {
		{ "exit 255", "cannot connect or log in" },
		{ "exit 127", "a command was not found there" },
		{ "exit 2", "without \"ferry doctor\"" },
		{ "exit 0", "the command has ended without one" },
		{ "echo hello", "is no report of" },
		{ "printf '{\"form\":1,\"checks\":{}}'", "makes no sense" },
		{ "echo '{\"form\":7}'", "another form" },
		{ "exec yes", "says more than a report can have" },
	};
	struct host_rig *rig = *state;
	char said[65536];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		write_script(rig, cases[i].script);
		assert_int_equal(RUN("--peer", "hostB", "--ssh", script, NULL), 1);
		if (!strstr(said, "fail  peer: ") || !strstr(said, cases[i].part))
			fail_msg("%s: %s", cases[i].script, said);
		assert_non_null(strstr(said, "or not move to hostB"));
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_host_on_which_a_guest_could_run_ends_with_0),
		TEST(a_host_without_kvm_ends_with_1),
		TEST(a_nic_that_is_asked_for_and_cannot_be_had_ends_with_1),
		TEST(json_is_one_strict_object),
		TEST(wrong_usage_is_told_and_tries_nothing),
		TEST(a_peers_report_is_compared_also_if_its_command_fails),
		TEST(a_peer_without_a_report_fails_with_how_it_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
