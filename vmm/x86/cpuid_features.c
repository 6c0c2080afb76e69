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

/*
 * Features that are carried, by the names of /proc/cpuinfo where it has one. Not here, because there is state
 * that is not saved: VMX and SVM (nested guests), MCE and MCA (banks), shadow stacks, PKS, AMX, MPX,
 * performance counters, OSVW, breakpoint masks. Not here, because a destination's clock may differ: invariant
 * TSC. Bits that follow a register of the running guest (OSXSAVE, OSPKE) are KVM's to set.
 */
static const struct cpuid_word cpuid_words[] = {
	{ 0x1,
	  0,
	  ECX,
	  { [0] = "sse3",
	    [1] = "pclmulqdq",
	    [9] = "ssse3",
	    [12] = "fma",
	    [13] = "cx16",
	    [17] = "pcid",
	    [19] = "sse4_1",
	    [20] = "sse4_2",
	    [21] = "x2apic",
	    [22] = "movbe",
	    [23] = "popcnt",
	    [24] = "tsc_deadline_timer",
	    [25] = "aes",
	    [26] = "xsave",
	    [28] = "avx",
	    [29] = "f16c",
	    [30] = "rdrand",
	    [31] = "hypervisor" } },
	{ 0x1,
	  0,
	  EDX,
	  { [0] = "fpu",   [1] = "vme",   [2] = "de",     [3] = "pse",      [4] = "tsc",   [5] = "msr",
	    [6] = "pae",   [8] = "cx8",   [9] = "apic",   [11] = "sep",     [12] = "mtrr", [13] = "pge",
	    [15] = "cmov", [16] = "pat",  [17] = "pse36", [19] = "clflush", [23] = "mmx",  [24] = "fxsr",
	    [25] = "sse",  [26] = "sse2", [27] = "ss" } },
	{ 0x6, 0, EAX, { [2] = "arat" } },
	{ 0x7,
	  0,
	  EBX,
	  { [0] = "fsgsbase",  [1] = "tsc_adjust",      [3] = "bmi1",        [4] = "hle",
	    [5] = "avx2",      [6] = "fdp_excptn_only", [7] = "smep",        [8] = "bmi2",
	    [9] = "erms",      [10] = "invpcid",        [11] = "rtm",        [13] = "zero_fcs_fds",
	    [16] = "avx512f",  [17] = "avx512dq",       [18] = "rdseed",     [19] = "adx",
	    [20] = "smap",     [21] = "avx512ifma",     [23] = "clflushopt", [24] = "clwb",
	    [26] = "avx512pf", [27] = "avx512er",       [28] = "avx512cd",   [29] = "sha_ni",
	    [30] = "avx512bw", [31] = "avx512vl" } },
	{ 0x7,
	  0,
	  ECX,
	  { [1] = "avx512vbmi",
	    [2] = "umip",
	    [3] = "pku",
	    [5] = "waitpkg",
	    [6] = "avx512_vbmi2",
	    [8] = "gfni",
	    [9] = "vaes",
	    [10] = "vpclmulqdq",
	    [11] = "avx512_vnni",
	    [12] = "avx512_bitalg",
	    [14] = "avx512_vpopcntdq",
	    [16] = "la57",
	    [22] = "rdpid",
	    [24] = "bus_lock_detect",
	    [25] = "cldemote",
	    [27] = "movdiri",
	    [28] = "movdir64b" } },
	{ 0x7,
	  0,
	  EDX,
	  { [2] = "avx512_4vnniw",
	    [3] = "avx512_4fmaps",
	    [4] = "fsrm",
	    [8] = "avx512_vp2intersect",
	    [10] = "md_clear",
	    [14] = "serialize",
	    [16] = "tsxldtrk",
	    [23] = "avx512_fp16",
	    [26] = "spec_ctrl",
	    [27] = "intel_stibp",
	    [28] = "flush_l1d",
	    [29] = "arch_capabilities",
	    [31] = "spec_ctrl_ssbd" } },
	{ 0x7,
	  1,
	  EAX,
	  { [0] = "sha512",
	    [1] = "sm3",
	    [2] = "sm4",
	    [4] = "avx_vnni",
	    [5] = "avx512_bf16",
	    [7] = "cmpccxadd",
	    [10] = "fzrm",
	    [11] = "fsrs",
	    [12] = "fsrc",
	    [23] = "avx_ifma",
	    [26] = "lam" } },
	{ 0x7,
	  1,
	  EDX,
	  { [4] = "avx_vnni_int8", [5] = "avx_ne_convert", [10] = "avx_vnni_int16", [14] = "prefetchiti" } },
	{ 0x7,
	  2,
	  EDX,
	  { [0] = "intel_psfd",
	    [1] = "ipred_ctrl",
	    [2] = "rrsba_ctrl",
	    [3] = "ddpd_u",
	    [4] = "bhi_ctrl",
	    [5] = "mcdt_no" } },
	{ 0xd,
	  0,
	  EAX,
	  { [0] = "xcr0_x87",
	    [1] = "xcr0_sse",
	    [2] = "xcr0_avx",
	    [5] = "xcr0_opmask",
	    [6] = "xcr0_zmm_hi256",
	    [7] = "xcr0_hi16_zmm",
	    [9] = "xcr0_pkru" } },
	{ 0xd, 1, EAX, { [0] = "xsaveopt", [1] = "xsavec", [2] = "xgetbv1", [3] = "xsaves" } },
	{ CPUID_KVM_LAST,
	  0,
	  EAX,
	  { [0] = "kvm_clock_old",
	    [1] = "kvm_nop_io_delay",
	    [3] = "kvm_clock",
	    [4] = "kvm_async_pf",
	    [5] = "kvm_steal_time",
	    [6] = "kvm_pv_eoi",
	    [7] = "kvm_pv_unhalt",
	    [9] = "kvm_pv_tlb_flush",
	    [10] = "kvm_async_pf_vmexit",
	    [11] = "kvm_pv_send_ipi",
	    [12] = "kvm_poll_control",
	    [13] = "kvm_pv_sched_yield",
	    [14] = "kvm_async_pf_int",
	    [24] = "kvm_clock_stable" } },
	{ 0x80000001,
	  0,
	  ECX,
	  { [0] = "lahf_lm",
	    [1] = "cmp_legacy",
	    [4] = "cr8_legacy",
	    [5] = "abm",
	    [6] = "sse4a",
	    [7] = "misalignsse",
	    [8] = "3dnowprefetch",
	    [11] = "xop",
	    [16] = "fma4",
	    [17] = "tce",
	    [21] = "tbm",
	    [22] = "topoext" } },
	{ 0x80000001,
	  0,
	  EDX,
	  { [0] = "fpu",      [1] = "vme",     [2] = "de",    [3] = "pse",       [4] = "tsc",
	    [5] = "msr",      [6] = "pae",     [8] = "cx8",   [9] = "apic",      [11] = "syscall",
	    [12] = "mtrr",    [13] = "pge",    [15] = "cmov", [16] = "pat",      [17] = "pse36",
	    [20] = "nx",      [22] = "mmxext", [23] = "mmx",  [24] = "fxsr",     [25] = "fxsr_opt",
	    [26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm",   [30] = "3dnowext", [31] = "3dnow" } },
	{ 0x80000008,
	  0,
	  EBX,
	  { [0] = "clzero",
	    [2] = "xsaveerptr",
	    [9] = "wbnoinvd",
	    [12] = "amd_ibpb",
	    [14] = "amd_ibrs",
	    [15] = "amd_stibp",
	    [16] = "ibrs_always_on",
	    [17] = "amd_stibp_always_on",
	    [18] = "ibrs_preferred",
	    [19] = "ibrs_same_mode",
	    [24] = "amd_ssbd",
	    [25] = "virt_ssbd",
	    [26] = "amd_ssb_no",
	    [28] = "amd_psfd",
	    [29] = "btc_no",
	    [30] = "amd_ibpb_ret" } },
	{ 0x80000021,
	  0,
	  EAX,
	  { [0] = "no_nested_data_bp",
	    [2] = "lfence_rdtsc",
	    [5] = "verw_clear",
	    [6] = "null_sel_clr_base",
	    [8] = "autoibrs",
	    [9] = "no_smm_ctl_msr",
	    [10] = "fsrs_amd",
	    [11] = "fsrc_amd",
	    [27] = "sbpb",
	    [28] = "ibpb_brtype",
	    [29] = "srso_no",
	    [30] = "srso_user_kernel_no" } },
};

_Static_assert(ARRAY_SIZE(cpuid_words) <= CPUID_MAX_WORDS, "room for all words");

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
	*n = ARRAY_SIZE(cpuid_words);
	return cpuid_words;
}

uint32_t cpuid_word_mask(const struct cpuid_word *word)
{
	uint32_t mask = 0;

	for (unsigned int bit = 0; bit < 32; bit++)
		mask |= word->names[bit] ? 1u << bit : 0;
	return mask;
}

uint32_t cpuid_word_inverted(const struct cpuid_word *word)
{
	/* With fdp_excptn_only and zero_fcs_fds the x87 unit lacks something (Linux,
	 * Documentation/virt/kvm/x86/errata.rst). */
	return word->function == 0x7 && word->index == 0 && word->reg == EBX ? 1u << 6 | 1u << 13 : 0;
}
