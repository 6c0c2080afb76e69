/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a VM can take the guest that a source has described in its HELLO. */
#ifndef FERRY_MIGRATION_COMPARE_H
#define FERRY_MIGRATION_COMPARE_H

#include "migration/destination.h"

/*
 * Compares the HELLO of @d with @vm, of which no more than vm_frame() and its devices is needed. Every
 * difference is added to @err; where there were reasons in it the guest is refused for those: -ENOTSUP.
 * -EINVAL for a HELLO that makes no sense.
 */
int __must_check compare_hello(struct destination *d, struct vm *vm, struct error *err);

#endif
