/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a VM's vCPUs, which all of them have in common: CPUID, MSRs, the clock's rate. Used by one
 * thread at a time. */
#ifndef FERRY_VMM_X86_CPU_MODEL_H
#define FERRY_VMM_X86_CPU_MODEL_H

#include "vmm/kvm.h"
#include "vmm/x86/cpuid.h"

/* The size of struct kvm_xsave, which is all where KVM_CAP_XSAVE2 does not say more. */
#define CPU_XSAVE_LEN 4096u
/* A bound for it: all of AVX-512 and AMX takes 11 KiB. */
#define CPU_XSAVE_LEN_MAX 65536u
/* A bound for the number of MSRs that are carried, see cpu_model.c. */
#define CPU_MAX_MSRS 96u
/* As many as CONFIG_MAX_CPUS, to which a source's guest is held, too. */
#define CPU_MAX_VCPUS 64u

#define CPU_MSR_ARCH_CAPABILITIES 0x10au
#define CPU_MSR_MTRR_DEF_TYPE     0x2ffu
#define CPU_MSR_TSC_DEADLINE      0x6e0u

/* A struct kvm_msrs with its entries. */
struct cpu_msr_list {
	uint32_t nmsrs;
	uint32_t pad;
	struct kvm_msr_entry entries[CPU_MAX_MSRS];
};
_Static_assert(offsetof(struct cpu_msr_list, entries) == sizeof(struct kvm_msrs), "struct kvm_msrs");
_Static_assert(sizeof(struct kvm_msr_entry) == 16, "entries are saved as they are");

struct cpu_model {
	const struct kvm *kvm;
	unsigned int n_vcpus;
	/* CPUID that this host can offer, and that the guest has. */
	struct cpuid host;
	struct cpuid cpuid;
	/* The guest's rate, and whether it is another than the host's. */
	uint32_t tsc_khz;
	bool tsc_scaled;
	uint32_t xsave_len;
	/* The guest's, see cpu_apply(): fewer than the host's where the guest was limited to fewer. */
	uint64_t arch_capabilities;
	bool limited;
	/* The offset of each vCPU at the source, between loading the vCPUs and the clock. */
	uint64_t tsc_offset[CPU_MAX_VCPUS];
	/* The MSRs that KVM has on this host, or those of them that the guest can have, in the order in which
	 * they are set. */
	unsigned int n_msrs;
	uint32_t msrs[CPU_MAX_MSRS];
	/* Room for one vCPU's at a time. */
	uint8_t xsave[CPU_XSAVE_LEN_MAX] __attribute__((aligned(64)));
};

/* Makes a model for @n_vcpus vCPUs that offers what KVM supports on this host. After kvm_open(). -errno with
 * one message in @err. */
int __must_check cpu_model_create(struct cpu_model **model, const struct kvm *kvm, unsigned int n_vcpus,
				  struct error *err);
void cpu_model_destroy(struct cpu_model *model);

/* Finds the clock's rate and the MSRs that are there, once, on a vCPU as KVM made it: so nothing has to be
 * found out while a guest stands still. */
void cpu_model_probe(struct cpu_model *model, int vcpu_fd);

/*
 * Limits the guest to @offer, after cpu_model_probe(). MSRs that go with features which the guest does not
 * have are carried no more. -ENOTSUP with all that the host lacks by name; then the model is as before.
 */
int __must_check cpu_model_limit(struct cpu_model *model, const struct cpuid_offer *offer, struct error *err);

/* Returns what the guest has, for other hosts to be compared with. */
void cpu_model_get_offer(const struct cpu_model *model, struct cpuid_offer *offer);

/* Takes a source's @n MSRs for those of the guest: of those that are here, the others are carried no more. */
void cpu_model_keep_msrs(struct cpu_model *model, const uint32_t *msrs, unsigned int n);

/* Returns whether the MSR is among those of this model. */
bool cpu_has_msr(const struct cpu_model *model, uint32_t index);

/* Returns the name of an MSR for messages; "unknown" if Ferry does not carry it. */
const char *cpu_msr_name(uint32_t index);

#endif
