/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A report as another host's Ferry has printed it: text of a stranger. */
#ifndef FERRY_VMM_HOST_HOST_PARSE_H
#define FERRY_VMM_HOST_HOST_PARSE_H

#include "vmm/host/host_report.h"

/* Bytes of a report that is read. */
#define HOST_TEXT_MAX 262144u

/*
 * Reads what host_print_json() has printed, of this or another version of Ferry: members that are not known
 * are left out, and all that are known must be there. Every text is cleaned, and every number bounded.
 * @name: whose it is, for messages. -EINVAL with the reason; then @r is of no use. A CPU with features that
 * this Ferry does not know is no error: the facts have none then.
 */
int __must_check host_parse(struct host_report *r, const char *text, size_t len, const char *name,
			    struct error *err);

#endif
