/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completions, by the shells themselves, as far as they are installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/completion.h"
#include "vmm/option_table.h"

struct rig {
	char path[64];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int fd;

	strcpy(r->path, "/tmp/ferry-completion.XXXXXX");
	fd = mkstemp(r->path);
	assert_true(fd >= 0);
	close(fd);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	unlink(r->path);
	free(r);
	return 0;
}

/* Writes the completions of @shell to the rig's file; the test is skipped where there is no such shell. */
static void use(const struct rig *r, const char *shell)
{
	struct error err = { 0 };
	char command[64];
	FILE *file;

	snprintf(command, sizeof(command), "command -v %s > /dev/null", shell);
	if (system(command) != 0) {
		print_message("there is no %s here\n", shell);
		skip();
	}
	file = fopen(r->path, "we");
	assert_non_null(file);
	assert_int_equal(completion_print(file, shell, &err), 0);
	assert_int_equal(fclose(file), 0);
}

/* Runs @command, in which %s is the file with the completions; what it says has blanks for its newlines. */
static void ask(const struct rig *r, const char *command, const char *what, char *said, size_t size)
{
	char text[2048];
	FILE *out;
	size_t len;

	snprintf(text, sizeof(text), command, r->path, what);
	out = popen(text, "re");
	assert_non_null(out);
	len = fread(said, 1, size - 1, out);
	said[len] = '\0';
	for (char *p = said; *p; p++)
		*p = (char)(*p == '\n' ? ' ' : *p);
	assert_int_equal(pclose(out), 0);
}

static void bash_completes_commands_options_and_values(void **state)
{
	/* Words as the shell splits them, the last of which is to be completed. */
	static const struct {
		const char *words, *said;
	} t[] = {
		{ "ferry mig", "migrate " },
		{ "ferry re", "receive resume reset report " },
		{ "ferry help st", "stop status " },
		{ "ferry run --ker", "--kernel " },
		{ "ferry run --fro", "" },
		{ "ferry receive --fro", "--from " },
		{ "ferry run --core \"\"", "none ferry guest " },
		{ "ferry run --core = g", "guest " },
		{ "ferry run --core =", "none ferry guest " },
		{ "ferry run --name \"\"", "" },
		{ "ferry run \"\"", "" },
		{ "ferry run --kernel /bin/tes", "/bin/test " },
		{ "ferry run --runtime-dir /etc/init", "/etc/init.d " },
		{ "ferry migrate web1 --to tl", "tls: " },
		{ "ferry migrate web1 --stalled \"\"", "throttle stop cancel " },
		{ "ferry completion f", "fish " },
		{ "ferry sail \"\"", "" },
		{ "ferry version --", "--help " },
	};
	struct rig *r = *state;
	char said[4096];

	use(r, "bash");
	ask(r, "bash -n %s%s", "", said, sizeof(said));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		ask(r,
		    "bash -c 'source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _ferry; "
		    "[ ${#COMPREPLY[@]} = 0 ] || printf \"%%s\\n\" \"${COMPREPLY[@]}\"'",
		    t[i].words, said, sizeof(said));
		if (strcmp(said, t[i].said) != 0)
			fail_msg("%s: \"%s\", not \"%s\"", t[i].words, said, t[i].said);
	}
}

static void fish_completes_commands_options_and_values(void **state)
{
	static const struct {
		const char *words, *said;
	} t[] = {
		{ "ferry mig", "migrate\tmove a running guest" },
		{ "ferry run --ker", "--kernel\tbzImage" },
		{ "ferry run --core g", "guest\t" },
		{ "ferry migrate web1 --stalled thr", "throttle\t" },
		{ "ferry help st", "status" },
	};
	struct rig *r = *state;
	char said[4096];

	use(r, "fish");
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		ask(r, "HOME=/dev/null fish --no-config -c 'source %s; complete -C \"%s\"' 2> /dev/null",
		    t[i].words, said, sizeof(said));
		if (!strstr(said, t[i].said))
			fail_msg("%s: \"%s\", not \"%s\"", t[i].words, said, t[i].said);
	}
}

static void zsh_understands_what_it_is_told(void **state)
{
	struct rig *r = *state;
	char said[4096];

	use(r, "zsh");
	ask(r, "zsh -fn %s%s 2>&1", "", said, sizeof(said));
	assert_string_equal(said, "");
	/* "_arguments" has another in its place, which says what each command would complete. */
	ask(r,
	    "zsh -fc 'compdef() { }; _arguments() { print -rl -- \"$@\" }; source %s; "
	    "words=(ferry %s); CURRENT=3; _ferry' 2>&1",
	    "tune", said, sizeof(said));
	assert_non_null(strstr(said, "--stalled=[for a guest that is too busy\\: throttle, stop or "
				     "cancel]:POLICY:(throttle stop cancel) "));
	assert_non_null(strstr(said, "*:NAME:_ferry_vms "));
	ask(r,
	    "zsh -fc 'compdef() { }; _describe() { print -rl -- \"${(P@)4}\" }; source %s; "
	    "words=(ferry); CURRENT=2; _ferry%s' 2>&1",
	    "", said, sizeof(said));
	assert_non_null(strstr(said, "run:boot a guest and stay with it until it ends "));
}

static void another_shell_has_none(void **state)
{
	struct error err = { 0 };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(completion_print(out, "csh", &err), -EINVAL);
	assert_string_equal(err.text, "no completions for \"csh\"; bash, zsh and fish have some");
	fclose(out);
	assert_int_equal(len, 0);
	free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(bash_completes_commands_options_and_values),
		TEST(fish_completes_commands_options_and_values),
		TEST(zsh_understands_what_it_is_told),
		TEST(another_shell_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
