/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of CPU features that Ferry carries. */
#include "vmm/x86/cpuid_features.h"

/* Every index of a leaf: one for each cache or XSAVE component. */
#define CPUID_ANY_INDEX UINT32_MAX

/*
 * Leaves that are kept, and which of their registers are passed as they are: vendor, model, caches, sizes.
 * The rest of them is zero but for the features below. Leaves that are not here are left out, among them
 * monitor/mwait (5), performance counters (0xa: not carried between hosts), topology (0xb, 0x1f: made for
 * each vCPU), SGX, RDT, processor trace, AMX, SVM.
 */
static const struct cpuid_leaf cpuid_leaves[] = {
	{ 0x0, 0, 0xf },
	{ 0x1, 0, 0x3 },
	{ 0x2, 0, 0xf },
	{ 0x4, CPUID_ANY_INDEX, 0xf },
	{ 0x6, 0, 0 },
	{ 0x7, 0, 0x1 },
	{ 0x7, 1, 0 },
	{ 0x7, 2, 0 },
	{ 0xd, 0, 0x6 },
	{ 0xd, 1, 0x2 },
	{ 0xd, CPUID_ANY_INDEX, 0x7 },
	{ CPUID_KVM, 0, 0xf },
	{ CPUID_KVM_LAST, 0, 0 },
	{ CPUID_EXT, 0, 0xf },
	{ 0x80000001, 0, 0x3 },
	{ 0x80000002, 0, 0xf },
	{ 0x80000003, 0, 0xf },
	{ 0x80000004, 0, 0xf },
	{ 0x80000005, 0, 0xf },
	{ 0x80000006, 0, 0xf },
	{ 0x80000008, 0, 0x1 },
	{ 0x8000001d, CPUID_ANY_INDEX, 0xf },
	{ 0x8000001e, 0, 0 },
	{ 0x80000021, 0, 0 },
};

/* The words, in the order of struct cpuid_offer. */
enum cpuid_word_id {
	WORD_1_ECX,
	WORD_1_EDX,
	WORD_6_EAX,
	WORD_7_0_EBX,
	WORD_7_0_ECX,
	WORD_7_0_EDX,
	WORD_7_1_EAX,
	WORD_7_1_EDX,
	WORD_7_2_EDX,
	WORD_D_0_EAX,
	WORD_D_1_EAX,
	WORD_KVM_EAX,
	WORD_80000001_ECX,
	WORD_80000001_EDX,
	WORD_80000008_EBX,
	WORD_80000021_EAX,
	N_WORDS,
};

static const struct cpuid_word cpuid_words[N_WORDS] = {
	[WORD_1_ECX] = { 0x1, 0, ECX },
	[WORD_1_EDX] = { 0x1, 0, EDX },
	[WORD_6_EAX] = { 0x6, 0, EAX },
	[WORD_7_0_EBX] = { 0x7, 0, EBX },
	[WORD_7_0_ECX] = { 0x7, 0, ECX },
	[WORD_7_0_EDX] = { 0x7, 0, EDX },
	[WORD_7_1_EAX] = { 0x7, 1, EAX },
	[WORD_7_1_EDX] = { 0x7, 1, EDX },
	[WORD_7_2_EDX] = { 0x7, 2, EDX },
	[WORD_D_0_EAX] = { 0xd, 0, EAX },
	[WORD_D_1_EAX] = { 0xd, 1, EAX },
	[WORD_KVM_EAX] = { CPUID_KVM_LAST, 0, EAX },
	[WORD_80000001_ECX] = { 0x80000001, 0, ECX },
	[WORD_80000001_EDX] = { 0x80000001, 0, EDX },
	[WORD_80000008_EBX] = { 0x80000008, 0, EBX },
	[WORD_80000021_EAX] = { 0x80000021, 0, EAX },
};

/*
 * Features that are carried, by the names of /proc/cpuinfo where it has one. Not here, because there is state
 * that is not saved: VMX and SVM (nested guests), MCE and MCA (banks), shadow stacks, PKS, AMX, MPX,
 * performance counters, OSVW, breakpoint masks. Not here, because a destination's clock may differ: invariant
 * TSC. Bits that follow a register of the running guest (OSXSAVE, OSPKE) are KVM's to set.
 */
