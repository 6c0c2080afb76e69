/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a VM's vCPUs: CPUID, MSRs, the clock's rate. */
#include "vmm/x86/cpu_model.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmm/config.h"

_Static_assert(CPU_MAX_VCPUS >= CONFIG_MAX_CPUS, "room for each vCPU's TSC offset");

#define MSR_IA32_TSC               0x10u
#define MSR_IA32_ARCH_CAPABILITIES 0x10au
#define MSR_IA32_MISC_ENABLE       0x1a0u

/*
 * The MSRs that belong to the features of cpuid_features.c, in the order in which they are set: the TSC
 * before what is relative to it. EFER, the segment bases and the APIC base are in sregs2. The wall clock is
 * left out, because setting it makes KVM write to guest memory and nobody reads its value, and so is the old
 * kvm-clock MSR, which is the new one's twin.
 */
static const struct cpu_msr {
	uint32_t index;
	const char *name;
} cpu_msrs[] = {
	{ MSR_IA32_TSC, "TSC" },
	{ 0x3b, "TSC_ADJUST" },
	{ 0x3a, "FEATURE_CONTROL" },
	{ MSR_IA32_ARCH_CAPABILITIES, "ARCH_CAPABILITIES" },
	{ 0x8b, "UCODE_REV" },
	{ 0xce, "PLATFORM_INFO" },
	{ 0x140, "MISC_FEATURES_ENABLES" },
	{ MSR_IA32_MISC_ENABLE, "MISC_ENABLE" },
	{ 0x1fc, "POWER_CTL" },
	{ 0xc0010015, "HWCR" },
	{ 0x48, "SPEC_CTRL" },
	{ 0xc001011f, "VIRT_SPEC_CTRL" },
	{ 0x122, "TSX_CTRL" },
	{ 0xe1, "UMWAIT_CONTROL" },
	{ 0x174, "SYSENTER_CS" },
	{ 0x175, "SYSENTER_ESP" },
	{ 0x176, "SYSENTER_EIP" },
	{ 0xc0000081, "STAR" },
	{ 0xc0000082, "LSTAR" },
	{ 0xc0000083, "CSTAR" },
	{ 0xc0000084, "SYSCALL_MASK" },
	{ 0xc0000102, "KERNEL_GS_BASE" },
	{ 0xc0000103, "TSC_AUX" },
	{ 0x1d9, "DEBUGCTL" },
	{ 0x1db, "LAST_BRANCH_FROM_IP" },
	{ 0x1dc, "LAST_BRANCH_TO_IP" },
	{ 0x1dd, "LAST_INT_FROM_IP" },
	{ 0x1de, "LAST_INT_TO_IP" },
	{ 0x277, "PAT" },
	{ 0x200, "MTRR_PHYS_BASE0" },
	{ 0x201, "MTRR_PHYS_MASK0" },
	{ 0x202, "MTRR_PHYS_BASE1" },
	{ 0x203, "MTRR_PHYS_MASK1" },
	{ 0x204, "MTRR_PHYS_BASE2" },
	{ 0x205, "MTRR_PHYS_MASK2" },
	{ 0x206, "MTRR_PHYS_BASE3" },
	{ 0x207, "MTRR_PHYS_MASK3" },
	{ 0x208, "MTRR_PHYS_BASE4" },
	{ 0x209, "MTRR_PHYS_MASK4" },
	{ 0x20a, "MTRR_PHYS_BASE5" },
	{ 0x20b, "MTRR_PHYS_MASK5" },
	{ 0x20c, "MTRR_PHYS_BASE6" },
	{ 0x20d, "MTRR_PHYS_MASK6" },
	{ 0x20e, "MTRR_PHYS_BASE7" },
	{ 0x20f, "MTRR_PHYS_MASK7" },
	{ 0x250, "MTRR_FIX64K_00000" },
	{ 0x258, "MTRR_FIX16K_80000" },
	{ 0x259, "MTRR_FIX16K_A0000" },
	{ 0x268, "MTRR_FIX4K_C0000" },
	{ 0x269, "MTRR_FIX4K_C8000" },
	{ 0x26a, "MTRR_FIX4K_D0000" },
	{ 0x26b, "MTRR_FIX4K_D8000" },
	{ 0x26c, "MTRR_FIX4K_E0000" },
	{ 0x26d, "MTRR_FIX4K_E8000" },
	{ 0x26e, "MTRR_FIX4K_F0000" },
	{ 0x26f, "MTRR_FIX4K_F8000" },
	{ CPU_MSR_MTRR_DEF_TYPE, "MTRR_DEF_TYPE" },
	{ 0x4b564d01, "KVM_SYSTEM_TIME" },
	{ 0x4b564d06, "KVM_ASYNC_PF_INT" },
	{ 0x4b564d02, "KVM_ASYNC_PF_EN" },
	{ 0x4b564d03, "KVM_STEAL_TIME" },
	{ 0x4b564d04, "KVM_PV_EOI_EN" },
	{ 0x4b564d05, "KVM_POLL_CONTROL" },
	{ CPU_MSR_TSC_DEADLINE, "TSC_DEADLINE" },
};
_Static_assert(ARRAY_SIZE(cpu_msrs) <= CPU_MAX_MSRS, "room for all MSRs");

