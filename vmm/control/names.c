/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of VMs: see the header. */
#define _GNU_SOURCE
#include "vmm/control/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/config_text.h"
#include "vmm/control/socket.h"
#include "vmm/stream_socket.h"

/* For a process to take a connection. One that is too busy runs all the same. */
#define NAMES_CONNECT_MS 100

bool names_is_pattern(const char *text)
{
	return strpbrk(text, "*?[") && !strchr(text, '/');
}

/* Matches a set, of which @set is what comes after the bracket. Returns what comes behind it, or NULL. */
static const char *names_match_set(const char *set, char c)
{
	const bool others = *set == '!' || *set == '^';
	const char *at = set + others;
	bool in = false;

	/* A bracket that comes first is one of the set. */
	do {
		const bool range = at[0] && at[1] == '-' && at[2] && at[2] != ']';

		if (!*at)
			return NULL;
		in |= at[0] <= c && c <= at[range ? 2 : 0];
		at += range ? 3 : 1;
	} while (*at != ']');
	return in != others ? at + 1 : NULL;
}

/* Matches what is not a star. Returns what comes behind it, or NULL. */
static const char *names_match_one(const char *pattern, char c)
{
	if (*pattern == '[')
		return names_match_set(pattern + 1, c);
	return *pattern == c || *pattern == '?' ? pattern + 1 : NULL;
}

/* The C library's fnmatch(3) knows all of the world's letters, and is larger than the rest of this file by 18
 * KiB; names are plain. */
bool names_match(const char *pattern, const char *name)
{
	const char *star = NULL, *from = NULL, *next;

	while (*name) {
		if (*pattern == '*') {
			star = ++pattern;
			from = name;
			continue;
		}
		next = names_match_one(pattern, *name);
		if (!next && !star)
			return false;
		/* The last star takes a character more. */
		pattern = next ? next : star;
		name = next ? name + 1 : ++from;
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

/* Tells what may be the folder of a VM. A file system need not say what is a folder. */
static bool names_is_folder(const struct dirent *file)
{
	return (file->d_type == DT_DIR || file->d_type == DT_UNKNOWN) && config_name_valid(file->d_name);
}

int names_each(const char *folder, void (*fn)(const char *name, void *opaque), void *opaque,
	       struct error *err)
{
	struct dirent **files = NULL;
	int n = scandir(folder, &files, NULL, alphasort);

	/* No Ferry has ever run there. */
	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0) {
		error_add(err, "cannot read %s: %s", folder, strerror(errno));
		return -errno;
	}
	for (int i = 0; i < n; i++) {
		if (names_is_folder(files[i]))
			fn(files[i]->d_name, opaque);
		free(files[i]);
	}
	free(files);
	return 0;
}

bool names_is_running(const char *folder, const char *name)
{
	struct sockaddr_un addr;
	struct error err = { 0 };
	int ret = control_address(&addr, folder, name, &err);

	if (ret == 0)
		ret = stream_socket_connect(&addr, NAMES_CONNECT_MS);
	if (ret >= 0)
		close(ret);
	return ret != -ECONNREFUSED && ret != -ENOENT && ret != -ENOTDIR;
}
