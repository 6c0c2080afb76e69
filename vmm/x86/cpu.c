/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86 vCPUs: the model that all of a VM share, how they start, and whether a peer's guest can run on them. */
#include "vmm/x86/cpu_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmm/x86/layout.h"

/* Frequencies closer than this many millionths are the same for a guest: KVM's own tolerance. */
#define CPU_TSC_TOLERANCE_PPM 250u

#define MSR_IA32_TSC               0x10u
#define MSR_IA32_ARCH_CAPABILITIES 0x10au
#define MSR_IA32_MISC_ENABLE       0x1a0u
#define MSR_MTRR_DEF_TYPE          0x2ffu
#define MSR_IA32_TSC_DEADLINE      0x6e0u
#define MTRR_ENABLED_WRITE_BACK    0x806u

/*
 * The MSRs that belong to the features of cpuid.c, in the order in which they are set: the TSC before what is
 * relative to it. EFER, the segment bases and the APIC base are in sregs2. Not here: the wall clock, whose
 * setting makes KVM write to guest memory and whose value nobody reads; the old kvm-clock MSR, which is the
 * new one's twin.
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
	{ MSR_MTRR_DEF_TYPE, "MTRR_DEF_TYPE" },
	{ 0x4b564d01, "KVM_SYSTEM_TIME" },
	{ 0x4b564d06, "KVM_ASYNC_PF_INT" },
	{ 0x4b564d02, "KVM_ASYNC_PF_EN" },
	{ 0x4b564d03, "KVM_STEAL_TIME" },
	{ 0x4b564d04, "KVM_PV_EOI_EN" },
	{ 0x4b564d05, "KVM_POLL_CONTROL" },
	{ MSR_IA32_TSC_DEADLINE, "TSC_DEADLINE" },
};
_Static_assert(ARRAY_SIZE(cpu_msrs) <= CPU_MAX_MSRS, "room for all MSRs");

static const struct vm_cap cpu_caps[] = {
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },
	{ KVM_CAP_XCRS, "KVM_CAP_XCRS" },
	{ KVM_CAP_SREGS2, "KVM_CAP_SREGS2 (Linux 5.14)" },
};

int cpu_init_vm(struct vm *vm, struct error *err)
{
	struct kvm_enable_cap no_pmu = { .cap = KVM_CAP_PMU_CAPABILITY, .args = { KVM_PMU_CAP_DISABLE } };
	uint64_t identity_map = LAYOUT_IDENTITY_MAP;
	int len, ret;

	ret = vm_check_caps(vm, cpu_caps, ARRAY_SIZE(cpu_caps), err);
	if (ret < 0)
		return ret;
	if (!(ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME))
		return error_add(err, -ENOTSUP, "this host's KVM lacks KVM_CLOCK_REALTIME (Linux 5.16)");
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return cpu_failed(err, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0)
		return cpu_failed(err, "KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return cpu_failed(err, "KVM_CREATE_IRQCHIP");
	/* CPUID does not offer performance counters; AMD guests would find the old ones without it. */
	if ((ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY) & KVM_PMU_CAP_DISABLE) &&
	    ioctl(vm->fd, KVM_ENABLE_CAP, &no_pmu) < 0)
		return cpu_failed(err, "switching off performance counters");
	vm->cpu = calloc(1, sizeof(*vm->cpu));
	if (!vm->cpu)
		return error_add(err, -ENOMEM, "cannot allocate the CPU model");
	len = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	vm->cpu->xsave_len = len > (int)CPU_XSAVE_LEN ? (uint32_t)len : CPU_XSAVE_LEN;
	if (vm->cpu->xsave_len > CPU_XSAVE_LEN_MAX)
		return error_add(err, -ENOTSUP,
				 "this host's CPU has %d bytes of extended registers, Ferry takes %u", len,
				 CPU_XSAVE_LEN_MAX);
	ret = cpuid_init(&vm->cpu->host, vm->kvm_fd, err);
	vm->cpu->cpuid = vm->cpu->host;
	return ret;
}

void cpu_exit_vm(struct vm *vm)
{
	free(vm->cpu);
	vm->cpu = NULL;
}

