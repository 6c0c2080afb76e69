/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of CPU features that Ferry carries, the filter made of it, topology, and the comparison of two
 * hosts. */
#include "vmm/x86/cpuid.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

enum cpuid_reg { EAX, EBX, ECX, EDX };

#define CPUID_ANY_INDEX UINT32_MAX
#define CPUID_KVM       0x40000000u
#define CPUID_KVM_LAST  0x40000001u
#define CPUID_EXT       0x80000000u

/*
 * Leaves that are kept, and which of their registers are passed as they are: vendor, model, caches, sizes.
 * The rest of them is zero but for the features below. Leaves that are not here are left out, among them
 * monitor/mwait (5), performance counters (0xa: not carried between hosts), topology (0xb, 0x1f: made for
 * each vCPU), SGX, RDT, processor trace, AMX, SVM.
 */
static const struct cpuid_leaf {
	uint32_t function, index;
	uint8_t pass; /* bit n: register n of enum cpuid_reg */
} cpuid_leaves[] = {
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
	{ 0x40000001, 0, 0 },
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
static const struct cpuid_word {
	uint32_t function, index;
	enum cpuid_reg reg;
	const char *names[32];
} cpuid_words[] = {
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
	{ 0x40000001,
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

static uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *e, enum cpuid_reg reg)
{
	uint32_t *const regs[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };

	return regs[reg];
}

static struct kvm_cpuid_entry2 *cpuid_find(struct cpuid *cpuid, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == function && e->index == index)
			return e;
	}
	return NULL;
}

static const struct cpuid_leaf *cpuid_find_leaf(uint32_t function, uint32_t index)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cpuid_leaves); i++) {
		const struct cpuid_leaf *leaf = &cpuid_leaves[i];

		if (leaf->function == function && (leaf->index == index || leaf->index == CPUID_ANY_INDEX))
			return leaf;
	}
	return NULL;
}

static bool cpuid_has_subleaves(uint32_t function)
{
	return function == 0x4 || function == 0x7 || function == 0xb || function == 0xd ||
	       function == 0x8000001d;
}

static uint32_t cpuid_word_mask(const struct cpuid_word *word)
{
	uint32_t mask = 0;

	for (unsigned int bit = 0; bit < 32; bit++)
		mask |= word->names[bit] ? 1u << bit : 0;
	return mask;
}

/* What of @in is in the tables; of two entries for one leaf the first. */
static void cpuid_filter(struct cpuid *out, const struct kvm_cpuid_entry2 *in, uint32_t n)
{
	*out = (struct cpuid){ 0 };
	for (uint32_t i = 0; i < n; i++) {
		const struct cpuid_leaf *leaf = cpuid_find_leaf(in[i].function, in[i].index);
		struct kvm_cpuid_entry2 from = in[i], *e;

		if (!leaf || out->nent == CPUID_MAX_ENTRIES || cpuid_find(out, from.function, from.index))
			continue;
		e = &out->entries[out->nent++];
		*e = (struct kvm_cpuid_entry2){ .function = from.function, .index = from.index };
		if (cpuid_has_subleaves(from.function))
			e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		for (unsigned int reg = EAX; reg <= EDX; reg++) {
			if (leaf->pass >> reg & 1)
				*cpuid_reg(e, reg) = *cpuid_reg(&from, reg);
		}
		for (unsigned int w = 0; w < ARRAY_SIZE(cpuid_words); w++) {
			const struct cpuid_word *word = &cpuid_words[w];

			if (word->function == from.function && word->index == from.index)
				*cpuid_reg(e, word->reg) =
					*cpuid_reg(&from, word->reg) & cpuid_word_mask(word);
		}
	}
}

/* Takes out the XSAVE components that are not offered, and sets the highest leaf of each range to what is
 * left. */
