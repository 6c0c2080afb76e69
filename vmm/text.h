/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of strangers: what of it a person may be shown. Any thread. */
#ifndef FERRY_VMM_TEXT_H
#define FERRY_VMM_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/util.h"

/*
 * Reads the character at @s, which ends before @end, and sets *@len to the number of its bytes: 0 where there
 * is no well-formed one (RFC 3629, section 4).
 */
uint32_t text_decode(const char *s, const char *end, unsigned int *len);

/*
 * Returns how many bytes the character at @s has. Returns 0 also for a character that a terminal or a reader
 * would take for more than that: control characters from U+0000 to U+001f and from U+007f to U+009f, of which
 * terminals obey also the latter; ends of lines and paragraphs (U+2028, U+2029); and what turns the direction
 * of the text around it.
 */
unsigned int text_plain_len(const char *s, const char *end);

/*
 * Makes @len bytes at @text fit to be shown: each byte of what is no plain text becomes a "?". The length
 * stays. Everything from outside goes through here on its way to a terminal or a log: messages in log.c, what
 * clients print, and a peer's reasons where they come in.
 */
void text_clean(char *text, size_t len);

/* More than the text has: room for whatever numbers the fields of a struct tm could hold. */
#define TEXT_TIME_MAX 80u

/*
 * Writes @ns, nanoseconds since 1970, as a time of day in UTC with its milliseconds (RFC 3339, section 5.6).
 */
void text_time(char text[TEXT_TIME_MAX], uint64_t ns);

#endif
