/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of options, command lines by it, what may have been meant, and help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "vmm/nearest.h"
#include "vmm/option.h"

static const char *near(const char *text, const char *const *words)
{
	struct nearest n;

	nearest_begin(&n, text, strlen(text));
	for (; *words; words++)
		nearest_try(&n, *words);
	return n.word ? n.word : "";
}

static void a_slip_is_near_and_another_word_is_not(void **state)
{
	static const char *const words[] = { "migrate", "run", "tune", "receive", "report", "cpu", NULL };
	static const struct {
		const char *typed, *meant;
	} t[] = {
		{ "migrat", "migrate" },
		{ "imgrate", "migrate" },
		{ "migrare", "migrate" },
		{ "mirgaet", "migrate" },
		{ "Migrate", "migrate" },
		{ "re", "receive" },
		{ "recieve", "receive" },
		{ "rpeort", "report" },
		{ "rum", "run" },
		{ "runn", "run" },
		{ "tun", "tune" },
		{ "", "" },
		{ "r", "" },
		{ "ru", "run" },
		{ "xy", "" },
		{ "sail", "" },
		{ "move", "" },
		{ "gpu", "cpu" },
		{ "tcpud", "" },
		{ "migratemigratemigratemigratemigrate", "" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		if (strcmp(near(t[i].typed, words), t[i].meant) != 0)
			fail_msg("\"%s\": \"%s\", not \"%s\"", t[i].typed, near(t[i].typed, words),
				 t[i].meant);
	}
}

static void a_word_of_any_length_can_be_compared(void **state)
{
	char text[NEAREST_MAX + 2], word[NEAREST_MAX + 2];
	const char *words[] = { word, NULL };

	for (unsigned int len = NEAREST_MAX - 1; len <= NEAREST_MAX + 1; len++) {
		memset(text, 'a', len);
		memset(word, 'a', len);
		text[len] = word[len] = '\0';
		word[len / 2] = 'b';
		assert_string_equal(near(text, words), len > NEAREST_MAX ? "" : word);
		/* Of two lengths, one of which is too long. */
		word[len - 1] = '\0';
		assert_string_equal(near(text, words), len > NEAREST_MAX ? "" : word);
	}
}

static void a_command_that_is_none_is_refused_with_the_nearest(void **state)
{
	struct error err = { 0 };

	assert_ptr_equal(option_command("migrate", &err), &command_table[COMMAND_MIGRATE]);
	assert_null(option_command("statsu", &err));
	assert_non_null(strstr(err.text, "did you mean \"status\"?"));
	err = (struct error){ 0 };
	assert_null(option_command("sail", &err));
	assert_string_equal(err.text, "no command \"sail\"; \"ferry help\" lists them");
}

static void the_table_is_whole(void **state)
{
	for (unsigned int c = 0; c < N_COMMANDS; c++) {
		assert_non_null(command_table[c].name);
		assert_non_null(command_table[c].summary);
		assert_true(strlen(command_table[c].name) <= 10);
	}
	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *row = &option_table[i];

		assert_true(row->name && row->help && row->commands);
		assert_true(strlen(row->name) <= NEAREST_MAX);
		/* No command needs what it does not know, nor a switch. */
		assert_int_equal(row->needed & ~row->commands, 0);
		assert_true(!row->needed || row->value);
		for (unsigned int j = 0; j < option_table_n; j++) {
			if ((strcmp(row->name, option_table[j].name) == 0) != (row->id == option_table[j].id))
				fail_msg("--%s is two options", row->name);
		}
	}
}

/* Reads all of a line of client's words. */
static int read_all(enum command_id command, char **argv, char *said, size_t size, struct error *err)
{
	struct option_line line;
	struct option_item item;
	size_t len = 0;
	int argc = 0, ret;

	while (argv[argc])
		argc++;
	said[0] = '\0';
	option_begin(&line, command, argc, argv);
	while ((ret = option_next(&line, &item, err)) == 1)
		len += (size_t)snprintf(said + len, size - len, "%s=%s;", item.row ? item.row->name : "",
					item.value ? item.value : "-");
	return ret;
}

static void options_and_operands_come_in_any_order(void **state)
{
	struct error err = { 0 };
	char said[256];

	assert_int_equal(
		read_all(COMMAND_STATUS,
			 (char *[]){ "status", "--report", "/r", "web1", "--json", "--runtime-dir=/d", NULL },
			 said, sizeof(said), &err),
		0);
	assert_string_equal(said, "report=/r;=web1;json=-;runtime-dir=/d;");
	assert_int_equal(read_all(COMMAND_CPU, (char *[]){ "cpu", "-", "--", "--x", "--", NULL }, said,
				  sizeof(said), &err),
			 0);
	assert_string_equal(said, "=-;=--x;=--;");
	assert_int_equal(read_all(COMMAND_RUN, (char *[]){ "run", "--cmdline", "--x", "--cmdline=", NULL },
				  said, sizeof(said), &err),
			 -EINVAL);
	assert_string_equal(said, "cmdline=--x;");
	assert_string_equal(err.text, "--cmdline is given twice");
}

static char *help_of(enum command_id command)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	option_help(out, command);
	fclose(out);
	return text;
}

static void help_shows_the_options_of_its_command_alone(void **state)
{
	char *run = help_of(COMMAND_RUN), *receive = help_of(COMMAND_RECEIVE), *cpu = help_of(COMMAND_CPU);

	assert_non_null(strstr(run, "usage: ferry run --name NAME --kernel FILE [OPTION...]\n"));
	assert_non_null(strstr(run, "\n  --kernel FILE           bzImage"));
	assert_null(strstr(run, "--from"));
	assert_non_null(strstr(receive, "\n  --from unix:PATH        a socket"));
	assert_non_null(strstr(cpu, "usage: ferry cpu [FILE...]\n"));
	assert_non_null(strstr(cpu, "\n  hostB$ ferry cpu > b.cpu\n"));
	free(run);
	free(receive);
	free(cpu);
}

static void help_is_as_wide_as_a_terminal(void **state)
{
	for (unsigned int c = 0; c < N_COMMANDS; c++) {
		char *text = help_of(c);

		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			if (strlen(line) > 100)
				fail_msg("%s: %s", command_table[c].name, line);
		}
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_is_near_and_another_word_is_not),
		cmocka_unit_test(a_word_of_any_length_can_be_compared),
		cmocka_unit_test(a_command_that_is_none_is_refused_with_the_nearest),
		cmocka_unit_test(the_table_is_whole),
		cmocka_unit_test(options_and_operands_come_in_any_order),
		cmocka_unit_test(help_shows_the_options_of_its_command_alone),
		cmocka_unit_test(help_is_as_wide_as_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
