/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x86 vCPUs: what they are like when they start, and whether a peer's guest can run on them. */
#include "vmm/x86/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "vmm/kvm.h"
#include "vmm/state.h"
#include "vmm/vcpu.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpu_model.h"
#include "vmm/x86/layout.h"

/* Frequencies closer than this many millionths are the same for a guest: KVM's own tolerance. */
#define CPU_TSC_TOLERANCE_PPM 250u

/* IA32_MTRR_DEF_TYPE: MTRRs are on, and memory is write-back. */
#define MTRR_ENABLED_WRITE_BACK 0x806u

static const struct kvm_cap cpu_caps[] = {
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

int cpu_init_vm(const struct kvm *kvm, struct error *err)
{
	struct kvm_enable_cap no_pmu = { .cap = KVM_CAP_PMU_CAPABILITY, .args = { KVM_PMU_CAP_DISABLE } };
	uint64_t identity_map = LAYOUT_IDENTITY_MAP;
	int ret;

	ret = kvm_check_caps(kvm, cpu_caps, ARRAY_SIZE(cpu_caps), err);
	if (ret < 0)
		return ret;
	if (!(ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME)) {
		error_add(err, "this host's KVM lacks KVM_CLOCK_REALTIME (Linux 5.16)");
		return -ENOTSUP;
	}
	if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return kvm_failed(err, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0)
		return kvm_failed(err, "KVM_SET_TSS_ADDR");
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return kvm_failed(err, "KVM_CREATE_IRQCHIP");
	/* CPUID does not offer performance counters; AMD guests would find the old ones without it. */
	if ((ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY) & KVM_PMU_CAP_DISABLE) &&
	    ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &no_pmu) < 0)
		return kvm_failed(err, "switching off performance counters");
	return 0;
}

/* Has a vCPU say fewer of the CPU's properties than KVM makes it say by itself. */
static int cpu_apply_capabilities(const struct cpu_model *model, struct vcpu *vcpu, struct error *err)
{
	struct cpu_msr_list list = {
		.nmsrs = 1,
		.entries[0] = { .index = CPU_MSR_ARCH_CAPABILITIES, .data = model->arch_capabilities },
	};

	if (!model->limited || !cpu_has_msr(model, CPU_MSR_ARCH_CAPABILITIES))
		return 0;
	if (ioctl(vcpu->fd, KVM_SET_MSRS, &list) != 1) {
		error_add(err, "KVM refuses to set vCPU %u's ARCH_CAPABILITIES", vcpu->index);
		return -EINVAL;
	}
	return 0;
}

int cpu_apply(const struct cpu_model *model, struct vcpu *vcpu, struct error *err)
{
	struct cpuid cpuid;

	cpuid_for_vcpu(&cpuid, &model->cpuid, vcpu->index, model->n_vcpus);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid) < 0)
		return kvm_failed(err, "KVM_SET_CPUID2");
	if (model->tsc_scaled && ioctl(vcpu->fd, KVM_SET_TSC_KHZ, model->tsc_khz) < 0) {
		error_add(err, "KVM refuses to run the TSC at %u kHz: %s", model->tsc_khz, strerror(errno));
		return -errno;
	}
	return cpu_apply_capabilities(model, vcpu, err);
}

int cpu_init_vcpu(struct cpu_model *model, struct vcpu *vcpu, struct error *err)
{
	/* Memory is write-back unless the guest's page tables say otherwise, as firmware would have set it
	 * up. */
	struct cpu_msr_list list = {
		.nmsrs = 1,
		.entries[0] = { .index = CPU_MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
	};
	int ret = cpu_apply(model, vcpu, err);

	if (ret < 0)
		return ret;
	if (vcpu->index == 0)
		cpu_model_probe(model, vcpu->fd);
	if (ioctl(vcpu->fd, KVM_SET_MSRS, &list) != 1) {
		error_add(err, "KVM refuses to enable vCPU %u's MTRRs", vcpu->index);
		return -EINVAL;
	}
	return 0;
}

#define CR0_PE   (1u << 0)
#define CR0_ET   (1u << 4)
#define CR0_NE   (1u << 5)
#define CR0_PG   (1u << 31)
#define CR4_PAE  (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

/* __BOOT_CS and __BOOT_DS of the 64-bit boot protocol, in the GDT and the page tables that
 * boot_load() wrote. */
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
		return kvm_failed(err, "KVM_GET_SREGS2");
	cpu_set_flat(&sregs, entry->long_mode);
	if (ioctl(vcpu->fd, KVM_SET_SREGS2, &sregs) < 0)
		return kvm_failed(err, "KVM_SET_SREGS2");
	if (entry->long_mode)
		regs.rsi = entry->info;
	else
		regs.rbx = entry->info;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return kvm_failed(err, "KVM_SET_REGS");
	return 0;
}

