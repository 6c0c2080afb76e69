/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cpu.c and cpu_state.c share: the model of a VM's vCPUs. */
#ifndef FERRY_VMM_X86_CPU_PRIV_H
#define FERRY_VMM_X86_CPU_PRIV_H

#include <errno.h>

#include "vmm/x86/cpu.h"
#include "vmm/x86/cpuid.h"

#define CPU_XSAVE_LEN     4096u /* where KVM_CAP_XSAVE2 does not say more */
#define CPU_XSAVE_LEN_MAX 65536u
#define CPU_MAX_MSRS      96u
#define CPU_MAX_VCPUS     64u

/* As struct kvm_msrs, with room. */
struct cpu_msr_list {
	uint32_t nmsrs;
	uint32_t pad;
	struct kvm_msr_entry entries[CPU_MAX_MSRS];
};
_Static_assert(offsetof(struct cpu_msr_list, entries) == sizeof(struct kvm_msrs), "struct kvm_msrs");
_Static_assert(sizeof(struct kvm_msr_entry) == 16, "saved as it is");

/* What all vCPUs of a VM have in common. */
struct cpu_model {
	struct cpuid host;  /* what this host can offer */
	struct cpuid cpuid; /* what the guest has */
	uint32_t tsc_khz;
	bool tsc_scaled; /* runs at another rate than the host's */
	uint32_t xsave_len;
	uint64_t arch_capabilities;
	uint64_t tsc_offset[CPU_MAX_VCPUS]; /* the source's, while loading */
	unsigned int n_msrs;                /* that KVM has here, in the order of cpu_msrs */
	uint32_t msrs[CPU_MAX_MSRS];
	uint8_t xsave[CPU_XSAVE_LEN_MAX] __attribute__((aligned(64))); /* one vCPU's at a time */
};

/* For messages. */
static inline int cpu_failed(struct error *err, const char *what)
{
	return error_add(err, -errno, "%s failed: %s", what, strerror(errno));
}

const char *cpu_msr_name(uint32_t index);

/* cpu_clock.c: the VM's clock with the vCPUs' TSCs, in step with each other. */
int __must_check cpu_save_tsc(struct vcpu *vcpu, struct state_writer *w, struct error *err);
int __must_check cpu_load_tsc(struct vcpu *vcpu, struct state_node *node);
int __must_check cpu_save_clock(struct vm *vm, struct state_writer *w, struct error *err);
int __must_check cpu_load_clock(struct vm *vm, struct state_node *node);

/* Whether the MSR is among those of this VM. */
bool cpu_has_msr(const struct cpu_model *model, uint32_t index);

#endif
