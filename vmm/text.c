/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UTF-8, and what of it is plain text. */
#define _GNU_SOURCE
#include "vmm/text.h"

#include <stdio.h>
#include <time.h>

/* Characters that are not shown, though they are well-formed. */
static const struct {
	uint32_t first, last;
} text_not_plain[] = {
	{ 0x00, 0x1f },     { 0x7f, 0x9f },     /* control characters: C0, DEL, C1 */
	{ 0x61c, 0x61c },   { 0x200e, 0x200f }, /* marks of direction */
	{ 0x2028, 0x2029 },                     /* ends of lines and paragraphs */
	{ 0x202a, 0x202e }, { 0x2066, 0x2069 }, /* text that runs the other way */
};

uint32_t text_decode(const char *s, const char *end, unsigned int *len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first = (uint8_t)*s;
	unsigned int n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? first : first & (0xffu >> (n + 1));

	*len = 0;
	if (n == 0 || first > 0xf4 || end - s < (ptrdiff_t)n)
		return 0;
	for (unsigned int i = 1; i < n; i++) {
		if (((uint8_t)s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((uint8_t)s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*len = n;
	return c;
}

unsigned int text_plain_len(const char *s, const char *end)
{
	unsigned int len;
	uint32_t c = text_decode(s, end, &len);

	for (unsigned int i = 0; i < ARRAY_SIZE(text_not_plain); i++) {
		if (c >= text_not_plain[i].first && c <= text_not_plain[i].last)
			return 0;
	}
	return len;
}

void text_clean(char *text, size_t len)
{
	char *end = text + len;

	while (text < end) {
		unsigned int plain = text_plain_len(text, end), n;

		text_decode(text, end, &n);
		/* Every byte of a character that is not plain is replaced: a terminal could obey a part of
		 * it. */
		for (unsigned int i = 0; plain == 0 && i < (n ? n : 1); i++)
			text[i] = '?';
		text += n ? n : 1;
	}
}

void text_time(char text[TEXT_TIME_MAX], uint64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000u);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(text, TEXT_TIME_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900, tm.tm_mon + 1,
		 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned int)(ns / 1000000u % 1000u));
}
