/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model of a VM's vCPUs: CPUID, MSRs, the clock's rate. */
#include "vmm/x86/cpu_model.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmm/config.h"

_Static_assert(CPU_MAX_VCPUS >= CONFIG_MAX_CPUS, "room for each vCPU's TSC offset");

#define MSR_IA32_TSC         0x10u
#define MSR_IA32_TSX_CTRL    0x122u
#define MSR_IA32_MISC_ENABLE 0x1a0u

/* IA32_ARCH_CAPABILITIES: there is an IA32_TSX_CTRL. */
#define ARCH_CAP_TSX_CTRL ((uint64_t)1 << 7)

/*
 * The MSRs that belong to the features of cpuid_features.c, in the order in which they are set: the TSC
 * before what is relative to it. EFER, the segment bases and the APIC base are in sregs2. The wall clock is
 * left out, because setting it makes KVM write to guest memory and nobody reads its value, and so is the old
 * kvm-clock MSR, which is the new one's twin.
 */
static const struct cpu_msr {
	uint32_t index;
	char name[28];
	/* KVM has it only for a guest with one of these features; NULL: for every guest. */
	const char *features;
} cpu_msrs[] = {
	{ MSR_IA32_TSC, "TSC", NULL },
	{ 0x3b, "TSC_ADJUST", "tsc_adjust" },
	{ 0x3a, "FEATURE_CONTROL", NULL },
	{ CPU_MSR_ARCH_CAPABILITIES, "ARCH_CAPABILITIES", "arch_capabilities" },
	{ 0x8b, "UCODE_REV", NULL },
	{ 0xce, "PLATFORM_INFO", NULL },
	{ 0x140, "MISC_FEATURES_ENABLES", NULL },
	{ MSR_IA32_MISC_ENABLE, "MISC_ENABLE", NULL },
	{ 0x1fc, "POWER_CTL", NULL },
	{ 0xc0010015, "HWCR", NULL },
	{ 0x48, "SPEC_CTRL", "spec_ctrl intel_stibp spec_ctrl_ssbd amd_ibrs amd_stibp amd_ssbd" },
	{ 0xc001011f, "VIRT_SPEC_CTRL", "virt_ssbd" },
	{ 0x122, "TSX_CTRL", "arch_capabilities" },
	{ 0xe1, "UMWAIT_CONTROL", "waitpkg" },
	{ 0x174, "SYSENTER_CS", NULL },
	{ 0x175, "SYSENTER_ESP", NULL },
	{ 0x176, "SYSENTER_EIP", NULL },
	{ 0xc0000081, "STAR", NULL },
	{ 0xc0000082, "LSTAR", NULL },
	{ 0xc0000083, "CSTAR", NULL },
	{ 0xc0000084, "SYSCALL_MASK", NULL },
	{ 0xc0000102, "KERNEL_GS_BASE", NULL },
	{ 0xc0000103, "TSC_AUX", "rdtscp rdpid" },
	{ 0x1d9, "DEBUGCTL", NULL },
	{ 0x1db, "LAST_BRANCH_FROM_IP", NULL },
	{ 0x1dc, "LAST_BRANCH_TO_IP", NULL },
	{ 0x1dd, "LAST_INT_FROM_IP", NULL },
	{ 0x1de, "LAST_INT_TO_IP", NULL },
	{ 0x277, "PAT", NULL },
	{ 0x200, "MTRR_PHYS_BASE0", NULL },
	{ 0x201, "MTRR_PHYS_MASK0", NULL },
	{ 0x202, "MTRR_PHYS_BASE1", NULL },
	{ 0x203, "MTRR_PHYS_MASK1", NULL },
	{ 0x204, "MTRR_PHYS_BASE2", NULL },
	{ 0x205, "MTRR_PHYS_MASK2", NULL },
	{ 0x206, "MTRR_PHYS_BASE3", NULL },
	{ 0x207, "MTRR_PHYS_MASK3", NULL },
	{ 0x208, "MTRR_PHYS_BASE4", NULL },
	{ 0x209, "MTRR_PHYS_MASK4", NULL },
	{ 0x20a, "MTRR_PHYS_BASE5", NULL },
	{ 0x20b, "MTRR_PHYS_MASK5", NULL },
	{ 0x20c, "MTRR_PHYS_BASE6", NULL },
	{ 0x20d, "MTRR_PHYS_MASK6", NULL },
	{ 0x20e, "MTRR_PHYS_BASE7", NULL },
	{ 0x20f, "MTRR_PHYS_MASK7", NULL },
	{ 0x250, "MTRR_FIX64K_00000", NULL },
	{ 0x258, "MTRR_FIX16K_80000", NULL },
	{ 0x259, "MTRR_FIX16K_A0000", NULL },
	{ 0x268, "MTRR_FIX4K_C0000", NULL },
	{ 0x269, "MTRR_FIX4K_C8000", NULL },
	{ 0x26a, "MTRR_FIX4K_D0000", NULL },
	{ 0x26b, "MTRR_FIX4K_D8000", NULL },
	{ 0x26c, "MTRR_FIX4K_E0000", NULL },
	{ 0x26d, "MTRR_FIX4K_E8000", NULL },
	{ 0x26e, "MTRR_FIX4K_F0000", NULL },
	{ 0x26f, "MTRR_FIX4K_F8000", NULL },
	{ CPU_MSR_MTRR_DEF_TYPE, "MTRR_DEF_TYPE", NULL },
	{ 0x4b564d01, "KVM_SYSTEM_TIME", NULL },
	{ 0x4b564d06, "KVM_ASYNC_PF_INT", NULL },
	{ 0x4b564d02, "KVM_ASYNC_PF_EN", NULL },
	{ 0x4b564d03, "KVM_STEAL_TIME", NULL },
	{ 0x4b564d04, "KVM_PV_EOI_EN", NULL },
	{ 0x4b564d05, "KVM_POLL_CONTROL", NULL },
	{ CPU_MSR_TSC_DEADLINE, "TSC_DEADLINE", "tsc_deadline_timer" },
};
_Static_assert(ARRAY_SIZE(cpu_msrs) <= CPU_MAX_MSRS, "room for all MSRs");

