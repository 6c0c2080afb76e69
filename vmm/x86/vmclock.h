/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMClock: a page in the guest's memory from which the guest, or a program in it, learns that it was moved
 * (linux/vmclock-abi.h, Linux 6.13). What it says is the least that there is to say: a number that becomes
 * another with each move. No counter's rate is told.
 */
#ifndef FERRY_VMM_X86_VMCLOCK_H
#define FERRY_VMM_X86_VMCLOCK_H

#include "vmm/device.h"
#include "vmm/memory.h"

/* Owned by the caller. */
struct vmclock {
	struct device device; /* "vmclock" in the VM's list, which is the caller's to add it to */
	struct memory *memory;
};

/* Makes the device of the guest whose memory is @m, which need not be there yet. Nothing to undo. */
void vmclock_init(struct vmclock *v, struct memory *m);

/* Writes the page for a guest that is about to boot: it has a number that no guest has had. 0 or -errno, with
 * the reason. */
int __must_check vmclock_power_on(struct memory *m, struct error *err);

#endif
