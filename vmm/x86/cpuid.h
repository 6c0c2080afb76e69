/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID as guests see it. A guest is offered what KVM supports here and cpuid_features.h has: the state of
 * these features is saved and restored.
 */
#ifndef FERRY_VMM_X86_CPUID_H
#define FERRY_VMM_X86_CPUID_H

#include <linux/kvm.h>

#include "vmm/log.h"
#include "vmm/x86/cpuid_features.h"

#define CPUID_MAX_ENTRIES 256u

/* As struct kvm_cpuid2, with room. */
struct cpuid {
	uint32_t nent;
	uint32_t padding;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};
_Static_assert(sizeof(struct kvm_cpuid_entry2) == 40, "saved as it is");
_Static_assert(offsetof(struct cpuid, entries) == sizeof(struct kvm_cpuid2), "struct kvm_cpuid2");

/* Fills in the CPUID that this host can offer, without topology. -errno with the reason in @err. */
int __must_check cpuid_init(struct cpuid *cpuid, int kvm_fd, struct error *err);

/* @model with the topology of vCPU @index of @n: one socket of single-threaded cores. */
void cpuid_for_vcpu(struct cpuid *out, const struct cpuid *model, unsigned int index, unsigned int n);

/*
 * Checks a peer's model (untrusted entries, @n of them) against @host and takes it over into @out. Each
 * reason against it goes into @err, features by name.
 */
int __must_check cpuid_accept(struct cpuid *out, const struct cpuid *host,
			      const struct kvm_cpuid_entry2 *entries, uint32_t n, struct error *err);

/* Features as plain data, without what goes with one model of CPU: what a host can offer, what several can,
 * or what a guest is to have. */
struct cpuid_offer {
	/* "" and 0: any. */
	char vendor[13];
	uint32_t address_bits; /* of physical addresses */
	/* Bits of the words of cpuid_features.h, in that order. */
	uint32_t words[CPUID_MAX_WORDS];
	/* IA32_ARCH_CAPABILITIES, which no CPUID has. */
	uint64_t arch_capabilities;
};

/* Reads what @cpuid has, but for ARCH_CAPABILITIES, which are 0. */
void cpuid_get_features(const struct cpuid *cpuid, struct cpuid_offer *offer);

/* Whether @have, a host's offer, has all of @want. -ENOTSUP, with each feature by name that it lacks, in the
 * words of that host. ARCH_CAPABILITIES are not looked at. */
int __must_check cpuid_compare(const struct cpuid_offer *have, const struct cpuid_offer *want,
			       struct error *err);

/*
 * Takes from @cpuid, a host's, all that is not in @offer, but for inverted features. -ENOTSUP, with each
 * feature by name that is in
 * @offer and the host lacks; then @cpuid is as before.
 */
int __must_check cpuid_restrict(struct cpuid *cpuid, const struct cpuid_offer *offer, struct error *err);

/* Whether @cpuid has one of the features @names, which have a space between two. */
bool cpuid_has_any(const struct cpuid *cpuid, const char *names);

/* Names that belong to one reason: "a, b". As many as fit. */
#define CPUID_NAMES_MAX 320u

struct cpuid_names {
	char text[CPUID_NAMES_MAX];
	unsigned int n;
};

void cpuid_names_add(struct cpuid_names *names, const char *name);

#endif
