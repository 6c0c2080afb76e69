/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nearest word: optimal string alignment, over three rows of its table. */
#include "vmm/nearest.h"

#include <string.h>

#include "vmm/util.h"

void nearest_begin(struct nearest *n, const char *text, size_t len)
{
	*n = (struct nearest){ .text = text, .len = len };
	/* The most that is near enough, and one more. */
	n->distance = len >= 6 ? 3 : len >= 3 ? 2 : 1;
	if (len > NEAREST_MAX)
		n->distance = 0;
}

static unsigned int nearest_min(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* How many characters have to be changed, put in, taken out, or swapped with their neighbour. Both lengths
 * are NEAREST_MAX at most. */
static unsigned int nearest_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned int rows[3][NEAREST_MAX + 1];
	unsigned int *before = rows[0], *above = rows[1], *row = rows[2];

	for (unsigned int j = 0; j <= b_len; j++)
		above[j] = j;
	for (unsigned int i = 1; i <= a_len; i++) {
		unsigned int *old = before;

		row[0] = i;
		for (unsigned int j = 1; j <= b_len; j++) {
			unsigned int changed = above[j - 1] + (a[i - 1] != b[j - 1]);

			row[j] = nearest_min(changed, nearest_min(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = nearest_min(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = old;
	}
	return above[b_len];
}

void nearest_try(struct nearest *n, const char *word)
{
	size_t len = strlen(word);
	unsigned int distance;

	if (n->distance == 0 || len > NEAREST_MAX)
		return;
	distance = nearest_distance(n->text, n->len, word, len);
	/* What was not typed to its end is nearer than any slip. */
	if (n->len >= 2 && n->len < len && strncmp(n->text, word, n->len) == 0)
		distance = 0;
	if (distance < n->distance) {
		n->distance = distance;
		n->word = word;
	}
}
