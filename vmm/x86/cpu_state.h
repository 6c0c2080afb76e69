/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State that KVM holds of vCPUs, interrupt controllers and the clock, as part of vm_save() and vm_load()
 * (vm.h). vCPUs are stopped; used by one thread at a time. */
#ifndef FERRY_VMM_X86_CPU_STATE_H
#define FERRY_VMM_X86_CPU_STATE_H

#include "vmm/util.h"

struct cpu_model;
struct error;
struct state_node;
struct state_writer;
struct vcpu;

/* Save and load one vCPU, in a node of its own. Loading names the part that KVM refuses. */
int __must_check cpu_save_vcpu(struct cpu_model *model, struct vcpu *vcpu, struct state_writer *w,
			       struct error *err);
int __must_check cpu_load_vcpu(struct cpu_model *model, struct vcpu *vcpu, struct state_node *node);

/*
 * Save and load what there is once in a VM. Loading comes after all vCPUs of the model, @vcpus: the IOAPIC's
 * pending interrupts go to their local APICs, and the clock starts last.
 */
int __must_check cpu_save_vm(const struct cpu_model *model, struct state_writer *w, struct error *err);
int __must_check cpu_load_vm(const struct cpu_model *model, const struct vcpu *vcpus,
			     struct state_node *node);

#endif
