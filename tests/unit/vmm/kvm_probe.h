/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the machine's KVM can run a guest of a few instructions as Ferry's tests need it. */
#ifndef FERRY_TESTS_UNIT_VMM_KVM_PROBE_H
#define FERRY_TESTS_UNIT_VMM_KVM_PROBE_H

/*
 * Returns NULL if it can, else what KVM says that it cannot. This is found out once a process, in a child, by
 * KVM's own calls and without a line of Ferry's: a fault of Ferry's never passes for a machine that cannot. A
 * process that may not open any file more is no such machine, and asserts.
 */
const char *kvm_lacks(void);

#endif
