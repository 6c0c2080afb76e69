/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual CPU: one thread, the KVM_RUN loop, and the way in and out of it. */
#ifndef FERRY_VMM_VCPU_H
#define FERRY_VMM_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

#include "vmm/log.h"

struct vm;

struct vcpu {
	struct vm *vm;
	unsigned int index;
	int fd;
	struct kvm_run *run; /* shared with KVM */
	size_t run_size;
	pthread_t thread;
	bool started; /* vm->lock */
};

/* The signal that takes a vCPU's thread out of KVM_RUN. */
#define VCPU_SIGNAL (SIGRTMIN)

/* Creates the KVM vCPU; vcpu_start() its thread, which parks until vm_resume(); vcpu_join() after vm_end()
 * waits for the thread's end, if there is one; vcpu_exit() comes last. */
int __must_check vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, struct error *err);
int __must_check vcpu_start(struct vcpu *vcpu, struct error *err);
void vcpu_join(struct vcpu *vcpu);
void vcpu_exit(struct vcpu *vcpu);

/*
 * Makes the started thread leave the guest soon, finish an access that is half done, and look at the VM's
 * state, which has been changed before. Any thread.
 */
void vcpu_kick(struct vcpu *vcpu);

#endif
