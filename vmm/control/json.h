/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading JSON objects of hostile origin, and writing values. Any thread. */
#ifndef FERRY_VMM_CONTROL_JSON_H
#define FERRY_VMM_CONTROL_JSON_H

#define JSMN_HEADER
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include "vmm/util.h"

/* A message with more values is refused. A migration's report has some seven hundred. */
#define JSON_MAX_TOKENS 1024

struct json {
	const char *text; /* must outlive it */
	int n;
	jsmntok_t tokens[JSON_MAX_TOKENS]; /* the first is the object */
};

/* Whether @len bytes of @text are one object: keys with one value each, well-formed strings, numbers. */
bool json_parse(struct json *json, const char *text, size_t len);

/* The value of a member of @object, NULL if there is none of this name and type. */
const jsmntok_t *json_find(const struct json *json, const jsmntok_t *object, const char *name,
			   jsmntype_t type);

/* Whether @object, which may be NULL, has a member of this name, whatever it is but null. */
bool json_has(const struct json *json, const jsmntok_t *object, const char *name);

/* Finds a member of @object, which may be NULL, whose name is none of @names, a list that ends with NULL.
 * Copies the name as it stands into @buf, cut if it does not fit. */
bool json_other(const struct json *json, const jsmntok_t *object, const char *const *names, char *buf,
		size_t size);

/* The value of a member, unescaped into @buf; false if it is not there, or does not fit. @object
 * may be NULL. */
bool json_string(const struct json *json, const jsmntok_t *object, const char *name, char *buf, size_t size);
bool json_number(const struct json *json, const jsmntok_t *object, const char *name, uint64_t *v);

/* The value of a member that is true or false. */
bool json_bool(const struct json *json, const jsmntok_t *object, const char *name, bool *v);

/* Whether the message has a member that is true. */
bool json_true(const struct json *json, const char *name);

/* The string at @index of a member that is an array. Returns 1, 0 where the array ends before it, or -EINVAL:
 * there is no array, or no string, or it does not fit. */
int json_item(const struct json *json, const jsmntok_t *object, const char *name, unsigned int index,
	      char *buf, size_t size);

/* The same out of an object as text. */
bool json_object_string(const char *object, const char *name, char *buf, size_t size);
bool json_object_number(const char *object, const char *name, uint64_t *v);
int json_object_item(const char *object, const char *name, unsigned int index, char *buf, size_t size);

/* A value while it is written into a buffer that is large enough for all of it, which the caller sees to. */
struct json_text {
	char *buf;
	size_t size, len;
};

/* Appends; asserts that there is room. */
void json_put(struct json_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Text as a JSON string with its quotes, at least 3 bytes; cut if it does not fit. */
void json_quote(const char *text, char *buf, size_t size);

#endif
