/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest of a few instructions, which shows whether this host's KVM runs what kernels are made of. */
#ifndef FERRY_VMM_TRIAL_H
#define FERRY_VMM_TRIAL_H

#include "vmm/log.h"

/*
 * Makes a VM, has it execute an instruction that Linux uses where the CPU has it, and that is hardware's
 * alone: a KVM which emulates what guests execute knows the older ones only. Any thread. -errno with the
 * reason; all that a VM needs is there otherwise.
 */
int __must_check trial_run(struct error *err);

#endif
