/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program made of subcommands: finds the one that is asked for, and says which there are. */
#ifndef FERRY_VMM_COMMAND_H
#define FERRY_VMM_COMMAND_H

#include "vmm/option_table.h"

struct command_set {
	/* The first and the last words of the list of commands. */
	const char *head;
	const char *foot;
	/* Of each command but those that are about all of them. Arguments begin with its name; returns the
	 * exit code. */
	int (*fns[N_COMMANDS])(int argc, char **argv);
};

/* Runs what main()'s arguments ask for: one of @set, or "completion", "version" or "help". Returns the exit
 * code. */
int command_main(const struct command_set *set, int argc, char **argv);

#endif
