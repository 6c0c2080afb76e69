/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of a VM in the text format of Prometheus (exposition format 0.0.4): a family of samples after the
 * other, each with its HELP and TYPE before it. Plain data, one thread.
 */
#ifndef FERRY_VMM_METRICS_H
#define FERRY_VMM_METRICS_H

#include "vmm/control/json.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE };

struct metrics_family {
	const char *name; /* with "ferry_" before it; a counter's ends in "_total" */
	const char *help; /* a line, without a backslash */
	enum metrics_type type;
};

struct metrics {
	struct json_text text;
	const char *vm; /* its name, which every sample has as a label */
	const struct metrics_family *family;
};

/* Begins a text in @buf, which is large enough for all of it, which the caller sees to. */
void metrics_begin(struct metrics *m, const char *vm, char *buf, size_t size);

/* Adds a sample; samples of a family follow one another. The labels are given as pairs of a name and a value,
 * which are words without quotes; a NULL name ends them. */
struct metrics_label {
	const char *name, *value;
};
#define METRICS_LABELS(...) ((const struct metrics_label[]){ __VA_ARGS__{ NULL, NULL } })
void metrics_add(struct metrics *m, const struct metrics_family *family, const struct metrics_label *labels,
		 uint64_t value);
/* The same of a time, in seconds. */
void metrics_add_ns(struct metrics *m, const struct metrics_family *family,
		    const struct metrics_label *labels, uint64_t ns);

#endif
