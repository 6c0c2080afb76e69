/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel has for confining processes, and for TLS. */
#ifndef FERRY_VMM_HOST_HOST_SANDBOX_H
#define FERRY_VMM_HOST_HOST_SANDBOX_H

#include "vmm/host/host_look.h"

/* Adds "landlock", "seccomp", "user-namespaces" and "kernel-tls". */
void host_sandbox_check(struct host_report *r, const struct host_look *look);

/* Adds "landlock" by the version of its interface, or the -errno of asking for it. */
void host_sandbox_judge_landlock(struct host_report *r, int abi);

#endif
