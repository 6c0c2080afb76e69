/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU of x86 as it starts, and whether a peer's guest can run on those of this host. */
#ifndef FERRY_VMM_X86_CPU_H
#define FERRY_VMM_X86_CPU_H

#include "vmm/util.h"

struct boot_entry;
struct cpu_model;
struct error;
struct kvm;
struct state_node;
struct state_writer;
struct vcpu;

/* Prepares KVM's VM before its first vCPU: TSS and identity map, interrupt controllers, no performance
 * counters. -errno with what the host's KVM lacks or refuses. */
int __must_check cpu_init_vm(const struct kvm *kvm, struct error *err);

/* Makes a vCPU what the model says, with MTRRs as firmware would leave them. The first one also tells the
 * model what vCPUs have on this host. After vcpu_init(). */
int __must_check cpu_init_vcpu(struct cpu_model *model, struct vcpu *vcpu, struct error *err);

/* Sets the CPUID and the clock's rate of the model, with this vCPU's topology and APIC id: again after
 * cpu_accept(), for vCPUs that are there already and have not run. */
int __must_check cpu_apply(const struct cpu_model *model, struct vcpu *vcpu, struct error *err);

/* Registers of the first vCPU for @entry; the others wait for INIT and SIPI. */
int __must_check cpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct error *err);

/*
 * The model as part of vm_describe() and vm_accept() (vm.h). Where cpu_accept() returns 0 the model is the
 * source's. -EINVAL with every reason against it, features and MSRs by name; then the model is as before.
 */
void cpu_describe(const struct cpu_model *model, struct state_writer *w);
int __must_check cpu_accept(struct cpu_model *model, struct state_node *node);

#endif
