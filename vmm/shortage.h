/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of the process or of the host that are reached: file descriptors, threads and addresses.
 * Any thread. */
#ifndef FERRY_VMM_SHORTAGE_H
#define FERRY_VMM_SHORTAGE_H

#include "vmm/log.h"

/* Returns what can be done about @ret, the error of a call that makes a descriptor, a thread or a mapping, as
 * text to be put behind the message; "" where none of them is what is missing. */
const char *shortage_advice(int ret);

/* Raises this process's limit of descriptors to what its user is allowed at most. */
void shortage_raise_descriptors(void);

/* Checks whether @n more descriptors can be opened. 0, or -EMFILE with how many are needed in all. */
int __must_check shortage_check_descriptors(unsigned int n, struct error *err);

#endif
