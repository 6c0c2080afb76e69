/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text of a picture. */
#include "vmm/control/svg.h"

#include <stdarg.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/text.h"

/* Characters of a long text in a line. */
#define SVG_WRAP 125u

/* Bytes of a text that is put together; the rest is cut. */
#define SVG_TEXT_MAX ERROR_TEXT_MAX

void svg_put(struct svg *s, const char *fmt, ...)
{
	va_list args;

	if (!s->out)
		return;
	va_start(args, fmt);
	vfprintf(s->out, fmt, args);
	va_end(args);
}

/* Writes @len bytes of text between tags. What XML does not have, and what is no plain text, is a "?". */
static void svg_escape(struct svg *s, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		unsigned int n = text_plain_len(text, end), decoded;

		if (*text == '&')
			svg_put(s, "&amp;");
		else if (*text == '<')
			svg_put(s, "&lt;");
		else if (*text == '>')
			svg_put(s, "&gt;");
		else if (n == 0 || (text_decode(text, end, &decoded) & 0xfffe) == 0xfffe)
			svg_put(s, "?");
		else
			svg_put(s, "%.*s", (int)n, text);
		text += n ? n : 1;
	}
}

void svg_text(struct svg *s, const struct svg_style *style, double y, const char *text, size_t len)
{
	svg_put(s, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.0f\" fill=\"%s\" text-anchor=\"%s\">", style->x,
		y, style->size, style->color, style->anchor);
	svg_escape(s, text, len);
	svg_put(s, "</text>\n");
}

void svg_textf(struct svg *s, const struct svg_style *style, double y, const char *fmt, ...)
{
	char text[SVG_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	svg_text(s, style, y, text, strlen(text));
}

/* Writes a long text in lines, cut between words where that is possible. */
void svg_wrap(struct svg *s, const struct svg_style *style, const char *text)
{
	const char *end = text + strlen(text);

	while (text < end) {
		const char *at = text, *space = NULL;

		for (unsigned int n = 0; at < end && n < SVG_WRAP; n++) {
			unsigned int len = text_plain_len(at, end);

			space = *at == ' ' ? at : space;
			at += len ? len : 1;
		}
		if (at < end && space && space > text)
			at = space + 1;
		s->y += SVG_LINE;
		svg_text(s, style, s->y, text, (size_t)(at - text));
		text = at;
	}
}

/* Writes a time, or a number of bytes, in the unit that suits it. */
const char *svg_time(char buf[SVG_VALUE_MAX], double ns)
{
	if (ns >= 1e9)
		snprintf(buf, SVG_VALUE_MAX, "%.4g s", ns / 1e9);
	else if (ns >= 1e6)
		snprintf(buf, SVG_VALUE_MAX, "%.4g ms", ns / 1e6);
	else
		snprintf(buf, SVG_VALUE_MAX, "%.4g µs", ns / 1e3);
	return buf;
}

const char *svg_bytes(char buf[SVG_VALUE_MAX], double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	unsigned int i = 0;

	for (; bytes >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		bytes /= 1024;
	snprintf(buf, SVG_VALUE_MAX, "%.4g %s", bytes, units[i]);
	return buf;
}
