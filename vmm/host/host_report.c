/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host's checks, one after the other. */
#include "vmm/host/host_report.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmm/text.h"

const char *const host_state_names[HOST_STATES] = { "ok", "info", "warn", "fail" };

void host_report_add(struct host_report *r, enum host_state state, const char *name, const char *advice,
		     const char *fmt, ...)
{
	struct host_check *check = &r->checks[r->n_checks];
	va_list args;

	r->n_fails += state == HOST_FAIL;
	if (r->n_checks == HOST_MAX_CHECKS)
		return;
	r->n_checks++;
	check->state = state;
	snprintf(check->name, sizeof(check->name), "%s", name);
	snprintf(check->advice, sizeof(check->advice), "%s", advice);
	va_start(args, fmt);
	vsnprintf(check->found, sizeof(check->found), fmt, args);
	va_end(args);
	text_clean(check->name, strlen(check->name));
	text_clean(check->found, strlen(check->found));
	text_clean(check->advice, strlen(check->advice));
}

const struct host_check *host_report_find(const struct host_report *r, const char *name)
{
	for (unsigned int i = 0; i < r->n_checks; i++) {
		if (strcmp(r->checks[i].name, name) == 0)
			return &r->checks[i];
	}
	return NULL;
}
