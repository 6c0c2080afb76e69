/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines by the table of options, and help. */
#include "vmm/option.h"

#include <errno.h>

#include "vmm/nearest.h"

/* Help is this wide, and explanations begin in this column. */
#define OPTION_WIDTH  100u
#define OPTION_COLUMN 26u

void option_begin(struct option_line *line, enum command_id command, int argc, char **argv)
{
	*line = (struct option_line){ .command = command, .argc = argc, .argv = argv, .next = 1 };
}

/* Names the commands that have the option of @row, which another has not. */
static void option_say_elsewhere(const struct option_row *row, struct error *err)
{
	char names[256] = "";
	unsigned int commands = 0;
	size_t len = 0;

	for (unsigned int i = 0; i < option_table_n; i++)
		commands |= option_table[i].id == row->id ? option_table[i].commands : 0;
	for (unsigned int i = 0; i < N_COMMANDS && len < sizeof(names); i++) {
		if (commands & COMMAND_BIT(i))
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s\"ferry %s\"",
						len ? ", " : "", command_table[i].name);
	}
	error_add(err, "--%s is for %s", row->name, names);
}

const struct option_row *option_find(enum command_id command, const char *name, size_t len, struct error *err)
{
	const struct option_row *elsewhere = NULL;
	struct nearest nearest;

	nearest_begin(&nearest, name, len);
	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *row = &option_table[i];
		bool named = strlen(row->name) == len && memcmp(row->name, name, len) == 0;
		bool known = row->commands & COMMAND_BIT(command);

		if (named && known)
			return row;
		if (named && !elsewhere)
			elsewhere = row;
		if (known)
			nearest_try(&nearest, row->name);
	}
	if (elsewhere)
		option_say_elsewhere(elsewhere, err);
	else if (nearest.word)
		error_add(err, "--%.*s is not known; did you mean --%s?", (int)len, name, nearest.word);
	else
		error_add(err, "--%.*s is not known", (int)len, name);
	return NULL;
}

int option_check(const struct option_row *row, const char *value, struct error *err)
{
	if (!row->value && value)
		error_add(err, "--%s has no value", row->name);
	else if (row->value && !value)
		error_add(err, "--%s needs a value: --%s %s", row->name, row->name, row->value);
	else if (value && !*value && !(row->flags & OPTION_EMPTY))
		error_add(err, "--%s has an empty value; needed is %s", row->name, row->value);
	else
		return 0;
	return -EINVAL;
}

/* Reads the option that @arg begins, and takes its value from the line. */
static int option_next_option(struct option_line *line, char *arg, struct option_item *item,
			      struct error *err)
{
	size_t len = strcspn(arg + 2, "=");
	int ret;

	item->row = option_find(line->command, arg + 2, len, err);
	if (!item->row)
		return -EINVAL;
	item->value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
	if (!item->value && item->row->value && line->next < line->argc)
		item->value = line->argv[line->next++];
	ret = option_check(item->row, item->value, err);
	if (ret < 0)
		return ret;
	if ((line->given & OPTION_BIT(item->row->id)) && !(item->row->flags & OPTION_REPEATS)) {
		error_add(err, "--%s is given twice", item->row->name);
		return -EINVAL;
	}
	line->given |= OPTION_BIT(item->row->id);
	return 1;
}

int option_next(struct option_line *line, struct option_item *item, struct error *err)
{
	const bool operands = command_table[line->command].operands;
	char *arg;

	if (operands && !line->only_operands && line->next < line->argc &&
	    strcmp(line->argv[line->next], "--") == 0) {
		line->only_operands = true;
		line->next++;
	}
	if (line->next >= line->argc)
		return 0;
	arg = line->argv[line->next++];
	if (operands && (line->only_operands || arg[0] != '-' || !arg[1])) {
		*item = (struct option_item){ .value = arg };
		return 1;
	}
	if (strncmp(arg, "--", 2) == 0 && arg[2])
		return option_next_option(line, arg, item, err);
	error_add(err, "\"%s\" is not an option", arg);
	return -EINVAL;
}

int option_need(enum command_id command, uint64_t given, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *row = &option_table[i];

		if (!(row->needed & COMMAND_BIT(command)) || (given & OPTION_BIT(row->id)))
			continue;
		error_add(err, "--%s %s is missing", row->name, row->value);
		ret = -EINVAL;
	}
	return ret;
}