static void cpuid_trim(struct cpuid *cpuid)
{
	const struct kvm_cpuid_entry2 *xsave = cpuid_find(cpuid, 0xd, 0);
	uint32_t xcr0 = xsave ? xsave->eax : 0, n = 0;
	/* 0xb is made for each vCPU. */
	uint32_t last[] = { 0xb, CPUID_KVM_LAST, CPUID_EXT };

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 e = cpuid->entries[i];
		uint32_t *range = &last[e.function >> 30];

		if (e.function == 0xd && e.index > 1 && (e.index > 31 || !(xcr0 >> e.index & 1)))
			continue;
		*range = *range > e.function ? *range : e.function;
		cpuid->entries[n++] = e;
	}
	cpuid->nent = n;
	for (unsigned int i = 0; i < ARRAY_SIZE(last); i++) {
		struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, i << 30, 0);

		if (e)
			e->eax = last[i];
	}
}

int cpuid_init(struct cpuid *cpuid, int kvm_fd, struct error *err)
{
	struct cpuid supported = { .nent = CPUID_MAX_ENTRIES };
	struct kvm_cpuid_entry2 *e;

	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &supported) < 0)
		return error_add(err, -errno, "KVM_GET_SUPPORTED_CPUID failed: %s", strerror(errno));
	e = cpuid_find(&supported, 0x1, 0);
	if (!e)
		return error_add(err, -EINVAL, "KVM reports no CPU features");
	/* KVM leaves these two to its user. */
	e->ecx |= 1u << 31;
	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		e->ecx |= 1u << 24;
	cpuid_filter(cpuid, supported.entries, supported.nent);
	cpuid_trim(cpuid);
	return 0;
}

/* Bits of an APIC id for @n cores. */
static uint32_t cpuid_core_bits(unsigned int n)
{
	uint32_t bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

/* The field of a cache's leaf that says how many ids share it: all for the third level, one for the others.
 */
static void cpuid_set_cache(struct kvm_cpuid_entry2 *e, uint32_t n_ids)
{
	uint32_t level = e->eax >> 5 & 7;

	e->eax &= ~(0xfffu << 14);
	if (level >= 3)
		e->eax |= (n_ids - 1) << 14;
}

/* A level of leaf 0xb: @bits to shift an id by for the next level, @n ids in this one, @type of the level. */
static void cpuid_add_level(struct cpuid *cpuid, uint32_t level, uint32_t bits, uint32_t n, uint32_t type,
			    uint32_t id)
{
	if (cpuid->nent == CPUID_MAX_ENTRIES)
		return;
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = 0xb,
		.index = level,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = bits,
		.ebx = n,
		.ecx = type << 8 | level,
		.edx = id,
	};
}

void cpuid_for_vcpu(struct cpuid *out, const struct cpuid *model, unsigned int index, unsigned int n)
{
	uint32_t bits = cpuid_core_bits(n), n_ids = 1u << bits;

	*out = *model;
	for (uint32_t i = 0; i < out->nent; i++) {
		struct kvm_cpuid_entry2 *e = &out->entries[i];

		switch (e->function) {
		case 0x1:
			e->ebx = (e->ebx & 0xffff) | n_ids << 16 | index << 24;
			if (n > 1)
				e->edx |= 1u << 28;
			break;
		case 0x4:
			if (!(e->eax & 0x1f))
				break;
			cpuid_set_cache(e, n_ids);
			e->eax = (e->eax & ~(0x3fu << 26)) | (n_ids - 1) << 26;
			break;
		case 0x80000001:
			if (n == 1)
				e->ecx &= ~(1u << 1);
			break;
		case 0x80000008:
			e->ecx = (n - 1) | bits << 12;
			break;
		case 0x8000001d:
			if (e->eax & 0x1f)
				cpuid_set_cache(e, n_ids);
			break;
		case 0x8000001e:
			e->eax = index;
			e->ebx = index;
			break;
		}
	}
	/* Threads of a core, of which there is one; cores of the socket; the end. */
	cpuid_add_level(out, 0, 0, 1, 1, index);
	cpuid_add_level(out, 1, bits, n, 2, index);
	cpuid_add_level(out, 2, 0, 0, 0, index);
}

void cpuid_names_add(struct cpuid_names *names, const char *name)
{
	size_t len = strlen(names->text);

	snprintf(names->text + len, sizeof(names->text) - len, "%s%s", names->n++ > 0 ? ", " : "", name);
}

/* Names the bits of one word that @want has and @have lacks, in one reason: all of them are to be heard of,
 * and what else there is. */
