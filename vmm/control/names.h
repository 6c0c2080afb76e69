/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of the VMs whose folders are in a directory, and patterns for them, as shells have them. */
#ifndef FERRY_VMM_CONTROL_NAMES_H
#define FERRY_VMM_CONTROL_NAMES_H

#include "vmm/log.h"

/* Whether @text is a pattern rather than a name. */
bool names_is_pattern(const char *text);
/* Whether @pattern, which may also be a name, stands for @name. */
bool names_match(const char *pattern, const char *name);

/* Calls @fn for each name in @folder, in alphabetical order; a folder that is not there has none. Whether a
 * VM runs under a name is for @fn to find out. Returns 0, or -errno with the reason. */
int __must_check names_each(const char *folder, void (*fn)(const char *name, void *opaque), void *opaque,
			    struct error *err);

/* Whether a process listens under @name, which may belong to somebody else. */
bool names_is_running(const char *folder, const char *name);

#endif
