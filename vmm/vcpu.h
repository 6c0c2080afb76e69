/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual CPU: one thread that runs the guest with KVM and serves what makes it leave the guest. What the
 * CPU is like, and its state, are vmm/x86's.
 */
#ifndef FERRY_VMM_VCPU_H
#define FERRY_VMM_VCPU_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/gate.h"

struct bus;
struct error;
struct kvm;

struct vcpu {
	/* The owner sets these before vcpu_init(); what they point to is there as long as the vCPU. */
	struct kvm *kvm;
	struct gate *gate;
	struct bus *pio;
	struct bus *mmio;
	unsigned int index;
	/* The one of the host's that it runs on; -1: any. Before vcpu_start(). */
	int host_cpu;
	/* -1 where there is no vCPU yet. */
	int fd;
	/* Shared with KVM. */
	struct kvm_run *run;
	size_t run_size;
	struct gate_thread thread;
};

/* Creates KVM's vCPU, whose registers are unset, and undoes it: after gate_stop(), also where there is no
 * vCPU. -errno with one message in @err. */
int __must_check vcpu_init(struct vcpu *vcpu, struct error *err);
void vcpu_exit(struct vcpu *vcpu);

/* Starts the vCPU's thread, which waits at the gate and goes until the VM's end. */
int __must_check vcpu_start(struct vcpu *vcpu, struct error *err);

/*
 * Enters guest memory [gpa, gpa + len), whole pages that have passed memory_at(), into KVM's second-level
 * page tables, which all vCPUs share: a guest that has just arrived would else take a fault for every page
 * that it touches first. Allocates what is not there yet. Linux 6.11; nothing where KVM cannot, or does not
 * have that memory yet. Before the vCPUs run.
 */
void vcpu_prefault(struct vcpu *vcpu, uint64_t gpa, uint64_t len);

#endif
