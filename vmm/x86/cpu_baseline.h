/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU features as text, for files that operators carry between hosts: what one host can offer its guests,
 *what several have in common, and what a guest is started with so that it can move between them.
 *
 *	vendor GenuineIntel
 *	address-bits 46
 *	features 0x1.0 ecx sse3 pclmulqdq ssse3
 *	arch-capabilities 0x2b
 *
 * A line of features has a leaf and a register of CPUID, and names; several add up. Vendor and address bits
 *may be left out: any. "#" begins a comment.
 */
#ifndef FERRY_VMM_X86_CPU_BASELINE_H
#define FERRY_VMM_X86_CPU_BASELINE_H

#include "vmm/x86/cpuid.h"

/* Bytes of the text of an offer, with its end, and of a file that is read. */
#define CPU_BASELINE_TEXT_MAX 8192u
#define CPU_BASELINE_FILE_MAX 65536u

/* Writes @offer as text. */
void cpu_baseline_print(const struct cpuid_offer *offer, char text[CPU_BASELINE_TEXT_MAX]);

/* Reads a text, which is changed. -EINVAL with @name and the line in @err for what makes no sense, and for a
 * feature that this Ferry does not know. */
int __must_check cpu_baseline_parse(struct cpuid_offer *offer, char *text, const char *name,
				    struct error *err);

/*
 * Reads what @from names: a level of the x86-64 psABI (x86-64-v2, -v3, -v4), with what every KVM host of this
 * Ferry has beside it; or else a file. -errno with the reason in @err; one is that a guest could not start
 * with so little.
 */
int __must_check cpu_baseline_load(struct cpuid_offer *offer, const char *from, struct error *err);

/* Leaves in @offer what it has in common with @other, and of inverted features what either has. -ENOTSUP,
 * with the reason, where a guest could not move between the two: their vendors differ. */
int __must_check cpu_baseline_intersect(struct cpuid_offer *offer, const struct cpuid_offer *other,
					struct error *err);

#endif
