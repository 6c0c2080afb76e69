/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory this host has, and how much of it a process may lock. */
#ifndef FERRY_VMM_LIMITS_H
#define FERRY_VMM_LIMITS_H

#include <stdint.h>

#include "vmm/log.h"

/* Memory of this host in bytes. */
struct limits_memory {
	uint64_t total;
	/* Memory that can be had without anything being swapped out, as the kernel estimates it. */
	uint64_t available;
};

#define LIMITS_MEMINFO "/proc/meminfo"

/* Reads @m from @path, LIMITS_MEMINFO. Where the file lacks the total, that is what sysinfo() says; where it
 * lacks what is available, that is the total. */
void limits_get_memory(struct limits_memory *m, const char *path);

/* How a guest has its memory. */
enum limits_use {
	/* Page by page, as the guest touches them; they can be swapped out. */
	LIMITS_LAZY,
	/* The whole of it from the start and for good, as devices pin it. */
	LIMITS_PINNED
};

/* Returns whether @m has room for a guest of @size bytes, where no --mem says that it is wanted: 0, or
 * -ENOMEM with the reason. */
int limits_check_memory(const struct limits_memory *m, uint64_t size, enum limits_use use, struct error *err);

/* Returns how many bytes this process has pinned for devices, 0 if that cannot be told. */
uint64_t limits_pinned(void);

/* Raises RLIMIT_MEMLOCK to @needed bytes, as far as that is allowed, and returns what the limit is then. */
uint64_t limits_raise_memlock(uint64_t needed);

/* Returns whether @size bytes could be pinned, as some devices need it, and raises RLIMIT_MEMLOCK for them as
 * limits_raise_memlock() does. 0, or -EPERM with what can be done. */
int limits_check_memlock(uint64_t size, struct error *err);

/* Returns whether this thread may run on each of the @n CPUs of the host (numbers below 1024), and so may
 * those that it starts: 0, or -errno with the reason. It runs where it did before afterwards. */
int __must_check limits_check_cpus(const uint16_t *cpus, unsigned int n, struct error *err);

#endif
