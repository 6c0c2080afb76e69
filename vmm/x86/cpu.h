/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a vCPU is on x86: CPUID, the registers it starts with, and its state in KVM's terms. */
#ifndef FERRY_VMM_X86_CPU_H
#define FERRY_VMM_X86_CPU_H

#include "vmm/state.h"
#include "vmm/vm.h"
#include "vmm/x86/boot.h"

/* VM-wide, before the first vCPU: TSS and identity map, interrupt controllers, the CPU model. */
int __must_check cpu_init_vm(struct vm *vm, struct error *err);
void cpu_exit_vm(struct vm *vm);

/* CPUID and clock rate of the VM's model, with this vCPU's topology and APIC id. The model is what KVM
 * supports here, and at a destination the source's from cpu_accept() on. */
int __must_check cpu_init_vcpu(struct vcpu *vcpu, struct error *err);

/* Registers of the first vCPU for @entry; the others wait for INIT and SIPI. */
int __must_check cpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct error *err);

/* Parts of vm_describe() and the like (vm.h). */
void cpu_describe(struct vm *vm, struct state_writer *w);
int __must_check cpu_accept(struct vm *vm, struct state_node *node);
int __must_check cpu_save_vm(struct vm *vm, struct state_writer *w, struct error *err);
int __must_check cpu_load_vm(struct vm *vm, struct state_node *node);
int __must_check cpu_save_vcpu(struct vcpu *vcpu, struct state_writer *w, struct error *err);
int __must_check cpu_load_vcpu(struct vcpu *vcpu, struct state_node *node);

#endif
