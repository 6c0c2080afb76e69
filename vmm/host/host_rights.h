/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the user may do here: whose control sockets there can be. */
#ifndef FERRY_VMM_HOST_HOST_RIGHTS_H
#define FERRY_VMM_HOST_HOST_RIGHTS_H

#include "vmm/host/host_look.h"

/* Adds "user" and "runtime-dir". */
void host_rights_check(struct host_report *r, const struct host_look *look);

#endif
