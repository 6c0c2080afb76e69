/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A report that a stranger wrote, drawn: "ferry report FILE". What comes out is a picture as a whole or
 * nothing, and plain text but for its own elements: no word of the report's begins one, ends one, or commands
 * a terminal.
 */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "vmm/control/chart.h"
#include "vmm/text.h"

static const char head[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
static const char tail[] = "</svg>\n";

/* Elements open and close in turn, and there are no others than a picture's. */
static void check_elements(const char *xml)
{
	static const char *const names[] = { "svg",  "rect", "text",     "line", "title",
					     "path", "g",    "polyline", "tspan" };
	unsigned int depth = 0;

	for (const char *at = strchr(xml, '<'); at; at = strchr(at, '<')) {
		const char *end = strchr(++at, '>');
		bool known = false, closes = *at == '/';

		assert(end);
		for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
			size_t len = strlen(names[i]);

			known |= strncmp(at + closes, names[i], len) == 0 && strchr(" />", at[closes + len]);
		}
		assert(known && !memchr(at, '<', (size_t)(end - at)));
		if (closes)
			assert(depth-- > 0);
		else
			depth += end[-1] != '/';
		at = end;
	}
	assert(depth == 0);
}

static void check_text(const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		unsigned int n = *text == '\n' ? 1 : text_plain_len(text, end);

		assert(n > 0);
		text += n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct error err = { 0 };
	char *drawn = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&drawn, &n);
	int ret;

	assert(out);
	ret = chart_draw(out, (const char *)data, len, &err);
	assert(fclose(out) == 0);
	assert((ret == 0) == (n > 0) && (ret == 0) == !err.text[0]);
	if (ret == 0) {
		assert(strlen(drawn) == n && strncmp(drawn, head, strlen(head)) == 0);
		assert(strcmp(drawn + n - strlen(tail), tail) == 0);
		check_elements(drawn + strlen(head));
		check_text(drawn, n);
	}
	free(drawn);
	return 0;
}