void cpu_describe(const struct cpu_model *model, struct state_writer *w)
{
	state_put_blob(w, "cpuid", model->cpuid.entries,
		       (uint32_t)(model->cpuid.nent * sizeof(model->cpuid.entries[0])));
	state_put_u32(w, "tsc-khz", model->tsc_khz);
	state_put_blob(w, "msrs", model->msrs, (uint32_t)(model->n_msrs * sizeof(model->msrs[0])));
	state_put_u64(w, "arch-capabilities", model->arch_capabilities);
}

static int cpu_accept_cpuid(const struct cpu_model *model, struct state_node *node, struct cpuid *cpuid)
{
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
	const uint8_t *data;
	uint32_t len;
	int ret;

	ret = state_get_blob(node, "cpuid", sizeof(entries[0]), sizeof(entries), &data, &len);
	if (ret < 0)
		return ret;
	if (len % sizeof(entries[0])) {
		error_add(node->err, "the CPUID table has %u bytes", len);
		return -EINVAL;
	}
	memcpy(entries, data, len);
	return cpuid_accept(cpuid, &model->host, entries, (uint32_t)(len / sizeof(entries[0])), node->err);
}

/* MSRs of a source's guest. */
struct cpu_msrs_there {
	uint32_t msrs[CPU_MAX_MSRS];
	unsigned int n;
	uint64_t arch_capabilities;
};

static int cpu_accept_msrs(const struct cpu_model *model, struct state_node *node,
			   struct cpu_msrs_there *there)
{
	struct cpuid_names names = { 0 };
	const uint8_t *data;
	uint32_t len;
	uint64_t missing;
	int ret;

	ret = state_get_blob(node, "msrs", 0, sizeof(there->msrs), &data, &len);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i + 4 <= len; i += 4) {
		uint32_t index = get_le32(data + i);
		char name[48];

		there->msrs[there->n++] = index;
		snprintf(name, sizeof(name), "0x%x (%s)", index, cpu_msr_name(index));
		if (!cpu_has_msr(model, index))
			cpuid_names_add(&names, name);
	}
	if (names.n > 0) {
		error_add(node->err, "MSR%s %s %s missing on this host", names.n > 1 ? "s" : "", names.text,
			  names.n > 1 ? "are" : "is");
		ret = -EINVAL;
	}
	if (state_get_u64(node, "arch-capabilities", 0, UINT64_MAX, &there->arch_capabilities) < 0)
		return -EINVAL;
	missing = there->arch_capabilities & ~model->arch_capabilities & ~CPUID_ARCH_CAP_INVERTED;
	if (missing) {
		error_add(node->err, "bits 0x%llx of MSR ARCH_CAPABILITIES are missing on this host",
			  (unsigned long long)missing);
		ret = -EINVAL;
	}
	return ret;
}

static int cpu_accept_tsc(const struct cpu_model *model, struct state_node *node, uint32_t *khz)
{
	uint32_t own = model->tsc_khz;
	uint64_t difference;
	int ret = state_get_u32(node, "tsc-khz", 1, INT32_MAX, khz);

	if (ret < 0)
		return ret;
	difference = *khz > own ? *khz - own : own - *khz;
	if (difference * 1000000u <= (uint64_t)own * CPU_TSC_TOLERANCE_PPM)
		*khz = own;
	else if (ioctl(model->kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0) {
		error_add(
			node->err,
			"the TSC runs at %u kHz here, at %u kHz at the source, and this CPU cannot scale it",
			own, *khz);
		return -EINVAL;
	}
	return 0;
}

int cpu_accept(struct cpu_model *model, struct state_node *node)
{
	struct cpu_msrs_there there = { .n = 0 };
	struct cpuid cpuid;
	uint32_t khz = 0;
	int ret = 0;

	if (cpu_accept_cpuid(model, node, &cpuid) < 0)
		ret = -EINVAL;
	if (cpu_accept_msrs(model, node, &there) < 0)
		ret = -EINVAL;
	if (cpu_accept_tsc(model, node, &khz) < 0)
		ret = -EINVAL;
	if (ret < 0)
		return ret;
	model->cpuid = cpuid;
	/* What this host has beyond them the guest does not: a third host need not have it either. */
	cpu_model_keep_msrs(model, there.msrs, there.n);
	model->arch_capabilities = there.arch_capabilities;
	model->tsc_scaled = khz != model->tsc_khz;
	model->tsc_khz = khz;
	return 0;
}
