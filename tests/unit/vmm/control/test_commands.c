/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands that call a VM, with a VM that answers anything: what of it reaches the operator's
 * terminal. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/text.h"

#define HOSTILE "\\u001b[6n\\u009b6n\\u007f\\r\\nferry: all is well\\u202e"
#define SHOWN   "?[6n??6n???ferry: all is well???"

struct server {
	char dir[32], path[64];
	int fd;
	const char *answer;
	size_t len;
	pthread_t thread;
};

/* Reads one call, and answers. A client that only looks whether there is a VM says nothing. */
static void *serve(void *arg)
{
	struct server *s = arg;
	char byte = 'x';
	int fd;

	for (;;) {
		fd = accept(s->fd, NULL, NULL);
		while (read(fd, &byte, 1) == 1 && byte != '\0')
			;
		if (byte == '\0')
			break;
		close(fd);
	}
	send(fd, s->answer, s->len, MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void start(struct server *s, const char *answer, size_t len)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	*s = (struct server){ .dir = "/tmp/ferry-client.XXXXXX", .answer = answer, .len = len };
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/web1.sock", s->dir);
	strcpy(sun.sun_path, s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->path);
	rmdir(s->dir);
}

/* Keeps in @said what @command prints, to stdout and stderr. Returns its exit code. */
static int run(int (*command)(int argc, char **argv), char **argv, char *said, size_t size)
{
	FILE *file = tmpfile();
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), argc = 0, status;
	ssize_t len;

	while (argv[argc])
		argc++;
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	dup2(fileno(file), STDERR_FILENO);
	optind = 1;
	status = command(argc, argv);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	len = pread(fileno(file), said, size - 1, 0);
	assert_true(len > 0);
	said[len] = '\0';
	fclose(file);
	for (const char *at = said; *at; at++) {
		if (*at == '\n')
			continue;
		assert_true(text_plain_len(at, said + len) > 0);
		at += text_plain_len(at, said + len) - 1;
	}
	return status;
}

static void a_stage_and_a_reason_are_shown_as_plain_text(void **state)
{
	static const char answer[] =
		"{\"parameters\":{\"stage\":\"\\u001b[6n\\u009b6n\\r\",\"elapsedNs\":1000000000},"
		"\"continues\":true}\0"
		"{\"error\":\"org.ferry.MigrationFailed\",\"parameters\":{\"reason\":\"" HOSTILE "\"}}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	run(client_migrate, (char *[]){ "migrate", "web1", "--to", "exec:cat", "--runtime-dir", s.dir, NULL },
	    said, sizeof(said));
	stop(&s);
	assert_non_null(strstr(said, "1.00 s  ?[6n??6n?\n"));
	assert_non_null(strstr(said, "ferry: " SHOWN "\n"));
}

static void an_errors_name_is_shown_as_plain_text(void **state)
{
	static const char answer[] = "{\"error\":\"" HOSTILE "\"}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	run(client_resume, (char *[]){ "resume", "web1", "--runtime-dir", s.dir, NULL }, said, sizeof(said));
	stop(&s);
	assert_string_equal(said, "ferry: " SHOWN "\n");
}

/* A raw byte 0x9b is not JSON's: the whole answer is refused, and not shown. */
static void an_answer_that_is_no_utf8_is_refused(void **state)
{
	static const char answer[] = "{\"error\":\"a\x9b"
				     "6n\"}";
	char said[4096];
	struct server s;

	start(&s, answer, sizeof(answer));
	run(client_resume, (char *[]){ "resume", "web1", "--runtime-dir", s.dir, NULL }, said, sizeof(said));
	stop(&s);
	assert_non_null(strstr(said, "not what Ferry speaks"));
}

static void what_is_typed_wrong_is_shown_as_plain_text(void **state)
{
	char said[4096];

	run(client_migrate, (char *[]){ "migrate", "a\033[2J\x9b\nb", "--to", "exec:cat", NULL }, said,
	    sizeof(said));
	assert_non_null(strstr(said, "ferry: \"a?[2J??b\" cannot be the name of a VM"));
	run(client_migrate, (char *[]){ "migrate", "web1", "--\033c", NULL }, said, sizeof(said));
	assert_non_null(strstr(said, "no option \"--?c\""));
}

/* An answer that makes no sense is never "yes". */
static void a_check_prints_its_obstacles_and_says_so_by_its_exit_code(void **state)
{
	static const struct {
		const char *answer, *said;
		int status;
	} cases[] = {
		{ "{\"parameters\":{\"streamVersion\":2,\"obstacles\":[]}}",
		  "nothing stands against the move\n", 0 },
		{ "{\"parameters\":{\"obstacles\":[\"no \\\"CPU\\\"\",\"" HOSTILE "\"]}}",
		  "no \"CPU\"\n" SHOWN "\n", 1 },
		{ "{\"parameters\":{\"obstacles\":[\"no disk\",7]}}",
		  "ferry: the VM's answer makes no sense\nno disk\n", 1 },
		{ "{\"parameters\":{\"obstacles\":7}}", "ferry: the VM's answer makes no sense\n", 1 },
		{ "{\"parameters\":{}}", "ferry: the VM's answer makes no sense\n", 1 },
		{ "{\"error\":\"org.ferry.Busy\",\"parameters\":{\"reason\":\"later\"}}", "ferry: later\n",
		  1 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[] = {
			"migrate", "web1", "--to", "exec:cat", "--check", "--runtime-dir", NULL, NULL
		};
		char said[4096];
		struct server s;
		int status;

		start(&s, cases[i].answer, strlen(cases[i].answer) + 1);
		argv[6] = s.dir;
		status = run(client_migrate, argv, said, sizeof(said));
		stop(&s);
		/* Behind it stands what the command of exec: says of its end. */
		if (strncmp(said, cases[i].said, strlen(cases[i].said)) != 0)
			fail_msg("%u: %s", i, said);
		assert_int_equal(status, cases[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stage_and_a_reason_are_shown_as_plain_text),
		cmocka_unit_test(an_errors_name_is_shown_as_plain_text),
		cmocka_unit_test(an_answer_that_is_no_utf8_is_refused),
		cmocka_unit_test(what_is_typed_wrong_is_shown_as_plain_text),
		cmocka_unit_test(a_check_prints_its_obstacles_and_says_so_by_its_exit_code),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