const struct command_row *option_command(const char *name, struct error *err)
{
	struct nearest nearest;

	nearest_begin(&nearest, name, strlen(name));
	for (unsigned int i = 0; i < N_COMMANDS; i++) {
		if (strcmp(command_table[i].name, name) == 0)
			return &command_table[i];
		nearest_try(&nearest, command_table[i].name);
	}
	if (nearest.word)
		error_add(err, "no command \"%s\"; did you mean \"%s\"? \"ferry help\" lists them", name,
			  nearest.word);
	else
		error_add(err, "no command \"%s\"; \"ferry help\" lists them", name);
	return NULL;
}

/* Prints a paragraph whose first line has @column characters already; the others begin in that column. */
static void option_wrap(FILE *out, const char *text, unsigned int column)
{
	unsigned int at = column;

	while (*text) {
		size_t word = strcspn(text, " \n");

		if (at > column && at + 1 + word > OPTION_WIDTH) {
			fprintf(out, "\n%*s", (int)column, "");
			at = column;
		} else if (at > column) {
			fputc(' ', out);
			at++;
		}
		fprintf(out, "%.*s", (int)word, text);
		at += (unsigned int)word;
		text += word;
		/* What follows the end of a line is laid out already. */
		if (*text == '\n') {
			fputs(text, out);
			break;
		}
		text += *text == ' ';
	}
	fputc('\n', out);
}

static void option_help_usage(FILE *out, enum command_id command)
{
	const struct command_row *row = &command_table[command];
	bool more = false;

	fprintf(out, "usage: ferry %s%s%s", row->name, row->operands ? " " : "",
		row->operands ? row->operands : "");
	for (unsigned int i = 0; i < option_table_n; i++) {
		if (option_table[i].needed & COMMAND_BIT(command))
			fprintf(out, " --%s %s", option_table[i].name, option_table[i].value);
		else if (option_table[i].commands & COMMAND_BIT(command))
			more = true;
	}
	fprintf(out, "%s\n", more ? " [OPTION...]" : "");
}

void option_help(FILE *out, enum command_id command)
{
	const struct command_row *about = &command_table[command];
	bool any = false;

	option_help_usage(out, command);
	if (about->about) {
		fputc('\n', out);
		option_wrap(out, about->about, 0);
	}
	if (about->operands && strstr(about->operands, "NAME..."))
		option_wrap(
			out,
			"A NAME can be a pattern, such as 'web*': all VMs of the runtime directory that it "
			"stands for, at least one.",
			0);
	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *row = &option_table[i];
		unsigned int len;

		if (!(row->commands & COMMAND_BIT(command)))
			continue;
		fprintf(out, "%s  --%s%s%s", any ? "" : "\n", row->name, row->value ? " " : "",
			row->value ? row->value : "");
		any = true;
		len = 4 + (unsigned int)strlen(row->name);
		len += row->value ? 1 + (unsigned int)strlen(row->value) : 0;
		/* Two blanks stand between, or the explanation has a line of its own. */
		if (len + 2 > OPTION_COLUMN) {
			fputc('\n', out);
			len = 0;
		}
		fprintf(out, "%*s", (int)(OPTION_COLUMN - len), "");
		option_wrap(out, row->help, OPTION_COLUMN);
	}
	if (about->after) {
		fputc('\n', out);
		option_wrap(out, about->after, 0);
	}
}

/* The word after @word in a list with blanks between, NULL if that is the last. */
static const char *option_next_word(const char *word)
{
	const char *blank = strchr(word, ' ');

	return blank ? blank + 1 : NULL;
}

int option_find_word(const struct option_row *row, const char *value, struct error *err)
{
	char list[ERROR_TEXT_MAX] = "";
	size_t len = strlen(value);
	int n = 0;

	for (const char *word = row->words, *next; word; word = next, n++) {
		size_t used = strlen(list), word_len = strcspn(word, " ");

		next = option_next_word(word);
		if (word_len == len && memcmp(word, value, len) == 0)
			return n;
		snprintf(list + used, sizeof(list) - used, "%s%.*s",
			 n == 0 ? ""
			 : next ? ", "
				: " or ",
			 (int)word_len, word);
	}
	error_add(err, "--%s \"%s\": %s are possible", row->name, value, list);
	return -EINVAL;
}
