/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pictures are made of: text that is escaped, and values with their units. On any one thread. */
#ifndef FERRY_VMM_CONTROL_SVG_H
#define FERRY_VMM_CONTROL_SVG_H

#include <stdio.h>

#include "vmm/util.h"

/* Between lines of text. */
#define SVG_LINE 20.0

/* A picture that is drawn from the top down. */
struct svg {
	FILE *out; /* NULL: only how high it gets is of interest */
	double y;  /* of the last line */
};

/* A place and a look for a text. */
struct svg_style {
	double x;
	double size;
	const char *color;
	const char *anchor; /* start, middle, end */
};

/* Writes elements, or parts of one: what a stranger has said goes through the functions below. */
void svg_put(struct svg *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes @len bytes of text. What XML does not have, and what is no plain text, is a "?". */
void svg_text(struct svg *s, const struct svg_style *style, double y, const char *text, size_t len);
void svg_textf(struct svg *s, const struct svg_style *style, double y, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Writes a long text in lines below the last, cut between words where that is possible. */
void svg_wrap(struct svg *s, const struct svg_style *style, const char *text);

/* Writes a time, or a number of bytes, in the unit that suits it. Returns @buf. */
#define SVG_VALUE_MAX 32u
const char *svg_time(char buf[SVG_VALUE_MAX], double ns);
const char *svg_bytes(char buf[SVG_VALUE_MAX], double bytes);

#endif
