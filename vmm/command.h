/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program made of subcommands: finds the one that is asked for, and says which there are. */
#ifndef FERRY_VMM_COMMAND_H
#define FERRY_VMM_COMMAND_H

#include <stdio.h>

struct command {
	const char *name;
	/* A line for the list of commands. */
	const char *summary;
	/* Arguments begin with the subcommand's name. Returns the exit code. */
	int (*fn)(int argc, char **argv);
	/* Says what "--help" asks for; NULL: the list of commands. */
	void (*help)(FILE *out);
};

struct command_set {
	/* The first and the last words of the list of commands. */
	const char *head;
	const char *foot;
	const struct command *commands;
	unsigned int n_commands;
};

/* Runs what main()'s arguments ask for: one of @set, "help" or "version". Returns the exit code. */
int command_main(const struct command_set *set, int argc, char **argv);

#endif
