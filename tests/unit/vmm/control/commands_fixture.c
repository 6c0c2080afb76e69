/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM that answers anything, and what a subcommand makes of it: see the header. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/commands_fixture.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/text.h"

/* Reads one call, and answers. A client that only looks whether there is a VM says nothing. */
static void *serve(void *arg)
{
	struct server *s = arg;
	char byte = 'x';
	size_t n = 0;
	int fd;

	for (;;) {
		fd = accept(s->fd, NULL, NULL);
		while (read(fd, &byte, 1) == 1 && byte != '\0') {
			if (n < sizeof(s->call) - 1)
				s->call[n++] = byte;
		}
		if (byte == '\0')
			break;
		close(fd);
	}
	send(fd, s->answer, s->len, MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

void start(struct server *s, const char *answer, size_t len)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	*s = (struct server){ .dir = "/tmp/ferry-client.XXXXXX", .answer = answer, .len = len };
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->folder, sizeof(s->folder), "%s/web1", s->dir);
	assert_int_equal(mkdir(s->folder, 0700), 0);
	snprintf(s->path, sizeof(s->path), "%s/control", s->folder);
	strcpy(sun.sun_path, s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

void stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->path);
	rmdir(s->folder);
	rmdir(s->dir);
}

int run(int (*command)(int argc, char **argv), char **argv, char *said, size_t size)
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
	assert_true(len >= 0);
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
