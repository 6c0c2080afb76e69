/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each host's time of day, which an operator or NTP sets: clock_gettime() of this program, in the place of
 * the C library's. */
#ifndef FERRY_TESTS_FAULT_CLOCK_H
#define FERRY_TESTS_FAULT_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* From here on this process's time of day is wrong by *@ns, whenever that changes. */
void clock_is_set_by(const _Atomic int64_t *ns);

#endif
