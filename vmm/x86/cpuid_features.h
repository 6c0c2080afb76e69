/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of CPU features that Ferry carries: a feature that is not in it is not offered to a guest, nor
 * taken over. */
#ifndef FERRY_VMM_X86_CPUID_FEATURES_H
#define FERRY_VMM_X86_CPUID_FEATURES_H

#include "vmm/util.h"

/* The first leaves of KVM's range and of the extended one. KVM's has one leaf more. */
#define CPUID_KVM      0x40000000u
#define CPUID_KVM_LAST 0x40000001u
#define CPUID_EXT      0x80000000u

enum cpuid_reg { EAX, EBX, ECX, EDX };

/* A leaf that is kept. Bit n of @pass: register n of enum cpuid_reg is passed as it is. */
struct cpuid_leaf {
	uint32_t function, index;
	uint8_t pass;
};

/* A register whose bits are features. */
struct cpuid_word {
	uint32_t function, index;
	enum cpuid_reg reg;
};

/* A feature: bit @bit of word @word of cpuid_get_words(). Its name is no pointer, for each costs the program
 * a relocation of three times its length. */
struct cpuid_feature {
	uint8_t word, bit;
	char name[20];
};

/* Those bits of @word that are set where something is lacking: a guest may have them on any host, and is to
 * have them as soon as one of its hosts does. */
uint32_t cpuid_word_inverted(const struct cpuid_word *word);

/* The same of IA32_ARCH_CAPABILITIES: RSBA and RRSBA, by which a guest learns that returns may be predicted
 * by more than the return stack. Set by hypervisors for guests that move between CPUs with and without
 * (Intel, "Retpoline: A Branch Target Injection Mitigation"). */
#define CPUID_ARCH_CAP_INVERTED ((uint64_t)1 << 2 | (uint64_t)1 << 19)

/* NULL if the leaf is not kept. */
const struct cpuid_leaf *cpuid_find_leaf(uint32_t function, uint32_t index);

/* A bound for the number of words. */
#define CPUID_MAX_WORDS 24u

/* Returns the table of words, and their number in *@n. */
const struct cpuid_word *cpuid_get_words(unsigned int *n);

/* Returns the table of features, word by word, and their number in *@n. */
const struct cpuid_feature *cpuid_get_table(unsigned int *n);

/* The names of enum cpuid_reg. */
extern const char *const cpuid_reg_names[4];

/* The bits of @word, an entry of cpuid_get_words(), that are carried: those that have a name. */
uint32_t cpuid_word_mask(const struct cpuid_word *word);

/* The name of the feature that is bit @bit of @word, an entry of cpuid_get_words(): constant; NULL if it is
 * not carried. */
const char *cpuid_word_name(const struct cpuid_word *word, unsigned int bit);

#endif
