/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "ferry cpu" with descriptions of hosts: what it prints, and its exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/cpu_command.h"

#define NEEDED                                                                                               \
	"features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"                               \
	"features 0x80000001.0 edx syscall nx lm\n"

struct rig {
	char dir[32], a[64], b[64];
};

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	strcpy(r->dir, "/tmp/ferry-cpu.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->a, sizeof(r->a), "%s/a.cpu", r->dir);
	snprintf(r->b, sizeof(r->b), "%s/b.cpu", r->dir);
	write_file(r->a, "vendor GenuineIntel\naddress-bits 46\n" NEEDED "features 0x7.0 ebx bmi1 avx2\n");
	write_file(r->b, "# a second host\nvendor GenuineIntel\naddress-bits 39\n" NEEDED
			 "features 0x7.0 ebx avx2 bmi2\n");
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	unlink(r->a);
	unlink(r->b);
	rmdir(r->dir);
	free(r);
	return 0;
}

/* Keeps in @said what the command prints, to stdout and stderr. Returns its exit code. */
static int run(char **argv, char said[4096])
{
	FILE *file = tmpfile();
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), argc = 0, status;
	ssize_t len;

	while (argv[argc])
		argc++;
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	dup2(fileno(file), STDERR_FILENO);
	status = command_cpu(argc, argv);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	len = pread(fileno(file), said, 4095, 0);
	assert_true(len >= 0);
	said[len] = '\0';
	fclose(file);
	return status;
}

static void what_hosts_have_in_common_is_printed(void **state)
{
	struct rig *r = *state;
	char said[4096], again[4096];

	assert_int_equal(run((char *[]){ "cpu", r->a, r->b, NULL }, said), 0);
	assert_string_equal(said, "vendor GenuineIntel\naddress-bits 39\n"
				  "features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"
				  "features 0x7.0 ebx avx2\n"
				  "features 0x80000001.0 edx syscall nx lm\n");
	/* The result is a description like any other, and nothing is taken from it by itself. */
	write_file(r->a, said);
	assert_int_equal(run((char *[]){ "cpu", r->a, NULL }, again), 0);
	assert_string_equal(again, said);
}

static void levels_have_names(void **state)
{
	struct rig *r = *state;
	char said[4096];

	assert_int_equal(run((char *[]){ "cpu", "x86-64-v3", r->a, NULL }, said), 0);
	assert_non_null(strstr(said, "features 0x7.0 ebx bmi1 avx2\n"));
	assert_null(strstr(said, "sse4_2"));
}

static void what_makes_no_sense_is_said_on_stderr(void **state)
{
	struct rig *r = *state;
	char said[4096], want[128];

	assert_int_equal(run((char *[]){ "cpu", "/absent", NULL }, said), 1);
	assert_string_equal(said, "ferry: cannot open /absent: No such file or directory\n");
	assert_int_equal(run((char *[]){ "cpu", "--host", NULL }, said), CLIENT_EXIT_USAGE);
	assert_non_null(strstr(said, "--host is not known"));
	write_file(r->b, "vendor AuthenticAMD\n" NEEDED);
	assert_int_equal(run((char *[]){ "cpu", r->a, r->b, NULL }, said), 1);
	assert_non_null(strstr(said, "a guest cannot move between them"));
	write_file(r->b, NEEDED "nonsense\n");
	assert_int_equal(run((char *[]){ "cpu", r->a, r->b, NULL }, said), 1);
	snprintf(want, sizeof(want), "ferry: %s, line 3: \"nonsense\" is not known", r->b);
	assert_int_equal(strncmp(said, want, strlen(want)), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_hosts_have_in_common_is_printed),
		TEST(levels_have_names),
		TEST(what_makes_no_sense_is_said_on_stderr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
