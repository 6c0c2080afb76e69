/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID as guests see it: what is left of it here, topology, and the comparison of two hosts. */
#include "vmm/x86/cpuid.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "vmm/x86/cpuid_features.h"

/* Bytes that XSAVE takes before its first component: struct fxregs_state, and the header. */
#define CPUID_XSAVE_LEGACY 576u

/* Leaf 7, ECX: five levels of page tables; and the bits of a linear address without them. */
#define CPUID_LA57        (1u << 16)
#define CPUID_LINEAR_BITS 48u

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

static bool cpuid_has_subleaves(uint32_t function)
{
	return function == 0x4 || function == 0x7 || function == 0xb || function == 0xd ||
	       function == 0x8000001d;
}

/* Takes over what of @in is in the tables; of two entries for one leaf the first. */
static void cpuid_filter(struct cpuid *out, const struct kvm_cpuid_entry2 *in, uint32_t n)
{
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);

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
		for (const struct cpuid_word *word = words; word < words + n_words; word++) {
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
	/* Leaf 0xb is made for each vCPU. */
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

	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &supported) < 0) {
		error_add(err, "KVM_GET_SUPPORTED_CPUID failed: %s", strerror(errno));
		return -errno;
	}
	e = cpuid_find(&supported, 0x1, 0);
	if (!e) {
		error_add(err, "KVM reports no CPU features");
		return -EINVAL;
	}
	/* KVM leaves the bits "hypervisor" and "tsc_deadline_timer" to its user. */
	e->ecx |= 1u << 31;
	if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		e->ecx |= 1u << 24;
	cpuid_filter(cpuid, supported.entries, supported.nent);
	cpuid_trim(cpuid);
	return 0;
}

/* Returns how many bits of an APIC id @n cores take. */
static uint32_t cpuid_core_bits(unsigned int n)
{
	uint32_t bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

/* Sets the field of a cache's leaf that says how many ids share it: all for the third level, one for the
 * others. */
static void cpuid_set_cache(struct kvm_cpuid_entry2 *e, uint32_t n_ids)
{
	uint32_t level = e->eax >> 5 & 7;

	e->eax &= ~(0xfffu << 14);
	if (level >= 3)
		e->eax |= (n_ids - 1) << 14;
}

/* Adds a level of leaf 0xb: @bits to shift an id by for the next level, @n ids in this one, @type of the
 * level. */
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
	/* The levels are threads of a core, of which there is one; cores of the socket; the end. */
	cpuid_add_level(out, 0, 0, 1, 1, index);
	cpuid_add_level(out, 1, bits, n, 2, index);
	cpuid_add_level(out, 2, 0, 0, 0, index);
}

void cpuid_names_add(struct cpuid_names *names, const char *name)
{
	size_t len = strlen(names->text);

	snprintf(names->text + len, sizeof(names->text) - len, "%s%s", names->n++ > 0 ? ", " : "", name);
}

static uint32_t cpuid_get_word(struct cpuid *cpuid, const struct cpuid_word *word)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, word->function, word->index);

	return e ? *cpuid_reg(e, word->reg) : 0;
}

/* Names the bits of one word that @want has and @have lacks, but for inverted ones, in one reason: a peer is
 * to hear of all of them, and of what else there is. */
static int cpuid_compare_word(const struct cpuid_word *word, uint32_t want, uint32_t have, struct error *err)
{
	uint32_t missing = want & ~have & ~cpuid_word_inverted(word);
	struct cpuid_names named = { 0 }, bits = { 0 };
	int ret = 0;

	for (unsigned int bit = 0; bit < 32; bit++) {
		const char *name = cpuid_word_name(word, bit);
		char number[8];

		snprintf(number, sizeof(number), "%u", bit);
		if (missing >> bit & 1)
			cpuid_names_add(name ? &named : &bits, name ? name : number);
	}
	if (named.n > 0) {
		error_add(err, "CPU feature%s %s %s missing on this host", named.n > 1 ? "s" : "", named.text,
			  named.n > 1 ? "are" : "is");
		ret = -EINVAL;
	}
	if (bits.n > 0) {
		error_add(err, "CPU feature of CPUID leaf 0x%x.%u %s bit %s cannot be taken over",
			  word->function, word->index, cpuid_reg_names[word->reg], bits.text);
		ret = -EINVAL;
	}
	return ret;
}

static int cpuid_compare_xsave(struct cpuid *want, struct cpuid *have, struct error *err)
{
	int ret = 0;

	for (uint32_t i = 2; i < 32; i++) {
		const struct kvm_cpuid_entry2 *a = cpuid_find(want, 0xd, i), *b = cpuid_find(have, 0xd, i);

		if (!a || !b)
			/* Features say whether a component is needed. */
			continue;
		if (a->eax != b->eax || a->ebx != b->ebx || a->ecx != b->ecx) {
			error_add(err, "XSAVE component %u lies elsewhere on this host", i);
			ret = -EINVAL;
		}
	}
	return ret;
}