int cpu_model_create(struct cpu_model **out, const struct kvm *kvm, unsigned int n_vcpus, struct error *err)
{
	struct cpu_model *model = calloc(1, sizeof(*model));
	int len = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), ret;

	if (!model) {
		error_add(err, "out of memory for the CPU model");
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
		if (cpu_msrs[i].index == CPU_MSR_ARCH_CAPABILITIES)
			model->arch_capabilities = value;
	}
}

/* Returns whether a guest like the model can have the MSR. */
static bool cpu_model_offers_msr(const struct cpu_model *model, uint32_t index)
{
	if (index == MSR_IA32_TSX_CTRL && !(model->arch_capabilities & ARCH_CAP_TSX_CTRL))
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_msrs); i++) {
		if (cpu_msrs[i].index == index)
			return !cpu_msrs[i].features || cpuid_has_any(&model->cpuid, cpu_msrs[i].features);
	}
	return false;
}

int cpu_model_limit(struct cpu_model *model, const struct cpuid_offer *offer, struct error *err)
{
	struct cpuid cpuid = model->cpuid;
	uint64_t missing = offer->arch_capabilities & ~model->arch_capabilities & ~CPUID_ARCH_CAP_INVERTED;
	unsigned int n = 0;
	int ret = cpuid_restrict(&cpuid, offer, err);

	if (missing) {
		error_add(err, "bits 0x%llx of MSR ARCH_CAPABILITIES are missing on this host",
			  (unsigned long long)missing);
		ret = -ENOTSUP;
	}
	if (ret < 0)
		return ret;
	model->cpuid = cpuid;
	/* A guest without the MSR has nothing in it that other hosts would need. */
	model->arch_capabilities =
		cpuid_has_any(&cpuid, "arch_capabilities")
			? offer->arch_capabilities | (model->arch_capabilities & CPUID_ARCH_CAP_INVERTED)
			: 0;
	model->limited = true;
	for (unsigned int i = 0; i < model->n_msrs; i++) {
		if (cpu_model_offers_msr(model, model->msrs[i]))
			model->msrs[n++] = model->msrs[i];
	}
	model->n_msrs = n;
	return 0;
}

void cpu_model_get_offer(const struct cpu_model *model, struct cpuid_offer *offer)
{
	cpuid_get_features(&model->cpuid, offer);
	offer->arch_capabilities = model->arch_capabilities;
}

void cpu_model_keep_msrs(struct cpu_model *model, const uint32_t *msrs, unsigned int n)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < model->n_msrs; i++) {
		for (unsigned int j = 0; j < n; j++) {
			if (msrs[j] != model->msrs[i])
				continue;
			model->msrs[kept++] = msrs[j];
			break;
		}
	}
	model->n_msrs = kept;
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
