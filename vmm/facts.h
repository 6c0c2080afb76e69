/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What something is and does now, told as members with names: for programs as a JSON object, for a person by
 * whoever prints that. The one who tells knows names and values, and nothing of their form. Plain data, one
 * thread.
 */
#ifndef FERRY_VMM_FACTS_H
#define FERRY_VMM_FACTS_H

#include "vmm/control/json.h"

/* Objects and lists in one another, at most. */
#define FACTS_MAX_DEPTH 6u

struct facts {
	struct json_text json;
	bool first;           /* nothing is before the next member */
	unsigned int depth;   /* objects and lists that are open */
	unsigned int skipped; /* those of them that had no room */
	/* Where each list begins that is open, so that it can be left out. */
	size_t begins[FACTS_MAX_DEPTH];
	bool firsts[FACTS_MAX_DEPTH];
	/* Something had no room, and is missing. */
	bool cut;
};

/*
 * Begins an object in @buf, which is the caller's, 256 bytes at least. What has no room is left out as a
 * whole; facts_end(), once all is closed, says so by a member "cut".
 */
void facts_begin(struct facts *f, char *buf, size_t size);
void facts_end(struct facts *f);

/* Add a member to the object that is open, or, where @name is NULL, to the list. */
void facts_text(struct facts *f, const char *name, const char *text);
void facts_format(struct facts *f, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void facts_number(struct facts *f, const char *name, uint64_t n);
void facts_flag(struct facts *f, const char *name, bool on);

/* Open an object or a list as such a member, and close it. A list without anything in it is left out. */
void facts_object(struct facts *f, const char *name);
void facts_object_end(struct facts *f);
void facts_list(struct facts *f, const char *name);
void facts_list_end(struct facts *f);

#endif
