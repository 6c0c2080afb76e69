/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first fault of a NIC is kept until its driver resets it. */
#include "devices/net/path.h"

#include <stdarg.h>
#include <stdio.h>

void net_path_fail(struct net_path *path, const char *fmt, ...)
{
	va_list ap;

	if (net_path_failed(path))
		return;
	va_start(ap, fmt);
	vsnprintf(path->fault, sizeof(path->fault), fmt, ap);
	va_end(ap);
}