static const struct cpuid_feature cpuid_features[] = {
	{ WORD_1_ECX, 0, "sse3" },
	{ WORD_1_ECX, 1, "pclmulqdq" },
	{ WORD_1_ECX, 9, "ssse3" },
	{ WORD_1_ECX, 12, "fma" },
	{ WORD_1_ECX, 13, "cx16" },
	{ WORD_1_ECX, 17, "pcid" },
	{ WORD_1_ECX, 19, "sse4_1" },
	{ WORD_1_ECX, 20, "sse4_2" },
	{ WORD_1_ECX, 21, "x2apic" },
	{ WORD_1_ECX, 22, "movbe" },
	{ WORD_1_ECX, 23, "popcnt" },
	{ WORD_1_ECX, 24, "tsc_deadline_timer" },
	{ WORD_1_ECX, 25, "aes" },
	{ WORD_1_ECX, 26, "xsave" },
	{ WORD_1_ECX, 28, "avx" },
	{ WORD_1_ECX, 29, "f16c" },
	{ WORD_1_ECX, 30, "rdrand" },
	{ WORD_1_ECX, 31, "hypervisor" },
	{ WORD_1_EDX, 0, "fpu" },
	{ WORD_1_EDX, 1, "vme" },
	{ WORD_1_EDX, 2, "de" },
	{ WORD_1_EDX, 3, "pse" },
	{ WORD_1_EDX, 4, "tsc" },
	{ WORD_1_EDX, 5, "msr" },
	{ WORD_1_EDX, 6, "pae" },
	{ WORD_1_EDX, 8, "cx8" },
	{ WORD_1_EDX, 9, "apic" },
	{ WORD_1_EDX, 11, "sep" },
	{ WORD_1_EDX, 12, "mtrr" },
	{ WORD_1_EDX, 13, "pge" },
	{ WORD_1_EDX, 15, "cmov" },
	{ WORD_1_EDX, 16, "pat" },
	{ WORD_1_EDX, 17, "pse36" },
	{ WORD_1_EDX, 19, "clflush" },
	{ WORD_1_EDX, 23, "mmx" },
	{ WORD_1_EDX, 24, "fxsr" },
	{ WORD_1_EDX, 25, "sse" },
	{ WORD_1_EDX, 26, "sse2" },
	{ WORD_1_EDX, 27, "ss" },
	{ WORD_6_EAX, 2, "arat" },
	{ WORD_7_0_EBX, 0, "fsgsbase" },
	{ WORD_7_0_EBX, 1, "tsc_adjust" },
	{ WORD_7_0_EBX, 3, "bmi1" },
	{ WORD_7_0_EBX, 4, "hle" },
	{ WORD_7_0_EBX, 5, "avx2" },
	{ WORD_7_0_EBX, 6, "fdp_excptn_only" },
	{ WORD_7_0_EBX, 7, "smep" },
	{ WORD_7_0_EBX, 8, "bmi2" },
	{ WORD_7_0_EBX, 9, "erms" },
	{ WORD_7_0_EBX, 10, "invpcid" },
	{ WORD_7_0_EBX, 11, "rtm" },
	{ WORD_7_0_EBX, 13, "zero_fcs_fds" },
	{ WORD_7_0_EBX, 16, "avx512f" },
	{ WORD_7_0_EBX, 17, "avx512dq" },
	{ WORD_7_0_EBX, 18, "rdseed" },
	{ WORD_7_0_EBX, 19, "adx" },
	{ WORD_7_0_EBX, 20, "smap" },
	{ WORD_7_0_EBX, 21, "avx512ifma" },
	{ WORD_7_0_EBX, 23, "clflushopt" },
	{ WORD_7_0_EBX, 24, "clwb" },
	{ WORD_7_0_EBX, 26, "avx512pf" },
	{ WORD_7_0_EBX, 27, "avx512er" },
	{ WORD_7_0_EBX, 28, "avx512cd" },
	{ WORD_7_0_EBX, 29, "sha_ni" },
	{ WORD_7_0_EBX, 30, "avx512bw" },
	{ WORD_7_0_EBX, 31, "avx512vl" },
	{ WORD_7_0_ECX, 1, "avx512vbmi" },
	{ WORD_7_0_ECX, 2, "umip" },
	{ WORD_7_0_ECX, 3, "pku" },
	{ WORD_7_0_ECX, 5, "waitpkg" },
	{ WORD_7_0_ECX, 6, "avx512_vbmi2" },
	{ WORD_7_0_ECX, 8, "gfni" },
	{ WORD_7_0_ECX, 9, "vaes" },
	{ WORD_7_0_ECX, 10, "vpclmulqdq" },
	{ WORD_7_0_ECX, 11, "avx512_vnni" },
	{ WORD_7_0_ECX, 12, "avx512_bitalg" },
	{ WORD_7_0_ECX, 14, "avx512_vpopcntdq" },
	{ WORD_7_0_ECX, 16, "la57" },
	{ WORD_7_0_ECX, 22, "rdpid" },
	{ WORD_7_0_ECX, 24, "bus_lock_detect" },
	{ WORD_7_0_ECX, 25, "cldemote" },
	{ WORD_7_0_ECX, 27, "movdiri" },
	{ WORD_7_0_ECX, 28, "movdir64b" },
	{ WORD_7_0_EDX, 2, "avx512_4vnniw" },
	{ WORD_7_0_EDX, 3, "avx512_4fmaps" },
	{ WORD_7_0_EDX, 4, "fsrm" },
	{ WORD_7_0_EDX, 8, "avx512_vp2intersect" },
	{ WORD_7_0_EDX, 10, "md_clear" },
	{ WORD_7_0_EDX, 14, "serialize" },
	{ WORD_7_0_EDX, 16, "tsxldtrk" },
	{ WORD_7_0_EDX, 23, "avx512_fp16" },
	{ WORD_7_0_EDX, 26, "spec_ctrl" },
	{ WORD_7_0_EDX, 27, "intel_stibp" },
	{ WORD_7_0_EDX, 28, "flush_l1d" },
	{ WORD_7_0_EDX, 29, "arch_capabilities" },
	{ WORD_7_0_EDX, 31, "spec_ctrl_ssbd" },
	{ WORD_7_1_EAX, 0, "sha512" },
	{ WORD_7_1_EAX, 1, "sm3" },
	{ WORD_7_1_EAX, 2, "sm4" },
	{ WORD_7_1_EAX, 4, "avx_vnni" },
	{ WORD_7_1_EAX, 5, "avx512_bf16" },
	{ WORD_7_1_EAX, 7, "cmpccxadd" },
	{ WORD_7_1_EAX, 10, "fzrm" },
	{ WORD_7_1_EAX, 11, "fsrs" },
	{ WORD_7_1_EAX, 12, "fsrc" },
	{ WORD_7_1_EAX, 23, "avx_ifma" },
	{ WORD_7_1_EAX, 26, "lam" },
	{ WORD_7_1_EDX, 4, "avx_vnni_int8" },
	{ WORD_7_1_EDX, 5, "avx_ne_convert" },
	{ WORD_7_1_EDX, 10, "avx_vnni_int16" },
	{ WORD_7_1_EDX, 14, "prefetchiti" },
	{ WORD_7_2_EDX, 0, "intel_psfd" },
	{ WORD_7_2_EDX, 1, "ipred_ctrl" },
	{ WORD_7_2_EDX, 2, "rrsba_ctrl" },
	{ WORD_7_2_EDX, 3, "ddpd_u" },
	{ WORD_7_2_EDX, 4, "bhi_ctrl" },
	{ WORD_7_2_EDX, 5, "mcdt_no" },
	{ WORD_D_0_EAX, 0, "xcr0_x87" },
	{ WORD_D_0_EAX, 1, "xcr0_sse" },
	{ WORD_D_0_EAX, 2, "xcr0_avx" },
	{ WORD_D_0_EAX, 5, "xcr0_opmask" },
	{ WORD_D_0_EAX, 6, "xcr0_zmm_hi256" },
	{ WORD_D_0_EAX, 7, "xcr0_hi16_zmm" },
	{ WORD_D_0_EAX, 9, "xcr0_pkru" },
	{ WORD_D_1_EAX, 0, "xsaveopt" },
	{ WORD_D_1_EAX, 1, "xsavec" },
	{ WORD_D_1_EAX, 2, "xgetbv1" },
	{ WORD_D_1_EAX, 3, "xsaves" },
	{ WORD_KVM_EAX, 0, "kvm_clock_old" },
	{ WORD_KVM_EAX, 1, "kvm_nop_io_delay" },
	{ WORD_KVM_EAX, 3, "kvm_clock" },
	{ WORD_KVM_EAX, 4, "kvm_async_pf" },
	{ WORD_KVM_EAX, 5, "kvm_steal_time" },
	{ WORD_KVM_EAX, 6, "kvm_pv_eoi" },
	{ WORD_KVM_EAX, 7, "kvm_pv_unhalt" },
	{ WORD_KVM_EAX, 9, "kvm_pv_tlb_flush" },
	{ WORD_KVM_EAX, 10, "kvm_async_pf_vmexit" },
	{ WORD_KVM_EAX, 11, "kvm_pv_send_ipi" },
	{ WORD_KVM_EAX, 12, "kvm_poll_control" },
	{ WORD_KVM_EAX, 13, "kvm_pv_sched_yield" },
	{ WORD_KVM_EAX, 14, "kvm_async_pf_int" },
	{ WORD_KVM_EAX, 24, "kvm_clock_stable" },
	{ WORD_80000001_ECX, 0, "lahf_lm" },
	{ WORD_80000001_ECX, 1, "cmp_legacy" },
	{ WORD_80000001_ECX, 4, "cr8_legacy" },
	{ WORD_80000001_ECX, 5, "abm" },
	{ WORD_80000001_ECX, 6, "sse4a" },
	{ WORD_80000001_ECX, 7, "misalignsse" },
	{ WORD_80000001_ECX, 8, "3dnowprefetch" },
	{ WORD_80000001_ECX, 11, "xop" },
	{ WORD_80000001_ECX, 16, "fma4" },
	{ WORD_80000001_ECX, 17, "tce" },
	{ WORD_80000001_ECX, 21, "tbm" },
	{ WORD_80000001_ECX, 22, "topoext" },
	{ WORD_80000001_EDX, 0, "fpu" },
	{ WORD_80000001_EDX, 1, "vme" },
	{ WORD_80000001_EDX, 2, "de" },
	{ WORD_80000001_EDX, 3, "pse" },
	{ WORD_80000001_EDX, 4, "tsc" },
	{ WORD_80000001_EDX, 5, "msr" },
	{ WORD_80000001_EDX, 6, "pae" },
	{ WORD_80000001_EDX, 8, "cx8" },
	{ WORD_80000001_EDX, 9, "apic" },
	{ WORD_80000001_EDX, 11, "syscall" },
	{ WORD_80000001_EDX, 12, "mtrr" },
	{ WORD_80000001_EDX, 13, "pge" },
	{ WORD_80000001_EDX, 15, "cmov" },
	{ WORD_80000001_EDX, 16, "pat" },
	{ WORD_80000001_EDX, 17, "pse36" },
	{ WORD_80000001_EDX, 20, "nx" },
	{ WORD_80000001_EDX, 22, "mmxext" },
	{ WORD_80000001_EDX, 23, "mmx" },
	{ WORD_80000001_EDX, 24, "fxsr" },
	{ WORD_80000001_EDX, 25, "fxsr_opt" },
	{ WORD_80000001_EDX, 26, "pdpe1gb" },
	{ WORD_80000001_EDX, 27, "rdtscp" },
	{ WORD_80000001_EDX, 29, "lm" },
	{ WORD_80000001_EDX, 30, "3dnowext" },
	{ WORD_80000001_EDX, 31, "3dnow" },
	{ WORD_80000008_EBX, 0, "clzero" },
	{ WORD_80000008_EBX, 2, "xsaveerptr" },
	{ WORD_80000008_EBX, 9, "wbnoinvd" },
	{ WORD_80000008_EBX, 12, "amd_ibpb" },
	{ WORD_80000008_EBX, 14, "amd_ibrs" },
	{ WORD_80000008_EBX, 15, "amd_stibp" },
	{ WORD_80000008_EBX, 16, "ibrs_always_on" },
	{ WORD_80000008_EBX, 17, "amd_stibp_always_on" },
	{ WORD_80000008_EBX, 18, "ibrs_preferred" },
	{ WORD_80000008_EBX, 19, "ibrs_same_mode" },
	{ WORD_80000008_EBX, 24, "amd_ssbd" },
	{ WORD_80000008_EBX, 25, "virt_ssbd" },
	{ WORD_80000008_EBX, 26, "amd_ssb_no" },
	{ WORD_80000008_EBX, 28, "amd_psfd" },
	{ WORD_80000008_EBX, 29, "btc_no" },
	{ WORD_80000008_EBX, 30, "amd_ibpb_ret" },
	{ WORD_80000021_EAX, 0, "no_nested_data_bp" },
	{ WORD_80000021_EAX, 2, "lfence_rdtsc" },
	{ WORD_80000021_EAX, 5, "verw_clear" },
	{ WORD_80000021_EAX, 6, "null_sel_clr_base" },
	{ WORD_80000021_EAX, 8, "autoibrs" },
	{ WORD_80000021_EAX, 9, "no_smm_ctl_msr" },
	{ WORD_80000021_EAX, 10, "fsrs_amd" },
	{ WORD_80000021_EAX, 11, "fsrc_amd" },
	{ WORD_80000021_EAX, 27, "sbpb" },
	{ WORD_80000021_EAX, 28, "ibpb_brtype" },
	{ WORD_80000021_EAX, 29, "srso_no" },
	{ WORD_80000021_EAX, 30, "srso_user_kernel_no" },
};