static int cpu_set_cpuid(struct vcpu *vcpu, const struct cpuid *model, struct error *err)
{
	struct cpuid cpuid;

	cpuid_for_vcpu(&cpuid, model, vcpu->index, vcpu->vm->n_vcpus);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid) < 0)
		return cpu_failed(err, "KVM_SET_CPUID2");
	return 0;
}

/* Whether KVM has the MSR on this host: lets it be read, and set to what was read. */
static bool cpu_probe_msr(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct cpu_msr_list list = { .nmsrs = 1, .entries[0].index = index };

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &list) != 1)
		return false;
	*value = list.entries[0].data;
	/* Setting the TSC would start it anew. */
	return index == MSR_IA32_TSC || ioctl(vcpu->fd, KVM_SET_MSRS, &list) == 1;
}

/* Done once, on a vCPU as KVM made it, so that nothing has to be found out while a guest stands still. */
static void cpu_probe(struct vcpu *vcpu)
{
	struct cpu_model *model = vcpu->vm->cpu;
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	model->tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_msrs); i++) {
		uint64_t value;

		if (!cpu_probe_msr(vcpu, cpu_msrs[i].index, &value))
			continue;
		model->msrs[model->n_msrs++] = cpu_msrs[i].index;
		if (cpu_msrs[i].index == MSR_IA32_ARCH_CAPABILITIES)
			model->arch_capabilities = value;
	}
}

static int cpu_set_tsc_khz(struct vcpu *vcpu, uint32_t khz, struct error *err)
{
	if (ioctl(vcpu->fd, KVM_SET_TSC_KHZ, khz) < 0)
		return error_add(err, -errno, "KVM refuses to run the TSC at %u kHz: %s", khz,
				 strerror(errno));
	return 0;
}

int cpu_init_vcpu(struct vcpu *vcpu, struct error *err)
{
	/* Memory is write-back unless the guest's page tables say otherwise, as firmware would have set it
	 * up. */
	struct cpu_msr_list list = {
		.nmsrs = 1,
		.entries[0] = { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
	};
	int ret = cpu_set_cpuid(vcpu, &vcpu->vm->cpu->cpuid, err);

	if (ret < 0)
		return ret;
	if (vcpu->index == 0)
		cpu_probe(vcpu);
	else if (vcpu->vm->cpu->tsc_scaled)
		ret = cpu_set_tsc_khz(vcpu, vcpu->vm->cpu->tsc_khz, err);
	if (ret < 0)
		return ret;
	if (ioctl(vcpu->fd, KVM_SET_MSRS, &list) != 1)
		return error_add(err, -EINVAL, "KVM refuses to enable vCPU %u's MTRRs", vcpu->index);
	return 0;
}

#define CR0_PE   (1u << 0)
#define CR0_ET   (1u << 4)
#define CR0_NE   (1u << 5)
#define CR0_PG   (1u << 31)
#define CR4_PAE  (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

/* __BOOT_CS and __BOOT_DS of the 64-bit boot protocol, in the GDT and the page tables that boot_load() wrote.
 */
static void cpu_set_flat(struct kvm_sregs2 *sregs, bool long_mode)
{
	struct kvm_segment code = { .limit = 0xffffffff, .type = 11, .present = 1, .s = 1, .g = 1 };
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1
	};

	code.selector = long_mode ? 0x10 : 0x08;
	code.l = long_mode;
	code.db = !long_mode;
	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->gdt = (struct kvm_dtable){ .base = LAYOUT_GDT, .limit = 0x1f };
	sregs->cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (long_mode) {
		sregs->cr0 |= CR0_PG;
		sregs->cr3 = LAYOUT_PAGE_TABLE;
		sregs->cr4 = CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
	}
}

int cpu_set_entry(struct vcpu *vcpu, const struct boot_entry *entry, struct error *err)
{
	struct kvm_regs regs = { .rip = entry->rip, .rflags = 2 };
	struct kvm_sregs2 sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS2, &sregs) < 0)
		return cpu_failed(err, "KVM_GET_SREGS2");
	cpu_set_flat(&sregs, entry->long_mode);
	if (ioctl(vcpu->fd, KVM_SET_SREGS2, &sregs) < 0)
		return cpu_failed(err, "KVM_SET_SREGS2");
	if (entry->long_mode)
		regs.rsi = entry->info;
	else
		regs.rbx = entry->info;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return cpu_failed(err, "KVM_SET_REGS");
	return 0;
}

