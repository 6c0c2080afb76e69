/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual CPU: one thread, the KVM_RUN loop, and the way in and out of it. */
#ifndef FERRY_VMM_VCPU_H
#define FERRY_VMM_VCPU_H

#include <linux/kvm.h>
#include <stdint.h>

#include "vmm/gate.h"
#include "vmm/log.h"

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned int index;
	int fd;
	struct kvm_run *run; /* shared with KVM */
	size_t run_size;
	struct gate_thread thread;
};

/* Creates the KVM vCPU; vcpu_start() its thread, which waits at the gate; vcpu_exit() comes after
 * gate_stop(). */
int __must_check vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, struct error *err);
int __must_check vcpu_start(struct vcpu *vcpu, struct error *err);
void vcpu_exit(struct vcpu *vcpu);

#endif
