/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines by the table of options (vmm/option_table.h): what they consist of, and help. Any thread. */
#ifndef FERRY_VMM_OPTION_H
#define FERRY_VMM_OPTION_H

#include <stdio.h>

#include "vmm/log.h"
#include "vmm/option_table.h"

/* A part of a command line. */
struct option_item {
	const struct option_row *row; /* NULL: an operand */
	char *value;                  /* NULL: of a switch */
};

/* A command line that is read from its beginning to its end. It changes nothing of it. */
struct option_line {
	enum command_id command;
	int argc;
	char **argv;
	int next;
	bool only_operands; /* "--" was there */
	uint64_t given;     /* options so far, as a set of OPTION_BIT() */
};

/* Arguments begin with the subcommand's name; they stay the caller's. */
void option_begin(struct option_line *line, enum command_id command, int argc, char **argv);

/*
 * Reads the next option or operand. Options are "--name value", "--name=value" or "--name". Returns 1 with
 * it, 0 at the end, or -EINVAL with the reason: the command has no such option or no operands, a value is
 * missing, empty or too much, an option is there twice.
 */
int __must_check option_next(struct option_line *line, struct option_item *item, struct error *err);

/*
 * Finds the option of a command that is called by the first @len characters of @name. NULL with the reason,
 * and what may have been meant, in @err.
 */
const struct option_row *option_find(enum command_id command, const char *name, size_t len,
				     struct error *err);

/* Whether @row can have @value, whose meaning is for others to judge; -EINVAL with the reason. */
int __must_check option_check(const struct option_row *row, const char *value, struct error *err);

/* Makes sure that what a command cannot do without is in the set @given; -EINVAL with all that is missing. */
int __must_check option_need(enum command_id command, uint64_t given, struct error *err);

/* Finds a command. NULL with the reason, and what may have been meant, in @err. */
const struct command_row *option_command(const char *name, struct error *err);

/* Prints the help of a command. */
void option_help(FILE *out, enum command_id command);

/* Returns which of the words that @row has @value is, from 0 on; or -EINVAL, with those that it has. */
int __must_check option_find_word(const struct option_row *row, const char *value, struct error *err);

#endif
