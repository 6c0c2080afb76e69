/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that output is appended to: see the header. */
#define _GNU_SOURCE
#include "vmm/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The end of the name of the file before. */
#define OUTPUT_FILE_BEFORE ".1"

struct output_file {
	/* The folder as it was found at first, whatever it is called by now. */
	int dir_fd;
	int fd;
	/* What @fd is. */
	dev_t dev;
	ino_t ino;
	uint64_t max;
	char name[NAME_MAX + 1];
	char before[NAME_MAX + 1];
};

/* Opens the file that has the name now, or makes one: it takes the place of the one at hand. */
static int output_file_begin(struct output_file *f)
{
	/* A FIFO in the file's place must not keep the caller. */
	int fd = openat(f->dir_fd, f->name,
			O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	struct stat st;
	int ret = 0;

	if (fd < 0)
		return errno == ENXIO ? -ENOTSUP : -errno;
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (!S_ISREG(st.st_mode))
		ret = -ENOTSUP;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return 0;
}

/* Makes sure that the file at hand is the one that has the name, and has room for @len bytes. */
static int output_file_make_room(struct output_file *f, size_t len)
{
	struct stat st;

	if (fstatat(f->dir_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return -errno;
		return output_file_begin(f);
	}
	if (st.st_dev != f->dev || st.st_ino != f->ino) {
		int ret = output_file_begin(f);

		if (ret < 0 || fstat(f->fd, &st) < 0)
			return ret < 0 ? ret : -errno;
	}
	if ((uint64_t)st.st_size <= f->max - min_u64(f->max, len))
		return 0;
	if (renameat(f->dir_fd, f->name, f->dir_fd, f->before) < 0)
		return -errno;
	return output_file_begin(f);
}

ssize_t output_file_write(struct output_file *f, const void *data, size_t len)
{
	int ret = output_file_make_room(f, len);
	ssize_t n;

	if (ret < 0)
		return ret;
	n = write(f->fd, data, len);
	return n < 0 ? -errno : n;
}

/* Splits @path into the folder, which is opened, and names in it. */
static int output_file_find(struct output_file *f, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *dir;

	if (!*name || strlen(name) > NAME_MAX - strlen(OUTPUT_FILE_BEFORE))
		return *name ? -ENAMETOOLONG : -EISDIR;
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->before, sizeof(f->before), "%.*s%s", NAME_MAX - (int)strlen(OUTPUT_FILE_BEFORE), name,
		 OUTPUT_FILE_BEFORE);
	if (!slash) {
		f->dir_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return f->dir_fd < 0 ? -errno : 0;
	}
	/* With the slash, so that the root is one, too. */
	dir = strndup(path, (size_t)(name - path));
	if (!dir)
		return -ENOMEM;
	f->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	return f->dir_fd < 0 ? -errno : 0;
}

int output_file_open(struct output_file **file, const char *path, uint64_t max)
{
	struct output_file *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	f->dir_fd = f->fd = -1;
	f->max = max;
	ret = output_file_find(f, path);
	if (ret == 0)
		ret = output_file_begin(f);
	if (ret < 0) {
		output_file_close(f);
		return ret;
	}
	*file = f;
	return 0;
}

void output_file_close(struct output_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->dir_fd >= 0)
		close(f->dir_fd);
	free(f);
}
