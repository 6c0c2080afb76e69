/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's pools of huge pages (hugetlb), which guest memory can come from: how many there are, and what to
 * do where they do not suffice. Any thread. */
#ifndef FERRY_VMM_HUGE_PAGES_H
#define FERRY_VMM_HUGE_PAGES_H

#include "vmm/log.h"

#define HUGE_PAGES_SYS "/sys"

/* The pages of one size. */
struct huge_pages {
	uint64_t all;
	uint64_t free; /* not promised to anybody, and those that the kernel may make beside */
};

/* Reads the pool of pages of @page_size bytes, of @node or of all nodes (-1), below @sys. -ENOENT: the kernel
 * has none of this size, or there is no such node; or -errno. */
int __must_check huge_pages_get(struct huge_pages *pool, const char *sys, uint64_t page_size, int node);

/* Whether @size bytes can be had in pages of @page_size bytes now: 0, -EINVAL where that is no whole number
 * of them, -ENOMEM where some are missing, or -errno; with how many, and what makes them, in @err. */
int huge_pages_check(const char *sys, uint64_t size, uint64_t page_size, int node, struct error *err);

/* Whether the kernel gives huge pages to shared memory that asks for them, outside of these pools. */
bool huge_pages_transparent(const char *sys);

/* Has core files of this process have huge pages, too, which the kernel leaves out by default. 0 or -errno.
 */
int __must_check huge_pages_dump(void);

#endif
