/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completions for bash, zsh and fish. */
#include "vmm/completion.h"

#include <errno.h>

#include "vmm/option_table.h"

#define COMPLETION_VM_GLOB OPTION_RUNTIME_DIR_DEFAULT "/*/control"

/* Whether a row is the one by which a command knows its option: the first with the name. */
static bool completion_is_first(const struct option_row *row, enum command_id command)
{
	if (!(row->commands & COMMAND_BIT(command)))
		return false;
	for (const struct option_row *r = option_table; r < row; r++) {
		if (r->id == row->id && (r->commands & COMMAND_BIT(command)))
			return false;
	}
	return true;
}

static bool completion_is(const char *words, const char *kind)
{
	return words && strcmp(words, kind) == 0;
}

/* Prints @text with a backslash before each character of @special, for a text in quotes '': a quote itself is
 * '\'' there, in every one of these shells. */
static void completion_text(FILE *out, const char *text, const char *special)
{
	for (; *text; text++) {
		if (*text == '\'') {
			fputs("'\\''", out);
			continue;
		}
		if (strchr(special, *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void completion_bash_options(FILE *out, enum command_id command)
{
	fprintf(out, "\t%s:-*) words='", command_table[command].name);
	for (unsigned int i = 0; i < option_table_n; i++) {
		if (completion_is_first(&option_table[i], command))
			fprintf(out, "--%s ", option_table[i].name);
	}
	fprintf(out, "--help' ;;\n");
}

/* Prints what a value or an operand can be, as an arm of a case. */
static void completion_bash_words(FILE *out, const char *words)
{
	if (!words)
		fprintf(out, "return ;;\n");
	else if (completion_is(words, OPTION_WORDS_FILE))
		fprintf(out, "kind=-f ;;\n");
	else if (completion_is(words, OPTION_WORDS_FOLDER))
		fprintf(out, "kind=-d ;;\n");
	else if (completion_is(words, OPTION_WORDS_VM))
		fprintf(out, "words=$(_ferry_vms) ;;\n");
	else if (completion_is(words, OPTION_WORDS_COMMAND))
		fprintf(out, "words=$commands ;;\n");
	else
		fprintf(out, "words='%s' ;;\n", words);
}

static void completion_bash(FILE *out)
{
	fputs("# Completions of ferry for bash, written by \"ferry completion bash\".\n"
	      "_ferry_vms() {\n"
	      "\tlocal path\n"
	      "\tfor path in " COMPLETION_VM_GLOB "; do\n"
	      "\t\tpath=${path%/control}\n"
	      "\t\t[ \"${path##*/}\" = '*' ] || printf '%s\\n' \"${path##*/}\"\n"
	      "\tdone\n"
	      "}\n\n"
	      "_ferry() {\n"
	      "\tlocal at=$COMP_CWORD words='' kind='' commands='",
	      out);
	for (unsigned int i = 0; i < N_COMMANDS; i++)
		fprintf(out, "%s%s", i ? " " : "", command_table[i].name);
	fputs("'\n"
	      "\tlocal current=${COMP_WORDS[at]} before=${COMP_WORDS[at - 1]} command=${COMP_WORDS[1]}\n"
	      "\t# The shell has taken \"--name=value\" apart.\n"
	      "\tif [ \"$current\" = = ]; then\n"
	      "\t\tcurrent=\n"
	      "\telif [ \"$before\" = = ]; then\n"
	      "\t\tbefore=${COMP_WORDS[at - 2]}\n"
	      "\tfi\n"
	      "\tCOMPREPLY=()\n"
	      "\t[ \"$at\" != 1 ] || command='' before=''\n"
	      "\tcase $command:$before in\n"
	      "\t:*) words=$commands ;;\n",
	      out);
	for (unsigned int i = 0; i < N_COMMANDS; i++) {
		for (unsigned int j = 0; j < option_table_n; j++) {
			if (!completion_is_first(&option_table[j], i) || !option_table[j].value)
				continue;
			fprintf(out, "\t%s:--%s) ", command_table[i].name, option_table[j].name);
			completion_bash_words(out, option_table[j].words);
		}
	}
	fputs("\t*) case $command:$current in\n", out);
	for (unsigned int i = 0; i < N_COMMANDS; i++)
		completion_bash_options(out, i);
	for (unsigned int i = 0; i < N_COMMANDS; i++) {
		if (!command_table[i].operands)
			continue;
		fprintf(out, "\t%s:*) ", command_table[i].name);
		completion_bash_words(out, command_table[i].words);
	}
	fputs("\t*) return ;;\n"
	      "\tesac ;;\n"
	      "\tesac\n"
	      "\tif [ -n \"$kind\" ]; then\n"
	      "\t\tcompopt -o filenames 2> /dev/null\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen \"$kind\" -- \"$current\")\n"
	      "\telse\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	      "\tfi\n"
	      "\tcase ${COMPREPLY[0]-} in\n"
	      "\t*[=:]) compopt -o nospace 2> /dev/null ;;\n"
	      "\tesac\n"
	      "}\n\n"
	      "complete -F _ferry ferry\n",
	      out);
}

/* Prints the action of an argument, the last part of its description. */
static void completion_zsh_action(FILE *out, const char *words)
{
	if (!words)
		fputc(' ', out);
	else if (completion_is(words, OPTION_WORDS_FILE))
		fputs("_files", out);
	else if (completion_is(words, OPTION_WORDS_FOLDER))
		fputs("_files -/", out);
	else if (completion_is(words, OPTION_WORDS_VM))
		fputs("_ferry_vms", out);
	else if (completion_is(words, OPTION_WORDS_COMMAND))
		fputs("_ferry_commands", out);
	else {
		fputc('(', out);
		completion_text(out, words, ":");
		fputc(')', out);
	}
}

static void completion_zsh_command(FILE *out, enum command_id command)
{
	const struct command_row *row = &command_table[command];

	fprintf(out, "\t%s) _arguments '--help[say more]'", row->name);
	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *o = &option_table[i];

		if (!completion_is_first(o, command))
			continue;
		fprintf(out, " \\\n\t\t'%s--%s%s[", o->flags & OPTION_REPEATS ? "*" : "", o->name,
			o->value ? "=" : "");
		completion_text(out, o->help, "[]:");
		fputc(']', out);
		if (o->value) {
			fputc(':', out);
			completion_text(out, o->value, ":");
			fputc(':', out);
			completion_zsh_action(out, o->words);
		}
		fputc('\'', out);
	}
	if (row->operands) {
		fprintf(out, " \\\n\t\t'*:");
		completion_text(out, row->operands, ":");
		fputc(':', out);
		completion_zsh_action(out, row->words);
		fputc('\'', out);
	}
	fprintf(out, " ;;\n");
}

static void completion_zsh(FILE *out)
{
	fputs("#compdef ferry\n"
	      "# Completions of ferry for zsh, written by \"ferry completion zsh\".\n"
	      "_ferry_vms() {\n"
	      "\tlocal -a vms\n"
	      "\tvms=(" COMPLETION_VM_GLOB "(N:h:t))\n"
	      "\tcompadd -a vms\n"
	      "}\n\n"
	      "_ferry_commands() {\n"
	      "\tlocal -a commands\n"
	      "\tcommands=(\n",
	      out);
	for (unsigned int i = 0; i < N_COMMANDS; i++) {
		fprintf(out, "\t\t'%s:", command_table[i].name);
		completion_text(out, command_table[i].summary, "");
		fputs("'\n", out);
	}
	fputs("\t)\n"
	      "\t_describe -t commands command commands\n"
	      "}\n\n"
	      "_ferry() {\n"
	      "\tif (( CURRENT == 2 )); then\n"
	      "\t\t_ferry_commands\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tshift words\n"
	      "\t(( CURRENT-- ))\n"
	      "\tcase $words[1] in\n",
	      out);
	for (unsigned int i = 0; i < N_COMMANDS; i++)
		completion_zsh_command(out, i);
	fputs("\tesac\n"
	      "}\n\n"
	      "if [ \"$funcstack[1]\" = _ferry ]; then\n"
	      "\t_ferry \"$@\"\n"
	      "else\n"
	      "\tcompdef _ferry ferry\n"
	      "fi\n",
	      out);
}

/* Prints what follows a value, or an operand. */
static void completion_fish_words(FILE *out, const char *words)
{
	if (!words)
		fputs(" -x", out);
	else if (completion_is(words, OPTION_WORDS_FILE))
		fputs(" -r -F", out);
	else if (completion_is(words, OPTION_WORDS_FOLDER))
		fputs(" -x -a '(__fish_complete_directories)'", out);
	else if (completion_is(words, OPTION_WORDS_VM))
		fputs(" -f -a '(__ferry_vms)'", out);
	else if (completion_is(words, OPTION_WORDS_COMMAND))
		fputs(" -f -a '(__ferry_commands)'", out);
	else
		fprintf(out, " -x -a '%s'", words);
}

static void completion_fish_command(FILE *out, enum command_id command)
{
	const struct command_row *row = &command_table[command];

	fprintf(out, "complete -c ferry -n __fish_use_subcommand -a %s -d '", row->name);
	completion_text(out, row->summary, "");
	fputs("'\n", out);
	if (row->operands) {
		fprintf(out, "complete -c ferry -n '__fish_seen_subcommand_from %s'", row->name);
		completion_fish_words(out, row->words);
		fputc('\n', out);
	}
	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *o = &option_table[i];

		if (!completion_is_first(o, command))
			continue;
		fprintf(out, "complete -c ferry -n '__fish_seen_subcommand_from %s' -l %s", row->name,
			o->name);
		if (o->value)
			completion_fish_words(out, o->words);
		fputs(" -d '", out);
		completion_text(out, o->help, "");
		fputs("'\n", out);
	}
}

static void completion_fish(FILE *out)
{
	fputs("# Completions of ferry for fish, written by \"ferry completion fish\".\n"
	      "function __ferry_vms\n"
	      "\tfor path in " COMPLETION_VM_GLOB "\n"
	      "\t\tbasename (dirname $path)\n"
	      "\tend\n"
	      "end\n\n"
	      "function __ferry_commands\n"
	      "\tprintf '%s\\n'",
	      out);
	for (unsigned int i = 0; i < N_COMMANDS; i++)
		fprintf(out, " %s", command_table[i].name);
	fputs("\nend\n\n"
	      "complete -c ferry -f\n"
	      "complete -c ferry -l help -d 'say more'\n",
	      out);
	for (unsigned int i = 0; i < N_COMMANDS; i++)
		completion_fish_command(out, i);
}

int completion_print(FILE *out, const char *shell, struct error *err)
{
	static const struct {
		const char *shell;
		void (*print)(FILE *out);
	} shells[] = { { "bash", completion_bash }, { "zsh", completion_zsh }, { "fish", completion_fish } };

	for (unsigned int i = 0; i < ARRAY_SIZE(shells); i++) {
		if (strcmp(shells[i].shell, shell) == 0) {
			shells[i].print(out);
			return 0;
		}
	}
	error_add(err, "no completions for \"%s\"; bash, zsh and fish have some", shell);
	return -EINVAL;
}
