/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a limit of the process or of the host runs short: file descriptors, threads and addresses. */
#ifndef FERRY_VMM_SHORTAGE_H
#define FERRY_VMM_SHORTAGE_H

#include "vmm/log.h"

/* Says what can be done about @ret, the error of a call that makes a descriptor, a thread or a mapping, to be
 * put behind its text; "" where none of them is what is missing. */
const char *shortage_advice(int ret);

/* Raises this process's limit of descriptors to what its user is allowed at most. */
void shortage_raise_descriptors(void);

/* Whether @n more descriptors can be opened; where not, -EMFILE with how many are needed in all. */
int __must_check shortage_check_descriptors(unsigned int n, struct error *err);

#endif