int cpu_model_create(struct cpu_model **out, const struct kvm *kvm, unsigned int n_vcpus, struct error *err)
{
	struct cpu_model *model = calloc(1, sizeof(*model));
	int len = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), ret;

	if (!model) {
		error_add(err, "cannot allocate the CPU model");
		return -ENOMEM;
	}
	model->kvm = kvm;
	model->n_vcpus = n_vcpus;
	model->xsave_len = len > (int)CPU_XSAVE_LEN ? (uint32_t)len : CPU_XSAVE_LEN;
	if (model->xsave_len > CPU_XSAVE_LEN_MAX) {
		error_add(err, "this host's CPU has %d bytes of extended registers, Ferry takes %u", len,
			  CPU_XSAVE_LEN_MAX);
		ret = -ENOTSUP;
	} else
		ret = cpuid_init(&model->host, kvm->fd, err);
	if (ret < 0) {
		free(model);
		return ret;
	}
	model->cpuid = model->host;
	*out = model;
	return 0;
}

void cpu_model_destroy(struct cpu_model *model)
{
	free(model);
}

/* Returns whether KVM has the MSR on this host: KVM lets it be read, and set to what was read. */
static bool cpu_probe_msr(int vcpu_fd, uint32_t index, uint64_t *value)
{
	struct cpu_msr_list list = { .nmsrs = 1, .entries[0].index = index };

	if (ioctl(vcpu_fd, KVM_GET_MSRS, &list) != 1)
		return false;
	*value = list.entries[0].data;
	/* Setting the TSC would start it anew. */
	return index == MSR_IA32_TSC || ioctl(vcpu_fd, KVM_SET_MSRS, &list) == 1;
}

void cpu_model_probe(struct cpu_model *model, int vcpu_fd)
{
	int khz = ioctl(vcpu_fd, KVM_GET_TSC_KHZ, 0);

	model->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_msrs); i++) {
		uint64_t value;

		if (!cpu_probe_msr(vcpu_fd, cpu_msrs[i].index, &value))
			continue;
		model->msrs[model->n_msrs++] = cpu_msrs[i].index;
		if (cpu_msrs[i].index == MSR_IA32_ARCH_CAPABILITIES)
			model->arch_capabilities = value;
	}
}

bool cpu_has_msr(const struct cpu_model *model, uint32_t index)
{
	for (unsigned int i = 0; i < model->n_msrs; i++) {
		if (model->msrs[i] == index)
			return true;
	}
	return false;
}

const char *cpu_msr_name(uint32_t index)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_msrs); i++) {
		if (cpu_msrs[i].index == index)
			return cpu_msrs[i].name;
	}
	return "unknown";
}
