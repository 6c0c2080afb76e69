/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Subcommands: the list of them, help, and the version. */
#include "vmm/command.h"

#include <errno.h>

#include "vmm/control/commands.h"
#include "vmm/gate.h"
#include "vmm/log.h"

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

/* Commands that every program of subcommands has. The row without a function is command_help(), which needs
 * the set. */
static const struct command command_own[] = {
	{ "version", "print the version", command_version, NULL },
	{ "help", "say this, or more about one command", NULL, NULL },
};

static const struct command *command_find_in(const struct command *commands, unsigned int n, const char *name)
{
	for (unsigned int i = 0; i < n; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static const struct command *command_find(const struct command_set *set, const char *name)
{
	const struct command *command = command_find_in(set->commands, set->n_commands, name);

	if (!command)
		command = command_find_in(command_own, ARRAY_SIZE(command_own), name);
	if (!command)
		log_error("no command \"%s\"; \"ferry help\" lists them", name);
	return command;
}

static void command_list(const struct command *commands, unsigned int n, FILE *out)
{
	for (unsigned int i = 0; i < n; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
}

static void command_overview(const struct command_set *set, FILE *out)
{
	fprintf(out, "%s\n\nusage: ferry COMMAND [OPTION...]\n\n", set->head);
	command_list(set->commands, set->n_commands, out);
	command_list(command_own, ARRAY_SIZE(command_own), out);
	fprintf(out, "\n\"ferry COMMAND --help\" says more.\n%s\n", set->foot);
}

static int command_help(const struct command_set *set, const struct command *command)
{
	if (command && command->help)
		command->help(stdout);
	else
		command_overview(set, stdout);
	return command_printed();
}

static bool command_asks_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

int command_main(const struct command_set *set, int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		command_overview(set, stderr);
		return CLIENT_EXIT_USAGE;
	}
	if (command_asks_help(argv[1]))
		argv[1] = "help";
	if (strcmp(argv[1], "--version") == 0)
		argv[1] = "version";
	command = command_find(set, argv[1]);
	for (int i = 2; command && i < argc; i++) {
		if (command_asks_help(argv[i]))
			return command_help(set, command);
	}
	if (command && command->fn)
		return command->fn(argc - 1, argv + 1);
	if (command && argc == 2)
		return command_help(set, NULL);
	if (command)
		command = command_find(set, argv[2]);
	return command ? command_help(set, command) : CLIENT_EXIT_USAGE;
}
