/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Subcommands: the list of them, and those about all of them: help, completions, and the version. */
#include "vmm/command.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/completion.h"
#include "vmm/control/commands.h"
#include "vmm/gate.h"
#include "vmm/option.h"

/* The exit code of a command that only prints. */
static int command_printed(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	log_error("cannot write to stdout: %s", strerror(errno));
	return VM_EXIT_ERROR;
}

static int command_version(int argc, char **argv)
{
	printf("ferry %s\n", FERRY_VERSION);
	return command_printed();
}

static int command_completion(int argc, char **argv)
{
	struct error err = { 0 };

	if (argc != 2) {
		error_add(&err, "one shell is needed: bash, zsh or fish");
		return client_usage("completion", &err);
	}
	if (completion_print(stdout, argv[1], &err) < 0)
		return client_usage("completion", &err);
	return command_printed();
}

static void command_overview(const struct command_set *set, FILE *out)
{
	fprintf(out, "%s\n\nusage: ferry COMMAND [OPTION...]\n\n", set->head);
	for (unsigned int i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-10s %s\n", command_table[i].name, command_table[i].summary);
	fprintf(out, "\n\"ferry COMMAND --help\" says more.\n%s\n", set->foot);
}

/* Says what there is to be said of a command; "help" speaks of all. */
static int command_help(const struct command_set *set, enum command_id command)
{
	if (command == COMMAND_HELP)
		command_overview(set, stdout);
	else
		option_help(stdout, command);
	return command_printed();
}

static bool command_asks_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* Finds a command by its name. NULL: there is none, which is said. */
static const struct command_row *command_find(const char *name)
{
	struct error err = { 0 };
	const struct command_row *row = option_command(name, &err);

	if (!row)
		log_error("%s", err.text);
	return row;
}

static int command_run_one(const struct command_set *set, enum command_id command, int argc, char **argv)
{
	const struct command_row *about;

	switch (command) {
	case COMMAND_VERSION:
		return command_version(argc, argv);
	case COMMAND_COMPLETION:
		return command_completion(argc, argv);
	case COMMAND_HELP:
		about = argc > 1 ? command_find(argv[1]) : &command_table[COMMAND_HELP];
		return about ? command_help(set, (enum command_id)(about - command_table))
			     : CLIENT_EXIT_USAGE;
	default:
		return set->fns[command](argc, argv);
	}
}

int command_main(const struct command_set *set, int argc, char **argv)
{
	const struct command_row *row;
	enum command_id command;

	if (argc < 2) {
		command_overview(set, stderr);
		return CLIENT_EXIT_USAGE;
	}
	if (command_asks_help(argv[1]))
		argv[1] = "help";
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	row = command_find(argv[1]);
	if (!row)
		return CLIENT_EXIT_USAGE;
	command = (enum command_id)(row - command_table);
	for (int i = 2; i < argc; i++) {
		if (command_asks_help(argv[i]))
			return command_help(set, command);
	}
	return command_run_one(set, command, argc - 1, argv + 1);
}
