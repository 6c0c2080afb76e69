/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members with names, written as JSON: see the header. */
#include "vmm/facts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* What closes all that is open, and the member that says that something is missing. */
#define FACTS_RESERVE 64u

/* The longest text of one member; and the same quoted, where each byte may be an escape. */
#define FACTS_TEXT_MAX   512u
#define FACTS_QUOTED_MAX (6 * FACTS_TEXT_MAX + 3)

void facts_begin(struct facts *f, char *buf, size_t size)
{
	*f = (struct facts){ .json = { .buf = buf, .size = size }, .first = true };
	json_put(&f->json, "{");
}

void facts_end(struct facts *f)
{
	assert(f->depth == 0 && "close what was opened");
	if (f->cut)
		json_put(&f->json, "%s\"cut\":true", f->first ? "" : ",");
	json_put(&f->json, "}");
}

/* Writes a member, or what opens one. False: there is no room for it. */
static bool facts_put(struct facts *f, const char *name, const char *value)
{
	size_t len = strlen(value) + (name ? strlen(name) + 3 : 0) + 1;

	if (f->skipped > 0 || f->json.len + len + FACTS_RESERVE > f->json.size) {
		f->cut = true;
		return false;
	}
	if (!f->first)
		json_put(&f->json, ",");
	if (name)
		json_put(&f->json, "\"%s\":", name);
	json_put(&f->json, "%s", value);
	f->first = false;
	return true;
}

void facts_text(struct facts *f, const char *name, const char *text)
{
	char quoted[FACTS_QUOTED_MAX];

	json_quote(text, quoted, sizeof(quoted));
	facts_put(f, name, quoted);
}

void facts_format(struct facts *f, const char *name, const char *fmt, ...)
{
	char text[FACTS_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	facts_text(f, name, text);
}

void facts_number(struct facts *f, const char *name, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	facts_put(f, name, text);
}

void facts_flag(struct facts *f, const char *name, bool on)
{
	facts_put(f, name, on ? "true" : "false");
}

static void facts_open(struct facts *f, const char *name, const char *bracket)
{
	assert(f->depth < FACTS_MAX_DEPTH && "raise FACTS_MAX_DEPTH");
	f->begins[f->depth] = f->json.len;
	f->firsts[f->depth] = f->first;
	f->depth++;
	if (facts_put(f, name, bracket))
		f->first = true;
	else
		f->skipped++;
}

static void facts_close(struct facts *f, const char *bracket)
{
	assert(f->depth > 0);
	f->depth--;
	if (f->skipped > 0) {
		f->skipped--;
		return;
	}
	json_put(&f->json, "%s", bracket);
	f->first = false;
}

void facts_object(struct facts *f, const char *name)
{
	facts_open(f, name, "{");
}

void facts_object_end(struct facts *f)
{
	facts_close(f, "}");
}

void facts_list(struct facts *f, const char *name)
{
	facts_open(f, name, "[");
}

void facts_list_end(struct facts *f)
{
	const bool empty = f->first && f->skipped == 0;

	facts_close(f, "]");
	if (!empty)
		return;
	f->json.len = f->begins[f->depth];
	f->json.buf[f->json.len] = '\0';
	f->first = f->firsts[f->depth];
}