static int cpuid_compare_word(const struct cpuid_word *word, const struct kvm_cpuid_entry2 *want,
			      const struct kvm_cpuid_entry2 *have, struct error *err)
{
	static const char *const reg_names[] = { "eax", "ebx", "ecx", "edx" };
	struct kvm_cpuid_entry2 a = *want, b = have ? *have : (struct kvm_cpuid_entry2){ 0 };
	uint32_t missing = *cpuid_reg(&a, word->reg) & ~*cpuid_reg(&b, word->reg);
	struct cpuid_names named = { 0 }, bits = { 0 };
	int ret = 0;

	for (unsigned int bit = 0; bit < 32; bit++) {
		char number[8];

		snprintf(number, sizeof(number), "%u", bit);
		if (missing >> bit & 1)
			cpuid_names_add(word->names[bit] ? &named : &bits,
					word->names[bit] ? word->names[bit] : number);
	}
	if (named.n > 0)
		ret = error_add(err, -EINVAL, "CPU feature%s %s %s missing on this host",
				named.n > 1 ? "s" : "", named.text, named.n > 1 ? "are" : "is");
	if (bits.n > 0)
		ret = error_add(err, -EINVAL,
				"CPU feature of CPUID leaf 0x%x.%u %s bit %s cannot be taken over",
				word->function, word->index, reg_names[word->reg], bits.text);
	return ret;
}

static int cpuid_compare_xsave(struct cpuid *want, struct cpuid *have, struct error *err)
{
	int ret = 0;

	for (uint32_t i = 2; i < 32; i++) {
		const struct kvm_cpuid_entry2 *a = cpuid_find(want, 0xd, i), *b = cpuid_find(have, 0xd, i);

		if (!a || !b)
			continue; /* features say whether it matters */
		if (a->eax != b->eax || a->ebx != b->ebx || a->ecx != b->ecx)
			ret = error_add(err, -EINVAL, "XSAVE component %u lies elsewhere on this host", i);
	}
	return ret;
}

int cpuid_accept(struct cpuid *out, const struct cpuid *host, const struct kvm_cpuid_entry2 *entries,
		 uint32_t n, struct error *err)
{
	struct cpuid have = *host, want = { .nent = n };
	const struct kvm_cpuid_entry2 *a, *b;
	int ret = 0;

	if (n > CPUID_MAX_ENTRIES)
		return error_add(err, -EINVAL, "%u CPUID entries are too many", n);
	memcpy(want.entries, entries, n * sizeof(*entries));
	for (uint32_t i = 0; i < n; i++) {
		const struct kvm_cpuid_entry2 *e = &want.entries[i];

		if (!cpuid_find_leaf(e->function, e->index))
			ret = error_add(err, -EINVAL, "CPUID leaf 0x%x.%u is not known", e->function,
					e->index);
		if (cpuid_find(&want, e->function, e->index) != e)
			ret = error_add(err, -EINVAL, "CPUID leaf 0x%x.%u is there twice", e->function,
					e->index);
	}
	a = cpuid_find(&want, 0x0, 0);
	b = cpuid_find(&have, 0x0, 0);
	if (!a || !b || a->ebx != b->ebx || a->ecx != b->ecx || a->edx != b->edx)
		ret = error_add(err, -EINVAL, "the CPUs are of different vendors");
	a = cpuid_find(&want, 0x80000008, 0);
	b = cpuid_find(&have, 0x80000008, 0);
	if (a && b && (a->eax & 0xff) > (b->eax & 0xff))
		ret = error_add(err, -EINVAL, "the CPU has %u bits of physical address, the source's %u",
				b->eax & 0xff, a->eax & 0xff);
	for (unsigned int w = 0; w < ARRAY_SIZE(cpuid_words); w++) {
		const struct cpuid_word *word = &cpuid_words[w];
		const struct kvm_cpuid_entry2 *e = cpuid_find(&want, word->function, word->index);

		if (e && cpuid_compare_word(word, e, cpuid_find(&have, word->function, word->index), err) < 0)
			ret = -EINVAL;
	}
	if (cpuid_compare_xsave(&want, &have, err) < 0)
		ret = -EINVAL;
	if (ret == 0) {
		cpuid_filter(out, want.entries, n);
		cpuid_trim(out);
	}
	return ret;
}
