/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for a guest: how much there is, may be locked, and comes in huge pages; and file descriptors. */
#ifndef FERRY_VMM_HOST_HOST_MEMORY_H
#define FERRY_VMM_HOST_HOST_MEMORY_H

#include "vmm/host/host_look.h"

/*
 * Adds "memory", "memlock", "huge-pages", "hugetlb" and "descriptors"; sets the memory among the facts. After
 * host_nics_check(), whose NICs tell what a guest needs. Raises this process's own limits, as "run" does.
 */
void host_memory_check(struct host_report *r, const struct host_look *look);

#endif