void cpu_describe(struct vm *vm, struct state_writer *w)
{
	const struct cpu_model *model = vm->cpu;

	state_put_blob(w, "cpuid", model->cpuid.entries,
		       (uint32_t)(model->cpuid.nent * sizeof(model->cpuid.entries[0])));
	state_put_u32(w, "tsc-khz", model->tsc_khz);
	state_put_blob(w, "msrs", model->msrs, (uint32_t)(model->n_msrs * sizeof(model->msrs[0])));
	state_put_u64(w, "arch-capabilities", model->arch_capabilities);
}

static int cpu_accept_cpuid(struct vm *vm, struct state_node *node, struct cpuid *cpuid)
{
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
	const uint8_t *data;
	uint32_t len;
	int ret;

	ret = state_get_blob(node, "cpuid", sizeof(entries[0]), sizeof(entries), &data, &len);
	if (ret < 0)
		return ret;
	if (len % sizeof(entries[0]))
		return error_add(node->err, -EINVAL, "the CPUID table has %u bytes", len);
	memcpy(entries, data, len);
	return cpuid_accept(cpuid, &vm->cpu->host, entries, (uint32_t)(len / sizeof(entries[0])), node->err);
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

static int cpu_accept_msrs(struct vm *vm, struct state_node *node)
{
	struct cpuid_names names = { 0 };
	const uint8_t *data;
	uint32_t len;
	uint64_t caps, missing;
	int ret;

	ret = state_get_blob(node, "msrs", 0, sizeof(vm->cpu->msrs), &data, &len);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i + 4 <= len; i += 4) {
		uint32_t index = get_le32(data + i);
		char name[48];

		snprintf(name, sizeof(name), "0x%x (%s)", index, cpu_msr_name(index));
		if (!cpu_has_msr(vm->cpu, index))
			cpuid_names_add(&names, name);
	}
	if (names.n > 0)
		ret = error_add(node->err, -EINVAL, "MSR%s %s %s missing on this host",
				names.n > 1 ? "s" : "", names.text, names.n > 1 ? "are" : "is");
	if (state_get_u64(node, "arch-capabilities", 0, UINT64_MAX, &caps) < 0)
		return -EINVAL;
	missing = caps & ~vm->cpu->arch_capabilities;
	if (missing)
		ret = error_add(node->err, -EINVAL,
				"bits 0x%llx of MSR ARCH_CAPABILITIES are missing on this host",
				(unsigned long long)missing);
	return ret;
}

static int cpu_accept_tsc(struct vm *vm, struct state_node *node, uint32_t *khz)
{
	uint32_t own = vm->cpu->tsc_khz;
	uint64_t difference;
	int ret = state_get_u32(node, "tsc-khz", 1, INT32_MAX, khz);

	if (ret < 0)
		return ret;
	difference = *khz > own ? *khz - own : own - *khz;
	if (difference * 1000000u <= (uint64_t)own * CPU_TSC_TOLERANCE_PPM)
		*khz = own;
	else if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0)
		return error_add(
			node->err, -EINVAL,
			"the TSC runs at %u kHz here, at %u kHz at the source, and this CPU cannot scale it",
			own, *khz);
	return 0;
}

int cpu_accept(struct vm *vm, struct state_node *node)
{
	struct cpuid cpuid;
	uint32_t khz = 0;
	int ret = 0;

	if (cpu_accept_cpuid(vm, node, &cpuid) < 0)
		ret = -EINVAL;
	if (cpu_accept_msrs(vm, node) < 0)
		ret = -EINVAL;
	if (cpu_accept_tsc(vm, node, &khz) < 0)
		ret = -EINVAL;
	/* vCPUs that are not there yet get the model when vm_equip() makes them. */
	for (unsigned int i = 0; ret == 0 && i < vm->n_vcpus && vm->vcpus[i].fd >= 0; i++) {
		ret = cpu_set_cpuid(&vm->vcpus[i], &cpuid, node->err);
		if (ret == 0 && khz != vm->cpu->tsc_khz)
			ret = cpu_set_tsc_khz(&vm->vcpus[i], khz, node->err);
	}
	if (ret == 0) {
		vm->cpu->cpuid = cpuid;
		vm->cpu->tsc_scaled = khz != vm->cpu->tsc_khz;
		vm->cpu->tsc_khz = khz;
	}
	return ret;
}