_Static_assert(N_WORDS <= CPUID_MAX_WORDS, "room for all words");

const char *const cpuid_reg_names[4] = { "eax", "ebx", "ecx", "edx" };

const struct cpuid_leaf *cpuid_find_leaf(uint32_t function, uint32_t index)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cpuid_leaves); i++) {
		const struct cpuid_leaf *leaf = &cpuid_leaves[i];

		if (leaf->function == function && (leaf->index == index || leaf->index == CPUID_ANY_INDEX))
			return leaf;
	}
	return NULL;
}

const struct cpuid_word *cpuid_get_words(unsigned int *n)
{
	*n = N_WORDS;
	return cpuid_words;
}

const struct cpuid_feature *cpuid_get_table(unsigned int *n)
{
	*n = ARRAY_SIZE(cpuid_features);
	return cpuid_features;
}

uint32_t cpuid_word_mask(const struct cpuid_word *word)
{
	uint32_t mask = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cpuid_features); i++)
		mask |= word == &cpuid_words[cpuid_features[i].word] ? 1u << cpuid_features[i].bit : 0;
	return mask;
}

const char *cpuid_word_name(const struct cpuid_word *word, unsigned int bit)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cpuid_features); i++) {
		const struct cpuid_feature *f = &cpuid_features[i];

		if (word == &cpuid_words[f->word] && bit == f->bit)
			return f->name;
	}
	return NULL;
}

uint32_t cpuid_word_inverted(const struct cpuid_word *word)
{
	/* With fdp_excptn_only and zero_fcs_fds the x87 unit lacks something (Linux,
	 * Documentation/virt/kvm/x86/errata.rst). */
	return word->function == 0x7 && word->index == 0 && word->reg == EBX ? 1u << 6 | 1u << 13 : 0;
}
