/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a file as a whole. */
#define _GNU_SOURCE
#include "vmm/file_save.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The name's end of a file that is not whole yet. */
#define FILE_SAVE_SUFFIX ".XXXXXX"

static int file_save_write(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Writes to what is no regular file. */
static int file_save_into(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY), ret;

	if (fd < 0)
		return -errno;
	ret = file_save_write(fd, text, len);
	if (close(fd) < 0 && ret == 0)
		ret = -errno;
	return ret;
}

/* Makes the file beside @path, and gives it the name. */
static int file_save_beside(const char *path, mode_t mode, const char *text, size_t len)
{
	char temporary[PATH_MAX + sizeof(FILE_SAVE_SUFFIX)];
	int fd, ret;

	snprintf(temporary, sizeof(temporary), "%s" FILE_SAVE_SUFFIX, path);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = file_save_write(fd, text, len);
	if (ret == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		ret = -errno;
	if (close(fd) < 0 && ret == 0)
		ret = -errno;
	if (ret == 0 && rename(temporary, path) < 0)
		ret = -errno;
	if (ret < 0)
		unlink(temporary);
	return ret;
}

int file_save(const char *path, const char *text, size_t len, struct error *err)
{
	/* Readable by others as far as a file that was there is: a report names hosts. */
	mode_t mode = S_IRUSR | S_IWUSR;
	char resolved[PATH_MAX];
	struct stat st;
	int ret;

	if (stat(path, &st) == 0) {
		mode = st.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
		/* A link goes on to name the file. */
		if (!realpath(path, resolved))
			ret = -errno;
		else if (S_ISREG(st.st_mode))
			ret = file_save_beside(resolved, mode, text, len);
		else
			ret = file_save_into(path, text, len);
	} else if (errno == ENOENT && strlen(path) < PATH_MAX) {
		ret = file_save_beside(path, mode, text, len);
	} else {
		ret = -errno;
	}
	if (ret < 0)
		error_add(err, "cannot write %s: %s", path, strerror(-ret));
	return ret;
}
