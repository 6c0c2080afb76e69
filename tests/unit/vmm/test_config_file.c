/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "--config FILE": what a file says, what the command line says instead, and what is refused where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/config_file.h"
#include "vmm/log.h"

#define MAX_ARGS 16

struct rig {
	char path[64];
	char text[1024];
	char *argv[MAX_ARGS];
	struct vm_config config;
	struct error err;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int fd;

	strcpy(r->path, "/tmp/ferry-config.XXXXXX");
	fd = mkstemp(r->path);
	assert_true(fd >= 0);
	close(fd);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	config_release(&r->config);
	unlink(r->path);
	free(r);
	return 0;
}

static void write_bytes(const struct rig *r, const void *bytes, size_t len)
{
	FILE *file = fopen(r->path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

/* Parses @line, words with blanks between, the first of which is the command, and "--config" with the rig's
 * file. */
static int parse(struct rig *r, const char *line)
{
	int argc = 0;

	config_release(&r->config);
	r->err = (struct error){ 0 };
	snprintf(r->text, sizeof(r->text), "%s --config %s", line, r->path);
	for (char *word = strtok(r->text, " "); word; word = strtok(NULL, " "))
		r->argv[argc++] = word;
	return strcmp(r->argv[0], "run") == 0 ? config_parse_run(&r->config, argc, r->argv, &r->err)
					      : config_parse_receive(&r->config, argc, r->argv, &r->err);
}

static int parse_file(struct rig *r, const char *line, const char *text)
{
	write_bytes(r, text, strlen(text));
	return parse(r, line);
}

static void a_file_says_what_options_say(void **state)
{
	struct rig *r = *state;

	if (parse_file(r, "run --name web1",
		       "# The web server.\n"
		       "kernel /boot/vmlinuz\n"
		       "\n"
		       "   mem\t 4G  \r\n"
		       "cmdline console=ttyS0 # is not a comment\n"
		       "disk /d/root.img\n"
		       "disk /d/data.img,ro\n"
		       "net soft,tap=tap0,mac=52:54:00:00:00:01\n"
		       "  # nor is the next line ended\n"
		       "cpus 2") < 0)
		fail_msg("%s", r->err.text);
	assert_string_equal(r->config.name, "web1");
	assert_string_equal(r->config.kernel, "/boot/vmlinuz");
	assert_string_equal(r->config.cmdline, "console=ttyS0 # is not a comment");
	assert_int_equal(r->config.mem, GIB(4));
	assert_int_equal(r->config.cpus, 2);
	assert_int_equal(r->config.n_disks, 2);
	assert_string_equal(r->config.disks[1].path, "/d/data.img");
	assert_true(r->config.disks[1].read_only);
	assert_string_equal(r->config.nets[0].tap, "tap0");
}

static void the_command_line_stands_in_the_place_of_the_file(void **state)
{
	static const char text[] = "name a\nkernel /k\nmem 4G\ndisk /a\ndisk /b\ncmdline quiet\n";
	struct rig *r = *state;

	assert_int_equal(parse_file(r, "run --mem 1G --disk /c --cmdline=", text), 0);
	assert_string_equal(r->config.name, "a");
	assert_int_equal(r->config.mem, GIB(1));
	assert_int_equal(r->config.n_disks, 1);
	assert_string_equal(r->config.disks[0].path, "/c");
	assert_string_equal(r->config.cmdline, "");
	/* Nor is what it says then judged. */
	assert_int_equal(parse_file(r, "run --mem 1G", "name a\nkernel /k\nmem much\n"), 0);
}

static void a_file_serves_run_and_receive(void **state)
{
	static const char text[] = "name a\nkernel /k\ninitrd /i\nmem 1G\nfrom unix:/s\nclock-skew any\n";
	struct rig *r = *state;

	assert_int_equal(parse_file(r, "run", text), 0);
	assert_null(r->config.from_path);
	assert_string_equal(r->config.initrd, "/i");
	assert_int_equal(parse(r, "receive"), 0);
	assert_null(r->config.kernel);
	assert_string_equal(r->config.from_path, "/s");
	assert_int_equal(r->config.mem, GIB(1));
}

static void a_wrong_line_is_refused_by_its_number(void **state)
{
	static const struct {
		const char *text, *why;
	} t[] = {
		{ "name a\n\nmem much\n", ":3: --mem \"much\"" },
		{ "name a\nmemory 4G\n", ":2: --memory is not known" },
		{ "kernal /k\n", ":1: --kernal is not known; did you mean --kernel?" },
		{ "--mem 4G\n", ":1: \"--mem 4G\": a line is an option's name without dashes" },
		{ "mem=4G\n", ":1: \"mem=4G\": a line is an option's name without dashes" },
		{ "#\n#\nmem\n", ":3: --mem needs a value: --mem SIZE" },
		{ "mem   \n", ":1: --mem needs a value" },
		{ "mem 1G\nmem 2G\n", ":2: mem is given twice" },
		{ "config /other\n", ":1: config is for the command line" },
		{ "to ssh:h\n", ":1: --to is for \"ferry migrate\"" },
		{ "disk /a\ndisk /a\n", ":2: --disk: /a is given twice" },
		{ "\x1b[2J x\n", ":1: " },
		{ "", "--name NAME is missing; --kernel FILE is missing" },
	};
	struct rig *r = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		char want[256];

		assert_int_equal(parse_file(r, "run", t[i].text), -EINVAL);
		snprintf(want, sizeof(want), "%s%s", t[i].why[0] == ':' ? r->path : "", t[i].why);
		if (strncmp(r->err.text, want, strlen(want)) != 0)
			fail_msg("\"%s\", not \"%s\"", r->err.text, want);
	}
}

static void a_file_that_is_no_text_is_refused(void **state)
{
	struct rig *r = *state;
	char *bytes = malloc(CONFIG_FILE_MAX + 1);

	memset(bytes, '\n', CONFIG_FILE_MAX + 1);
	write_bytes(r, bytes, CONFIG_FILE_MAX + 1);
	assert_int_equal(parse(r, "run --name a --kernel /k"), -EINVAL);
	assert_non_null(strstr(r->err.text, "has more than 65536 bytes"));
	write_bytes(r, bytes, CONFIG_FILE_MAX);
	assert_int_equal(parse(r, "run --name a --kernel /k"), 0);
	bytes[100] = '\0';
	write_bytes(r, bytes, CONFIG_FILE_MAX);
	assert_int_equal(parse(r, "run --name a --kernel /k"), -EINVAL);
	assert_non_null(strstr(r->err.text, "is no text"));
	unlink(r->path);
	assert_int_equal(parse(r, "run --name a --kernel /k"), -ENOENT);
	assert_non_null(strstr(r->err.text, "No such file"));
	free(bytes);
}

/* Words that completions offer, and values that any option takes or refuses, but never meets unprepared. */
static void each_option_of_the_table_has_a_meaning(void **state)
{
	struct rig *r = *state;

	for (unsigned int i = 0; i < option_table_n; i++) {
		const struct option_row *row = &option_table[i];
		const bool run = row->commands & COMMAND_BIT(COMMAND_RUN);
		char words[128], *end = words;

		if (row->id == OPTION_CONFIG || !(run || row->commands & COMMAND_BIT(COMMAND_RECEIVE)))
			continue;
		snprintf(words, sizeof(words), "%s", row->words ? row->words : "x");
		for (char *word = strtok_r(words, " ", &end); word; word = strtok_r(NULL, " ", &end)) {
			bool whole = row->words && word[0] != ':' && !strpbrk(word, ":=");
			char text[256];
			int ret;

			/* A whole number of pages, of whatever size. */
			snprintf(text, sizeof(text), "%s%s%s%s %s\n",
				 row->id == OPTION_NAME ? "" : "name a\n",
				 row->id == OPTION_MEM ? "" : "mem 1G\n",
				 run && row->id != OPTION_KERNEL ? "kernel /k\n" : "", row->name, word);
			ret = parse_file(r, run ? "run" : "receive", text);
			if (whole && ret < 0)
				fail_msg("%s", r->err.text);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_file_says_what_options_say),
		TEST(the_command_line_stands_in_the_place_of_the_file),
		TEST(a_file_serves_run_and_receive),
		TEST(a_wrong_line_is_refused_by_its_number),
		TEST(a_file_that_is_no_text_is_refused),
		TEST(each_option_of_the_table_has_a_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
