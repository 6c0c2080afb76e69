/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the kernel's, read within bounds. */
#define _GNU_SOURCE
#include "vmm/host/host_look.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/text.h"

/* Writes the path. -ENAMETOOLONG: it has no room. */
static int host_path(char path[HOST_PATH_MAX], const char *fmt, va_list args)
{
	int n = vsnprintf(path, HOST_PATH_MAX, fmt, args);

	return n >= 0 && n < (int)HOST_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Cleans each line by itself, because ends of lines are no plain text. */
static void host_clean(char *text)
{
	for (size_t n; *text; text += n + (text[n] != '\0')) {
		n = strcspn(text, "\n\t");
		text_clean(text, n);
	}
}

/* Reads until the end, or until there is no room. Returns the number of bytes, or -errno. */
static ssize_t host_read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size) {
		n = read(fd, text + len, size - len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			return -errno;
		else
			len += (size_t)n;
	}
	return (ssize_t)len;
}

int host_read(char *text, size_t size, const char *fmt, ...)
{
	char path[HOST_PATH_MAX];
	va_list args;
	ssize_t len;
	int fd, ret;

	text[0] = '\0';
	va_start(args, fmt);
	ret = host_path(path, fmt, args);
	va_end(args);
	if (ret < 0)
		return ret;
	/* A FIFO or a terminal in the file's place keeps nobody waiting. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	len = host_read_all(fd, text, size - 1);
	close(fd);
	if (len < 0) {
		text[0] = '\0';
		return (int)len;
	}
	text[len] = '\0';
	if (len > 0 && text[len - 1] == '\n')
		text[len - 1] = '\0';
	host_clean(text);
	return 0;
}

bool host_exists(const char *fmt, ...)
{
	char path[HOST_PATH_MAX];
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = host_path(path, fmt, args);
	va_end(args);
	return ret == 0 && access(path, F_OK) == 0;
}

bool host_has_word(const char *text, const char *word)
{
	static const char apart[] = " ,\n\t";
	size_t len = strlen(word), n;

	for (; *text; text += n + (text[n] != '\0')) {
		n = strcspn(text, apart);
		if (n == len && memcmp(text, word, len) == 0)
			return true;
	}
	return false;
}

void host_link_name(char name[HOST_LABEL_MAX], const char *fmt, ...)
{
	char path[HOST_PATH_MAX], to[PATH_MAX];
	const char *slash;
	ssize_t n = -1;
	va_list args;

	va_start(args, fmt);
	if (host_path(path, fmt, args) == 0)
		n = readlink(path, to, sizeof(to) - 1);
	va_end(args);
	to[n > 0 ? n : 0] = '\0';
	slash = strrchr(to, '/');
	snprintf(name, HOST_LABEL_MAX, "%.*s", (int)HOST_LABEL_MAX - 1, slash ? slash + 1 : to);
	text_clean(name, strlen(name));
}
