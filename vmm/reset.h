/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's beginning: what a guest finds in its memory and its first vCPU when it boots, and how one that
 * asks for a reset is made to boot again in place. All of it on the main thread.
 */
#ifndef FERRY_VMM_RESET_H
#define FERRY_VMM_RESET_H

#include "vmm/vm.h"

struct boot_entry;

/* Puts firmware's tables into memory, which has what boot_load() has put there and reads as zero but for
 * that, and sets the first vCPU's registers for @entry. -errno with the reason. */
int __must_check reset_enter(struct vm *vm, const struct boot_entry *entry, struct error *err);

struct reset {
	struct vm *vm;
	/* An eventfd, the gate's reset_fd; -1: resets end the VM. */
	struct loop_source due;
	enum memory_clear how;
	struct log_limit log_limit;
};

/*
 * Has a guest that asks for a reset start again, from now on: devices, memory, which is emptied as @how says,
 * and vCPUs are as at power-on then, and it boots from @vm->boot. A migration that is under way is given up
 * first (gate.h). It is the VM's end where the guest cannot start again, or @vm->boot is not known.
 *
 * After vm_frame() and before vCPUs run; they are to have vm_keep_power_on() by the time that they do. -errno
 * with the reason. reset_exit() comes after gate_stop(), also for one with fd -1 that was never begun.
 */
int __must_check reset_init(struct reset *r, struct vm *vm, enum memory_clear how, struct error *err);
void reset_exit(struct reset *r);

#endif