int cpuid_accept(struct cpuid *out, const struct cpuid *host, const struct kvm_cpuid_entry2 *entries,
		 uint32_t n, struct error *err)
{
	struct cpuid have = *host, want = { .nent = n };
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	const struct kvm_cpuid_entry2 *a, *b;
	int ret = 0;

	if (n > CPUID_MAX_ENTRIES) {
		error_add(err, "%u CPUID entries are too many", n);
		return -EINVAL;
	}
	memcpy(want.entries, entries, n * sizeof(*entries));
	for (uint32_t i = 0; i < n; i++) {
		const struct kvm_cpuid_entry2 *e = &want.entries[i];

		if (!cpuid_find_leaf(e->function, e->index)) {
			error_add(err, "CPUID leaf 0x%x.%u is not known", e->function, e->index);
			ret = -EINVAL;
		}
		if (cpuid_find(&want, e->function, e->index) != e) {
			error_add(err, "CPUID leaf 0x%x.%u is there twice", e->function, e->index);
			ret = -EINVAL;
		}
	}
	a = cpuid_find(&want, 0x0, 0);
	b = cpuid_find(&have, 0x0, 0);
	if (!a || !b || a->ebx != b->ebx || a->ecx != b->ecx || a->edx != b->edx) {
		error_add(err, "the CPUs are of different vendors");
		ret = -EINVAL;
	}
	a = cpuid_find(&want, 0x80000008, 0);
	b = cpuid_find(&have, 0x80000008, 0);
	if (a && b && (a->eax & 0xff) > (b->eax & 0xff)) {
		error_add(err, "the CPU has %u bits of physical address, the source's %u", b->eax & 0xff,
			  a->eax & 0xff);
		ret = -EINVAL;
	}
	for (const struct cpuid_word *word = words; word < words + n_words; word++) {
		if (cpuid_compare_word(word, cpuid_get_word(&want, word), cpuid_get_word(&have, word), err) <
		    0)
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

void cpuid_get_features(const struct cpuid *cpuid, struct cpuid_offer *offer)
{
	struct cpuid copy = *cpuid;
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	const struct kvm_cpuid_entry2 *vendor = cpuid_find(&copy, 0x0, 0);
	const struct kvm_cpuid_entry2 *sizes = cpuid_find(&copy, 0x80000008, 0);

	*offer = (struct cpuid_offer){ .address_bits = sizes ? sizes->eax & 0xff : 0 };
	if (vendor) {
		memcpy(offer->vendor, &vendor->ebx, 4);
		memcpy(offer->vendor + 4, &vendor->edx, 4);
		memcpy(offer->vendor + 8, &vendor->ecx, 4);
	}
	for (unsigned int i = 0; i < n_words; i++)
		offer->words[i] = cpuid_get_word(&copy, &words[i]);
}

/* Sets the sizes that follow from features: of linear addresses, and of all that XSAVE may save. */
static void cpuid_fit_sizes(struct cpuid *cpuid, uint32_t address_bits)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, 0x80000008, 0), *paging = cpuid_find(cpuid, 0x7, 0);
	uint32_t len = CPUID_XSAVE_LEGACY;

	if (e && address_bits > 0)
		e->eax = (e->eax & ~0xffu) | address_bits;
	if (e && !(paging && paging->ecx & CPUID_LA57))
		e->eax = (e->eax & ~0xff00u) | CPUID_LINEAR_BITS << 8;
	e = cpuid_find(cpuid, 0xd, 0);
	if (!e)
		return;
	for (uint32_t i = 2; i < 32; i++) {
		const struct kvm_cpuid_entry2 *part = cpuid_find(cpuid, 0xd, i);

		if (part && e->eax >> i & 1)
			len = (uint32_t)max_u64(len, (uint64_t)part->ebx + part->eax);
	}
	e->ecx = e->eax ? len : 0;
}

int cpuid_compare(const struct cpuid_offer *have, const struct cpuid_offer *want, struct error *err)
{
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	int ret = 0;

	if (want->vendor[0] && strcmp(want->vendor, have->vendor) != 0) {
		error_add(err, "this host's CPU is of %s, not of %s", have->vendor, want->vendor);
		ret = -ENOTSUP;
	}
	if (want->address_bits > have->address_bits) {
		error_add(err, "this host's CPU has %u bits of physical address, not %u", have->address_bits,
			  want->address_bits);
		ret = -ENOTSUP;
	}
	for (unsigned int i = 0; i < n_words; i++) {
		if (cpuid_compare_word(&words[i], want->words[i], have->words[i], err) < 0)
			ret = -ENOTSUP;
	}
	return ret;
}

int cpuid_restrict(struct cpuid *cpuid, const struct cpuid_offer *offer, struct error *err)
{
	struct cpuid_offer have;
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	int ret;

	cpuid_get_features(cpuid, &have);
	ret = cpuid_compare(&have, offer, err);
	for (unsigned int i = 0; ret == 0 && i < n_words; i++) {
		struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, words[i].function, words[i].index);

		if (e)
			*cpuid_reg(e, words[i].reg) =
				offer->words[i] | (have.words[i] & cpuid_word_inverted(&words[i]));
	}
	if (ret < 0)
		return ret;
	cpuid_fit_sizes(cpuid, offer->address_bits);
	cpuid_trim(cpuid);
	return 0;
}

bool cpuid_has_any(const struct cpuid *cpuid, const char *names)
{
	struct cpuid_offer have;
	unsigned int n;
	const struct cpuid_feature *features = cpuid_get_table(&n);

	cpuid_get_features(cpuid, &have);
	for (size_t len; *names; names += len + (names[len] == ' ')) {
		len = strcspn(names, " ");
		for (const struct cpuid_feature *f = features; f < features + n; f++) {
			if (have.words[f->word] >> f->bit & 1 && strlen(f->name) == len &&
			    memcmp(f->name, names, len) == 0)
				return true;
		}
	}
	return false;
}
