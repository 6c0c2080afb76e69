/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file that output is appended to, and that does not grow without an end: at its bound it becomes PATH.1,
 * in the place of an earlier one, and a new file begins. So it does where somebody has moved or removed the
 * file, as logrotate does: nobody has to be told.
 *
 * One thread at a time. Each function can wait for the file system, for ever where that does not answer.
 */
#ifndef FERRY_VMM_OUTPUT_FILE_H
#define FERRY_VMM_OUTPUT_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/util.h"

struct output_file;

/* Opens @path, or makes it with mode 0600; it has @max bytes at the most, or what it had before. -ENOTSUP: it
 * is no regular file; -ELOOP: it is a symbolic link; or another -errno. */
int __must_check output_file_open(struct output_file **file, const char *path, uint64_t max);
void output_file_close(struct output_file *file);

/* Appends as much of @len bytes, which are not more than the bound, as there is room for on the storage.
 * Returns how many, or -errno: a later call tries all of it again. */
ssize_t __must_check output_file_write(struct output_file *file, const void *data, size_t len);

#endif
