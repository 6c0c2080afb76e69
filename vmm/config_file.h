/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options in a file ("--config FILE"), one a line. */
#ifndef FERRY_VMM_CONFIG_FILE_H
#define FERRY_VMM_CONFIG_FILE_H

#include "vmm/option.h"

/* The longest file that is read, in bytes: more is another file than was meant. */
#define CONFIG_FILE_MAX 65536u

/*
 * A file that is read line by line. A line is an option's name without dashes, blanks, and the rest of the
 * line as its value, without blanks at its end; nothing quotes. Empty lines, and those whose first character
 * is '#', say nothing.
 */
struct config_file {
	const char *path;
	char *text; /* allocated: values point into it */
	char *next;
	unsigned int line;
};

/* Reads the file @path, a string that outlives @file. -errno with the reason: it cannot be read, is too long,
 * or is no text. What was read is freed by config_file_close(), values with it. */
int __must_check config_file_open(struct config_file *file, const char *path, struct error *err);
void config_file_close(struct config_file *file);

/*
 * Reads the next option that @command has. Options of the other one of "run" and "receive" alone are passed
 * over, so that a file serves both. Returns 1 with it, 0 at the end, or -EINVAL with the reason and where it
 * is.
 */
int __must_check config_file_next(struct config_file *file, enum command_id command, struct option_item *item,
				  struct error *err);

/* Adds to @err what is wrong with the last line read, and where that is. */
void config_file_wrong(const struct config_file *file, const struct error *reason, struct error *err);

#endif
