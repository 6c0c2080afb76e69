/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The word that somebody may have meant who typed another. Plain functions, any thread. */
#ifndef FERRY_VMM_NEAREST_H
#define FERRY_VMM_NEAREST_H

#include <stddef.h>

/* Longer texts are no slip of the finger, and near nothing. */
#define NEAREST_MAX 32u

/* A search for what is nearest to the first @len characters of @text. */
struct nearest {
	const char *text;
	size_t len;
	const char *word; /* the nearest so far that is near enough; NULL: none */
	unsigned int distance;
};

void nearest_begin(struct nearest *n, const char *text, size_t len);

/*
 * Compares @word, which stays the caller's. It is near enough if it begins with the text, which has two
 * characters at least, or if one character of three or more is wrong, missing, too many or swapped with the
 * next; two are, of six or more. The first one of those that are as near is kept.
 */
void nearest_try(struct nearest *n, const char *word);

#endif
