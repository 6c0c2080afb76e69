/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Samples in the text format of Prometheus. */
#include "vmm/metrics.h"

#include <inttypes.h>

void metrics_begin(struct metrics *m, const char *vm, char *buf, size_t size)
{
	*m = (struct metrics){ .text = { .buf = buf, .size = size }, .vm = vm };
	buf[0] = '\0';
}

/* Writes a sample up to its value, with the family's head where it is the first. */
static void metrics_head(struct metrics *m, const struct metrics_family *family,
			 const struct metrics_label *labels)
{
	if (m->family != family)
		json_put(&m->text, "# HELP ferry_%s %s\n# TYPE ferry_%s %s\n", family->name, family->help,
			 family->name, family->type == METRICS_COUNTER ? "counter" : "gauge");
	m->family = family;
	json_put(&m->text, "ferry_%s{vm=\"%s\"", family->name, m->vm);
	for (; labels->name; labels++)
		json_put(&m->text, ",%s=\"%s\"", labels->name, labels->value);
}

void metrics_add(struct metrics *m, const struct metrics_family *family, const struct metrics_label *labels,
		 uint64_t value)
{
	metrics_head(m, family, labels);
	json_put(&m->text, "} %" PRIu64 "\n", value);
}

void metrics_add_ns(struct metrics *m, const struct metrics_family *family,
		    const struct metrics_label *labels, uint64_t ns)
{
	metrics_head(m, family, labels);
	json_put(&m->text, "} %" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}
