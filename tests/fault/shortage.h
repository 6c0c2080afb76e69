/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts that run short: of descriptors, file size and memory that may be locked by the kernel's limits, and
 * of memory and threads by functions in the place of the C library's. */
#ifndef FERRY_TESTS_FAULT_SHORTAGE_H
#define FERRY_TESTS_FAULT_SHORTAGE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* Each next call for memory or for a thread of this process looks at *@left: 0, and there is some; n, and
 * from the n-th call on there is none; -n, and there is none for the n-th alone. */
void shortage_counts(_Atomic int *left);

enum shortage {
	SHORTAGE_DESCRIPTORS,
	SHORTAGE_MEMORY,
	SHORTAGE_LOCKED,
	SHORTAGE_DISK,
	SHORTAGE_FILES, /* in memory, too */
};

/* Brings it about for @pid, whose counter is @left; @place draws how soon it is felt. Any thread. */
void shortage_begin(enum shortage what, pid_t pid, _Atomic int *left, uint64_t place);
/* There is enough of everything again. */
void shortage_end(pid_t pid, _Atomic int *left);

#endif
