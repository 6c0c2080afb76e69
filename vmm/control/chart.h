/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration's report as a picture: when each round went, how fast, what the guest wrote meanwhile, and what
 * its downtime was made of. SVG 1.1: shapes and text, no scripts and no references. */
#ifndef FERRY_VMM_CONTROL_CHART_H
#define FERRY_VMM_CONTROL_CHART_H

#include <stdio.h>

#include "vmm/log.h"

/* Bytes of a report that are read: some times what Ferry writes. */
#define CHART_INPUT_MAX 65536u

/*
 * Draws @len bytes of @text, a report as "--report" writes it, to @out. The text is a stranger's: numbers are
 * drawn whatever they are, and words as plain text. Returns 0, or -EINVAL where it is no report; nothing has
 * been drawn then. Whether @out took it all is the caller's to see. On any one thread.
 */
int __must_check chart_draw(FILE *out, const char *text, size_t len, struct error *err);

#endif
