/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that is there as a whole, or as it was before. */
#ifndef FERRY_VMM_FILE_SAVE_H
#define FERRY_VMM_FILE_SAVE_H

#include <stddef.h>

#include "vmm/log.h"

/*
 * Writes @len bytes of @text to @path: to a new file beside it, which then takes its name. What @path names
 * stays what it is where that is no regular file (a terminal, a pipe, /dev/null), and is written to. Waits
 * for the storage. Returns 0 or -errno, with what was tried in @err; then a file that was there is unchanged.
 */
int __must_check file_save(const char *path, const char *text, size_t len, struct error *err);

#endif
