/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host's report for a person, and as JSON for programs and for the other end. */
#ifndef FERRY_VMM_HOST_HOST_PRINT_H
#define FERRY_VMM_HOST_HOST_PRINT_H

#include <stdio.h>

#include "vmm/host/host_report.h"

/* The form that --json has, which ferry(1) documents. A change that takes something away raises it. */
#define HOST_FORM 1u

/* A line for each check, and below it what to do. */
void host_print_text(const struct host_report *r, FILE *out);

/* One object, on one line. */
void host_print_json(const struct host_report *r, FILE *out);

#endif
